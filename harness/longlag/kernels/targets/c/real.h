/* The number type of a library: double where LONGLAG_DOUBLE is 1, else float. */
#ifndef LONGLAG_REAL_H
#define LONGLAG_REAL_H

#ifndef LONGLAG_DOUBLE
#define LONGLAG_DOUBLE 0
#endif
#if LONGLAG_DOUBLE
typedef double real;
#else
typedef float real;
#endif

#endif
