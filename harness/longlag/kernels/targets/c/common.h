/* What every loop over time uses: work space and norms. */
#ifndef LONGLAG_COMMON_H
#define LONGLAG_COMMON_H
#include <stdlib.h>
#include <string.h>

#include "portable.h"
#include "real.h"

/* The size of that many numbers */
#define BYTES(count) (sizeof(real) * (size_t)(count))

/* Fetches a row that is read next into the second cache: hardware does not predict a walk backward in time. A macro,
   because GCC 12 drops calls of a function that does nothing else. */
#define PREFETCH(from, width) \
    for (long k = 0; k < (width); k += 64 / (long)sizeof(real)) __builtin_prefetch((from) + k, 0, 2)

/* Work space in one block: where each of its parts begins; NULL without memory. In small pieces the C library's
   bookkeeping takes a hundredth of a short pass. */
static real *allocate(int n, const long *counts, real **parts) {
    const long line = 64 / (long)sizeof(real);
    long total = 0;
    for (int k = 0; k < n; k++) total += (counts[k] + line - 1) / line * line;
    void *memory = NULL;
    if (posix_memalign(&memory, 64, BYTES(total > 0 ? total : 1))) return NULL;
    real *next = memory;
    for (int k = 0; k < n; k++) {
        parts[k] = next;
        next += (counts[k] + line - 1) / line * line;
    }
    return memory;
}

#define WIDE 16
typedef real wide __attribute__((vector_size(WIDE * sizeof(real)), aligned(sizeof(real)), may_alias));
typedef double doubles __attribute__((vector_size(WIDE / 2 * sizeof(double))));
typedef real half_wide __attribute__((vector_size(WIDE / 2 * sizeof(real)), aligned(sizeof(real)), may_alias));

HELPER double sum_in_double(const real *v, long H) {
    double sum = 0;
    SIMD_SUM(sum)
    for (long j = 0; j < H; j++) sum += (double)v[j] * (double)v[j];
    return sum;
}

/* Squares of floats leave the range of floats long before the numbers do: then the sum is taken again in double. */
HELPER double sum_of_squares(const real *v, long H) {
    wide s = {0}, u = {0}; /* two, or every addition would wait for the one before */
    long j = 0;
    for (; j + 2 * WIDE <= H; j += 2 * WIDE) {
        const wide a = *(const wide *)(v + j), b = *(const wide *)(v + j + WIDE);
        s += a * a, u += b * b;
    }
    s += u;
    half_wide low, high;
    memcpy(&low, &s, sizeof low), memcpy(&high, (const char *)&s + sizeof low, sizeof high);
    low += high;
    real sum = ((low[0] + low[4]) + (low[1] + low[5])) + ((low[2] + low[6]) + (low[3] + low[7]));
    for (; j < H; j++) sum += v[j] * v[j];
    return sum > (real)1e-25 && sum < (real)1e30 ? sum : sum_in_double(v, H);
}

#endif
