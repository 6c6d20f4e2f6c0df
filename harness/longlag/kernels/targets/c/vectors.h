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
#define LANES (VECTOR_BYTES / (long)sizeof(real))

typedef real vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef bits_t mask __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef real loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define LANES_AT(place, i) (((vec *)(place))[i])
/* The last vector of lanes without what is beyond the last lane */
#define KEEP(x) ((vec)((mask)(x)&st->keep))

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

static void sum_lanes(long K, const vec *parts, real *row) {
    for (long k = 0; k < K; k++) row[k] = sum_of_lanes(parts[k]);
}

#endif
