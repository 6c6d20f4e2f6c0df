/* Products with few rows by register tiles, and stores past the caches. `tiles.py` says why.

   A packed matrix M[k, n] consists of panels of PANEL columns, two vectors; a panel is stored row by row. */
#include <string.h>

#include "stream.h"
#include "tile.h"

/* One tile for every number of rows and one or two vectors, so that `rows` and `wide` are constants */
#define CASE(n, ...)                            \
    case 2 * n: tile(n, 0, __VA_ARGS__); break; \
    case 2 * n + 1:                             \
        tile(n, 1, __VA_ARGS__);                \
        break;
#define CASES_TO_6(...)  \
    CASE(1, __VA_ARGS__) \
    CASE(2, __VA_ARGS__) \
    CASE(3, __VA_ARGS__) \
    CASE(4, __VA_ARGS__) \
    CASE(5, __VA_ARGS__) \
    CASE(6, __VA_ARGS__)
#if ROWS > 6
#define CASES(...)          \
    CASES_TO_6(__VA_ARGS__) \
    CASE(7, __VA_ARGS__)    \
    CASE(8, __VA_ARGS__)    \
    CASE(9, __VA_ARGS__)    \
    CASE(10, __VA_ARGS__)   \
    CASE(11, __VA_ARGS__)   \
    CASE(12, __VA_ARGS__)
#else
#define CASES CASES_TO_6
#endif

/* A row by row */
static void tile_of(long rows, long columns, long k, const real *A, long lda, const real *panel, const real *S,
                    long lds, real *C, long ldc) {
    switch (2 * rows + (columns > LANES)) { CASES(ONTO, k, A, lda, 1, panel, PANEL, S, lds, C, ldc) }
}

/* A column by column */
static void outer_tile_of(long rows, long columns, long k, const real *A, long lda, const real *panel,
                          long panel_stride, real *C, long ldc) {
    switch (2 * rows + (columns > LANES)) { CASES(APART, k, A, 1, lda, panel, panel_stride, C, ldc, C, ldc) }
}

/* C[rows, n] = S[rows, n] + A[rows, k] M[k, n], M packed */
void longlag_multiply_from(long rows, long n, long k, const real *A, long lda, const real *packed, const real *S,
                           long lds, real *C, long ldc) {
    const long tiles = (rows + ROWS - 1) / ROWS;
    for (long j = 0; j < n; j += PANEL, packed += PANEL * k)
        for (long i = 0; i < tiles; i++) { /* tiles of even height: 20 rows are 10 + 10, not 12 + 8 */
            const long first = rows * i / tiles, count = rows * (i + 1) / tiles - first, wide = n - j;
            const real *a = A + first * lda, *s = S + first * lds + j;
            real *c = C + first * ldc + j;
            if (wide >= PANEL) {
                tile_of(count, wide, k, a, lda, packed, s, lds, c, ldc);
                continue;
            }
            real edge[ROWS * PANEL];
            memset(edge, 0, sizeof edge);
            for (long r = 0; r < count; r++) memcpy(edge + r * PANEL, s + r * lds, sizeof(real) * (size_t)wide);
            tile_of(count, wide, k, a, lda, packed, edge, PANEL, edge, PANEL);
            for (long r = 0; r < count; r++) memcpy(c + r * ldc, edge + r * PANEL, sizeof(real) * (size_t)wide);
        }
}

/* C[rows, n] += A[rows, k] M[k, n], M packed */
void longlag_multiply(long rows, long n, long k, const real *A, long lda, const real *packed, real *C, long ldc) {
    longlag_multiply_from(rows, n, k, A, lda, packed, C, ldc, C, ldc);
}

/* M[i, j] = W[i * row_stride + j * column_stride] into panels, zeros behind the last column */
void longlag_pack(long n, long k, const real *W, long row_stride, long column_stride, real *packed) {
    for (long j = 0; j < n; j += PANEL, packed += PANEL * k) {
        const long wide = n - j < PANEL ? n - j : PANEL;
        if (wide == PANEL && column_stride == 1) { /* row by row as they lie */
            for (long i = 0; i < k; i++) {
                const loose *from = (const loose *)(W + i * row_stride + j);
                vec *to = (vec *)(packed + i * PANEL);
                to[0] = from[0], to[1] = from[1];
            }
            continue;
        }
        if (wide < PANEL) memset(packed, 0, sizeof(real) * (size_t)(PANEL * k));
        for (long q = 0; q < wide; q++)
            for (long i = 0; i < k; i++) packed[i * PANEL + q] = W[i * row_stride + (j + q) * column_stride];
    }
}

/* G[n, k] += A[rows, n]' S[rows, k]: some rows at a time, so that a panel of S and a strip of A stay in the first
   cache */
#define DEPTH 160
#define NEAR 256 /* bytes between rows of S up to which a panel of it lies well in the cache; else it is copied */
void longlag_outer(long rows, long n, long k, const real *A, long lda, const real *S, long lds, real *G, long ldg) {
    const long tiles = (n + ROWS - 1) / ROWS, parts = (rows + DEPTH - 1) / DEPTH;
    for (long t = 0, depth; t < parts; t++, A += depth * lda, S += depth * lds) {
        depth = rows * (t + 1) / parts - rows * t / parts;
        for (long j = 0; j < k; j += PANEL) {
            const long wide = k - j < PANEL ? k - j : PANEL;
            real panel[DEPTH * PANEL] __attribute__((aligned(VECTOR_BYTES))), corner[ROWS * PANEL];
            const int here = wide == PANEL && lds * (long)sizeof(real) <= NEAR;
            if (wide == PANEL && !here) {
                for (long i = 0; i < depth; i++) {
                    const loose *from = (const loose *)(S + i * lds + j);
                    vec *to = (vec *)(panel + i * PANEL);
                    to[0] = from[0], to[1] = from[1];
                }
            } else if (wide < PANEL) {
                memset(panel, 0, sizeof panel);
                for (long i = 0; i < depth; i++)
                    memcpy(panel + i * PANEL, S + i * lds + j, sizeof(real) * (size_t)wide);
            }
            for (long q = 0; q < tiles; q++) {
                const long first = n * q / tiles, count = n * (q + 1) / tiles - first;
                real *g = G + first * ldg + j;
                if (wide == PANEL) {
                    outer_tile_of(count, wide, depth, A + first, lda, here ? S + j : panel, here ? lds : PANEL, g, ldg);
                    continue;
                }
                memset(corner, 0, sizeof corner);
                outer_tile_of(count, wide, depth, A + first, lda, panel, PANEL, corner, PANEL);
                for (long r = 0; r < count; r++)
                    for (long p = 0; p < wide; p++) g[r * ldg + p] += corner[r * PANEL + p];
            }
        }
    }
}

long longlag_panel(void) { return PANEL; }

void longlag_stream(real *to, const real *from, long count) { stream_row(to, from, count); }
