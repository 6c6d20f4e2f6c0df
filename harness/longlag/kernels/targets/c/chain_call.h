/* What one call of a chain gets: sizes, functions of other libraries, and where every tensor lies. `call.py` reads the
   struct, as that of `call.h`. Array sizes are N_V, N_P or N_A, the numbers of values, of parameters, and of steps that
   apply a function. Rows of a value lie side by side or anywhere. */
#ifndef LONGLAG_CHAIN_CALL_H
#define LONGLAG_CHAIN_CALL_H
#include "libraries.h"

typedef struct {
    long B, block, threads;          /* rows; those that go through all steps before the next */
    long grad_stride;                /* numbers from one thread's gradients of parameters to the next thread's */
    limit_function limit_threads;    /* null: nothing here uses other threads */
    free_function free_buffers;      /* null */
    multiply_from_function multiply; /* null without products, as the next three */
    pack_function pack;
    outer_function outer;
    long panel;          /* columns of a panel of packed weights */
    long width[N_V];     /* numbers of a row */
    real *value[N_V];    /* null where it lies in work space alone */
    long value_row[N_V]; /* numbers from one row to the next */
    real *grad[N_V];     /* of inputs and results; null for others, and where it is not wanted */
    long grad_row[N_V];  /* numbers from one row to the next */
    long length[N_A];    /* numbers of a row of a function */
    const real *p[N_P];  /* [p_rows, p_width] */
    long p_rows[N_P], p_width[N_P];
    real *grad_p[N_P]; /* one set for each thread, cleared before; null where not wanted */
} Call;

#endif
