/* What GCC and Clang write differently. */
#ifndef LONGLAG_PORTABLE_H
#define LONGLAG_PORTABLE_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* A function of a header that a cell may do without */
#define HELPER static inline __attribute__((unused))

/* Before a loop: unroll it, completely where it has at most n rounds */
#define PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define UNROLL(n) PRAGMA(clang loop unroll_count(n))
#else
#define UNROLL(n) PRAGMA(GCC unroll n)
#endif

/* Before a loop whose rounds do not depend on each other, or only through a sum: make it vector code */
#define SIMD PRAGMA(omp simd)
#define SIMD_SUM(variable) PRAGMA(omp simd reduction(+ : variable))

#endif
