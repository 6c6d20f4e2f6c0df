/* Products of tiles with a square matrix along the second axis. A tile is K rows of `width` vectors of lanes. */
#ifndef LONGLAG_SCAN_MATRIX_H
#define LONGLAG_SCAN_MATRIX_H
#include "vectors.h"

#define COLUMNS 8 /* as many sums stay in registers, and enough that no addition waits for the one before */

/* The first n rows of to[w] = sum_v from[v] matrix[v * down + w * right] */
ALWAYS_INLINE void some_times(const int n, const long K, const int width, vec *to, const vec *from, const real *matrix,
                              const long down, const long right) {
    for (int i = 0; i < width; i++) {
        vec sum[COLUMNS] = {{0}};
        for (long v = 0; v < K; v++) {
            const vec x = from[v * width + i];
            UNROLL_ALL(8)
            for (int j = 0; j < n; j++) sum[j] += x * matrix[v * down + j * right];
        }
        UNROLL_ALL(8)
        for (int j = 0; j < n; j++) to[j * width + i] = sum[j];
    }
}

/* Every row */
HELPER void tile_times(const long K, const int width, vec *to, const vec *from, const real *matrix, const long down,
                       const long right) {
    long w = 0;
    for (; w + COLUMNS <= K; w += COLUMNS)
        some_times(COLUMNS, K, width, to + w * width, from, matrix + w * right, down, right);
    for (; w < K; w++) some_times(1, K, width, to + w * width, from, matrix + w * right, down, right);
}

/* sum[v * K + w] += a[v] b[w], lane by lane; what lies beyond the last lane counts for nothing */
HELPER void add_outer(const long K, const int width, vec *sum, const vec *a, const vec *b, const mask keep) {
    for (long v = 0; v < K; v++)
        for (long w = 0; w < K; w++) {
            vec total = sum[v * K + w] + KEEP(a[v * width + width - 1] * b[w * width + width - 1]);
            for (int i = 0; i < width - 1; i++) total += a[v * width + i] * b[w * width + i];
            sum[v * K + w] = total;
        }
}

#endif
