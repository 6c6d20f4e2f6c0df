/* What one call of a scan's kernel gets: sizes and where every tensor lies. `call.py` reads the struct, as that of
   `call.h`: every field has eight bytes, and array sizes are N_X, N_P, N_S or N_Y, the numbers of inputs, parameters,
   states and outputs. A tensor that is absent or not wanted is a null pointer. A tensor's own axes come last. */
#ifndef LONGLAG_SCAN_CALL_H
#define LONGLAG_SCAN_CALL_H
#include "libraries.h"

typedef struct {
    long T, B, n, V, K, threads;  /* steps, examples, heads, elements of the first axis (lanes), and of the second */
    long C;                       /* steps between two states that are kept */
    long grad_stride;             /* numbers from one thread's gradients of parameters to the next thread's */
    limit_function limit_threads; /* null: nothing here uses other threads */
    free_function free_buffers;   /* null */
    const real *x[N_X];           /* [T, B, n, ...] */
    long x_t[N_X], x_b[N_X], x_n[N_X];          /* numbers from one step, example, head of it to the next */
    const real *p[N_P];                         /* [n, ...] */
    const real *initial[N_S];                   /* [B, n, ...] */
    real *final[N_S];                           /* [B, n, ...] */
    real *y[N_Y];                               /* [T, B, n, ...] */
    real *kept;                                 /* the states before every C-th step; null for inference */
    const unsigned char *mask;                  /* [T, B] */
    const real *grad_y[N_Y];                    /* [T, B, n, ...]; null for zeros */
    const real *grad_final[N_S];                /* [B, n, ...]; null for zeros */
    real *grad_x[N_X];                          /* [T, B, n, ...] */
    long grad_t[N_X], grad_b[N_X], grad_n[N_X]; /* the same of it */
    real *grad_p[N_P];                          /* [n, ...], one set for each thread, cleared before */
    real *grad_initial[N_S];                    /* [B, n, ...] */
    double *squares[N_S];                       /* [T, B] */
} Call;

#endif
