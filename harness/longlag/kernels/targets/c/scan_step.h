/* What a step of a scan reads and writes: one example, one head, one part of its first axis. */
#ifndef LONGLAG_SCAN_STEP_H
#define LONGLAG_SCAN_STEP_H
#include "scan_call.h"
#include "scan_matrix.h"
#include "vectors.h"

typedef struct {
    mask keep;                       /* ones where the last vector has lanes */
    long K, rest, lanes;             /* elements of the second axis; lanes of the last vector, and of all */
    real count;                      /* K as a number */
    int fresh;                       /* whether sums over the lanes begin with this part */
    const real *x[N_X], *p[N_P];     /* inputs and parameters; those that are tiles as [K][lanes] */
    const real *s[N_S], *n[N_S];     /* states before and after */
    real *new[N_S], *y[N_Y], *saved; /* forward: the next states, the outputs, what the backward pass reads besides */
    const real *dy[N_Y];             /* backward: the gradients of outputs, */
    real *l[N_S];                    /* of the states after, and then of those before, */
    real *dx[N_X], *dp[N_P];         /* of inputs and parameters; null where not wanted */
    int record;                      /* of the states after, every path counted, if norms are recorded: */
    vec *square;                     /* [N_S], of those with lanes the sums of squares, lane by lane, */
    real *total[N_S];                /* of the others the values, over all parts; null where not wanted */
    real *rows;                      /* buffers */
    vec *parts, *tiles;
} Step;

#endif
