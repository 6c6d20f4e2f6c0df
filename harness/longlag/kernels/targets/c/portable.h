/* What GCC and Clang write differently. */
#ifndef LONGLAG_PORTABLE_H
#define LONGLAG_PORTABLE_H

#define ALWAYS_INLINE static inline __attribute__((always_inline, unused))
/* A function of a header that a cell may do without */
#define HELPER static inline __attribute__((unused))
/* A long function: put into its only caller, it makes the compiler slow and the code no faster */
#define LONG_STEP static __attribute__((noinline))

#define PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define UNROLL_ALL(n) PRAGMA(clang loop unroll(full))
#define UNROLL_BY(n) PRAGMA(clang loop unroll_count(n))
#else
#define UNROLL_ALL(n) PRAGMA(GCC unroll n)
#define UNROLL_BY(n) PRAGMA(GCC unroll n)
#endif
/* UNROLL_ALL(n): before a loop of a constant number of rounds, at most n; UNROLL_BY(n): before any loop */

/* Before a loop whose rounds do not depend on each other, or only through a sum: make it vector code */
#define SIMD PRAGMA(omp simd)
#define SIMD_SUM(variable) PRAGMA(omp simd reduction(+ : variable))

#endif
