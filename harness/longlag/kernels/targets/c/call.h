/* What one call of a cell's kernel gets: sizes, functions of other libraries, and where every tensor lies.

   `call.py` reads this struct and packs its fields by name. So every field has eight bytes, every declaration is a type
   (a pointer's * belongs to it) and names with at most one array size, and array sizes are N_PRODUCTS, N_UNITS or
   N_STATES. A tensor that is absent or not wanted is a null pointer. */
#ifndef LONGLAG_CALL_H
#define LONGLAG_CALL_H
#include "libraries.h"

/* Outputs are states that lie side by side in one tensor: `lead` numbers from example to example. */
typedef struct {
    long T, B, H, I, threads;
    long grad_stride; /* numbers from one thread's weight gradients to the next thread's */
    gemm_function gemm;
    limit_function limit_threads; /* sets the BLAS threads of the calling thread, returns their number before */
    free_function free_buffers;   /* frees what the BLAS keeps for the calling thread */
    multiply_function multiply;
    pack_function pack;
    stream_function stream;
    outer_function outer;
    long panel;                             /* columns of a panel of packed weights */
    const real *x;                          /* [T, B, I] */
    const real *weight_ih, *bias, *bias_hh; /* packed as in `Weights` */
    const real *weight_hh[N_PRODUCTS];
    const real *unit[N_UNITS];         /* [H] */
    real *state[N_STATES];             /* [T + 1, B, H] */
    long stride[N_STATES];             /* from step to step; 0 for a state whose past is not kept: [1, B, H] */
    long lead[N_STATES];               /* from example to example */
    real *saved;                       /* [T, B, N_SAVED * H] */
    const unsigned char *mask;         /* [T, B] */
    const real *initial[N_STATES];     /* [B, H]; null where row 0 of `state` is filled already */
    real *final[N_STATES];             /* [B, H] */
    const real *grad_final[N_STATES];  /* [B, H]; null for zeros */
    const real *grad_output[N_STATES]; /* [T, B, H], examples `lead` apart */
    real *grad_state[N_STATES];        /* [B, H]; at the end, the gradients of the initial state */
    double *squares[N_STATES];         /* [T, B] */
    real *grad_x;                      /* [T, B, I] */
    /* one set for each thread, grad_stride apart */
    real *grad_weights; /* the start of the set, which is cleared first; null when it holds sums of later steps */
    real *grad_weight_ih, *grad_bias, *grad_bias_hh;
    real *grad_weight_hh[N_PRODUCTS];
    real *grad_unit[N_UNITS];
} Call;

#endif
