/* Vectors of lanes: as wide as the processor's registers, and what a sweep over them needs. */
#ifndef LONGLAG_VECTORS_H
#define LONGLAG_VECTORS_H
#include <string.h>

#include "elementary.h"
#include "portable.h"
#include "real.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES (VECTOR_BYTES / (4 << LONGLAG_DOUBLE))

typedef real vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef bits_t mask __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef real loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define LANES_AT(place, i) (((vec *)(place))[i])
/* The last vector of lanes without what is beyond the last lane */
#define KEEP(x) ((vec)((mask)(x)&keep))

HELPER vec splat(real x) { return x - (vec){0}; }
HELPER mask splat_mask(int x) { return (bits_t)-x - (mask){0}; }
HELPER vec blend(mask which, vec yes, vec no) { return (vec)((which & (mask)yes) | (~which & (mask)no)); }

/* Ones in the first `rest` lanes */
HELPER mask first_lanes(long rest) {
    mask result;
    for (long i = 0; i < LANES; i++) result[i] = i < rest ? -1 : 0;
    return result;
}

/* Vector i of `width` of a caller's row, of which the last has only `rest` lanes; zeros beyond */
ALWAYS_INLINE vec loose_lanes(const real *row, const int i, const int width, const long rest) {
    if (i < width - 1 || rest == LANES) return *(const loose *)(row + i * LANES);
    vec result = {0};
    for (long j = 0; j < rest; j++) result[j] = row[i * LANES + j];
    return result;
}

ALWAYS_INLINE void store_lanes(real *row, const int i, const int width, const long rest, const vec value) {
    if (i < width - 1 || rest == LANES) *(loose *)(row + i * LANES) = value;
    else
        for (long j = 0; j < rest; j++) row[i * LANES + j] = value[j];
}

/* A function of numbers, lane by lane: the compiler turns the loop into vector code */
#define LANEWISE(name)                                          \
    HELPER vec v_##name(vec x) {                                \
        real v[LANES];                                          \
        memcpy(v, &x, sizeof v);                                \
        SIMD                                                    \
        for (int i = 0; i < LANES; i++) v[i] = ll_##name(v[i]); \
        memcpy(&x, v, sizeof v);                                \
        return x;                                               \
    }
#define LANEWISE_2(name)                                              \
    HELPER vec v_##name(vec x, vec y) {                               \
        real v[LANES], w[LANES];                                      \
        memcpy(v, &x, sizeof v), memcpy(w, &y, sizeof w);             \
        SIMD                                                          \
        for (int i = 0; i < LANES; i++) v[i] = ll_##name(v[i], w[i]); \
        memcpy(&x, v, sizeof v);                                      \
        return x;                                                     \
    }
LANEWISE(abs);
LANEWISE(exp);
LANEWISE(expm1);
LANEWISE(erf);
LANEWISE(tanh);
LANEWISE(sigmoid);
LANEWISE(log);
LANEWISE(log1p);
LANEWISE(sqrt);
LANEWISE(rsqrt);
LANEWISE(sign);
LANEWISE(floor);
LANEWISE(sin);
LANEWISE(cos);
LANEWISE_2(max);
LANEWISE_2(min);
LANEWISE_2(pow);

/* The sum of a vector's lanes, pair by pair */
ALWAYS_INLINE real sum_of_lanes(const vec x) {
    real v[LANES];
    memcpy(v, &x, sizeof v);
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) v[i] += v[i + n];
    return v[0];
}

#ifdef __clang__
#define PICK(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define PICK(x, y, ...) __builtin_shuffle(x, y, (mask){__VA_ARGS__})
#endif

/* Blocks of g lanes of x and of y in turn, each the sum of two neighbours: half of a transposition and of a sum. The
   first of the two choices leaves every lane in its place, which processors do beside shuffling. */
#if LANES == 16
ALWAYS_INLINE vec fold_8(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31) +
           PICK(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23);
}
ALWAYS_INLINE vec fold_4(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31) +
           PICK(x, y, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27);
}
ALWAYS_INLINE vec fold_2(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31) +
           PICK(x, y, 2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29);
}
ALWAYS_INLINE vec fold_1(const vec x, const vec y) {
    return PICK(x, y, 0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31) +
           PICK(x, y, 1, 16, 3, 18, 5, 20, 7, 22, 9, 24, 11, 26, 13, 28, 15, 30);
}
#elif LANES == 8
ALWAYS_INLINE vec fold_4(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 2, 3, 12, 13, 14, 15) + PICK(x, y, 4, 5, 6, 7, 8, 9, 10, 11);
}
ALWAYS_INLINE vec fold_2(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 10, 11, 4, 5, 14, 15) + PICK(x, y, 2, 3, 8, 9, 6, 7, 12, 13);
}
ALWAYS_INLINE vec fold_1(const vec x, const vec y) {
    return PICK(x, y, 0, 9, 2, 11, 4, 13, 6, 15) + PICK(x, y, 1, 8, 3, 10, 5, 12, 7, 14);
}
#elif LANES == 4
ALWAYS_INLINE vec fold_2(const vec x, const vec y) { return PICK(x, y, 0, 1, 6, 7) + PICK(x, y, 2, 3, 4, 5); }
ALWAYS_INLINE vec fold_1(const vec x, const vec y) { return PICK(x, y, 0, 5, 2, 7) + PICK(x, y, 1, 4, 3, 6); }
#else
ALWAYS_INLINE vec fold_1(const vec x, const vec y) { return PICK(x, y, 0, 3) + PICK(x, y, 1, 2); }
#endif

/* The sums of the lanes of as many vectors as there are lanes, in one vector */
ALWAYS_INLINE vec sums_of(const vec *x) {
#if LANES == 16
    vec a[8], b[4];
    UNROLL_ALL(8)
    for (int i = 0; i < 8; i++) a[i] = fold_8(x[i], x[i + 8]);
    UNROLL_ALL(4)
    for (int i = 0; i < 4; i++) b[i] = fold_4(a[i], a[i + 4]);
    return fold_1(fold_2(b[0], b[2]), fold_2(b[1], b[3]));
#elif LANES == 8
    vec a[4];
    UNROLL_ALL(4)
    for (int i = 0; i < 4; i++) a[i] = fold_4(x[i], x[i + 4]);
    return fold_1(fold_2(a[0], a[2]), fold_2(a[1], a[3]));
#elif LANES == 4
    return fold_1(fold_2(x[0], x[2]), fold_2(x[1], x[3]));
#else
    return fold_1(x[0], x[1]);
#endif
}

/* row[k] = the sum of the lanes of parts[k] */
HELPER void sum_lanes(const long K, const vec *parts, real *row) {
    long k = 0;
    for (; k + LANES <= K; k += LANES) *(loose *)(row + k) = sums_of(parts + k);
    for (; k < K; k++) row[k] = sum_of_lanes(parts[k]);
}

#endif
