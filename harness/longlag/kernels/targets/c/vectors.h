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

/* Blocks of g lanes of x and of y in turn, each block with its neighbour added: half of a transposition and of a sum */
#if LANES == 16
ALWAYS_INLINE vec fold_8(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           PICK(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}
ALWAYS_INLINE vec fold_4(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
           PICK(x, y, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
}
ALWAYS_INLINE vec fold_2(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
           PICK(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
ALWAYS_INLINE vec fold_1(const vec x, const vec y) {
    return PICK(x, y, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
           PICK(x, y, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}
#elif LANES == 8
ALWAYS_INLINE vec fold_4(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 2, 3, 8, 9, 10, 11) + PICK(x, y, 4, 5, 6, 7, 12, 13, 14, 15);
}
ALWAYS_INLINE vec fold_2(const vec x, const vec y) {
    return PICK(x, y, 0, 1, 8, 9, 4, 5, 12, 13) + PICK(x, y, 2, 3, 10, 11, 6, 7, 14, 15);
}
ALWAYS_INLINE vec fold_1(const vec x, const vec y) {
    return PICK(x, y, 0, 8, 2, 10, 4, 12, 6, 14) + PICK(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
}
#elif LANES == 4
ALWAYS_INLINE vec fold_2(const vec x, const vec y) { return PICK(x, y, 0, 1, 4, 5) + PICK(x, y, 2, 3, 6, 7); }
ALWAYS_INLINE vec fold_1(const vec x, const vec y) { return PICK(x, y, 0, 4, 2, 6) + PICK(x, y, 1, 5, 3, 7); }
#else
ALWAYS_INLINE vec fold_1(const vec x, const vec y) { return PICK(x, y, 0, 2) + PICK(x, y, 1, 3); }
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
