/* Functions of other libraries that a kernel is given. */
#ifndef LONGLAG_LIBRARIES_H
#define LONGLAG_LIBRARIES_H
#include "real.h"

/* The Fortran interface of a BLAS */
typedef void (*gemm_function)(const char *, const char *, const int *, const int *, const int *, const real *,
                              const real *, const int *, const real *, const int *, const real *, real *, const int *);
typedef int (*limit_function)(int);
typedef void (*free_function)(void);
/* The functions of `tiles.c` */
typedef void (*multiply_function)(long, long, long, const real *, long, const real *, real *, long);
typedef void (*multiply_from_function)(long, long, long, const real *, long, const real *, const real *, long, real *,
                                       long);
typedef void (*pack_function)(long, long, const real *, long, long, real *);
typedef void (*stream_function)(real *, const real *, long);
typedef void (*outer_function)(long, long, long, const real *, long, const real *, long, real *, long);

#endif
