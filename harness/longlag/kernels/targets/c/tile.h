/* A tile of a matrix product that stays in registers over the whole sum. */
#ifndef LONGLAG_TILE_H
#define LONGLAG_TILE_H
#include "portable.h"
#include "real.h"
#include "vectors.h"

#if defined(__AVX512F__)
#define ROWS 12 /* 24 of 32 registers hold the tile */
#elif defined(__AVX__)
#define ROWS 6 /* 12 of 16 registers */
#elif defined(__aarch64__)
#define ROWS 12
#else
#define ROWS 6
#endif
#define PANEL (2 * LANES)

/* A tile's sum begins with S; or with 0 and S is added, which is more exact where S is a long sum already; or it is
   the product alone */
enum { ONTO, APART, ALONE };

/* C[r, j] = S[r, j] + sum_i A[r * row_stride + i * column_stride] panel[i * panel_stride + j], for both vectors of the
   panel or, unless `wide`, the first. `rows`, `wide`, `how` and a stride of A are constants in every call: the tile
   lives in registers. */
ALWAYS_INLINE void tile(const int rows, const int wide, const int how, long k, const real *A, const long row_stride,
                        const long column_stride, const real *panel, const long panel_stride, const real *S,
                        const long lds, real *C, long ldc) {
    vec left[ROWS], right[ROWS];
    UNROLL_ALL(12)
    for (int r = 0; r < rows; r++) {
        left[r] = right[r] = (vec){0};
        if (how == ONTO) left[r] = *(const loose *)(S + r * lds);
        if (how == ONTO && wide) right[r] = *(const loose *)(S + r * lds + LANES);
    }
    for (long i = 0; i < k; i++, panel += panel_stride) {
        UNROLL_ALL(12)
        for (int r = 0; r < rows; r++) {
            left[r] += A[r * row_stride + i * column_stride] * *(const loose *)panel;
            if (wide) right[r] += A[r * row_stride + i * column_stride] * *(const loose *)(panel + LANES);
        }
    }
    UNROLL_ALL(12)
    for (int r = 0; r < rows; r++) {
        if (how == APART) left[r] += *(const loose *)(S + r * lds);
        if (how == APART && wide) right[r] += *(const loose *)(S + r * lds + LANES);
        *(loose *)(C + r * ldc) = left[r];
        if (wide) *(loose *)(C + r * ldc + LANES) = right[r];
    }
}

#endif
