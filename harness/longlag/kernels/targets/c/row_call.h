/* What one call of a function of rows gets: sizes and where every tensor lies. `call.py` reads the struct, as that of
   `call.h`. There are B groups of n rows of K numbers; the rows of a group lie side by side or anywhere. Array sizes
   are N_X, N_P or N_Y, the numbers of inputs, parameters and outputs. */
#ifndef LONGLAG_ROW_CALL_H
#define LONGLAG_ROW_CALL_H
#include "real.h"

typedef int (*limit_function)(int);
typedef void (*free_function)(void);

typedef struct {
    long B, n, K, threads, m;     /* groups, rows of a group, numbers of a row; rows of every parameter */
    long grad_stride;             /* numbers from one thread's gradients of parameters to the next thread's */
    limit_function limit_threads; /* null: nothing here uses other threads */
    free_function free_buffers;   /* null */
    const real *x[N_X];
    long x_group[N_X], x_row[N_X]; /* numbers from one group, one row of it to the next */
    const real *p[N_P];            /* [m, K] */
    real *y[N_Y];                  /* [B, n, K] */
    const real *grad_y[N_Y];       /* [B, n, K] */
    real *grad_x[N_X];             /* null where not wanted */
    long grad_group[N_X], grad_row[N_X];
    real *grad_p[N_P]; /* [m, K], one set for each thread, cleared before */
} Call;

/* What one row reads and writes */
typedef struct {
    long K;
    real count; /* K as a number */
    const real *x[N_X], *p[N_P], *dy[N_Y];
    real *y[N_Y], *dx[N_X], *dp[N_P];
    real *rows; /* buffers */
} Step;

#endif
