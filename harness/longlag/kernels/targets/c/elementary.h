/* Elementary functions that GCC and Clang turn into vector code, for float and double alike.

   NaN and infinity come through: a clamp is a comparison that a NaN fails. Nothing here needs -ffast-math. The
   exponential is the classical reduction exp(x) = 2^n exp(r), |r| <= log(2)/2, with a polynomial. tanh(|x|) is
   E / (2 - E) with E = 1 - exp(-2|x|) computed without cancellation: accurate to a few units in the last place from the
   smallest argument to saturation at exactly 1. Speed is the number of instructions. Comparisons of vectors are
   expensive, so each function clamps on one side only and replaces the result by its limit on the other. */
#ifndef LONGLAG_ELEMENTARY_H
#define LONGLAG_ELEMENTARY_H
#include <math.h>
#include <stdint.h>

#include "portable.h"
#include "real.h"

/* The polynomial of (exp(r) - 1 - r) / r^2 interpolates it at the Chebyshev points of |r| <= log(2)/2. That of the
   logarithm is the beginning of the series of artanh. Horner's rule: TERM adds the next lower coefficient. MAGIC is 1.5
   times the first number without fraction: adding it rounds to an integer, which is then in the low bits. */
#define TERM(higher, coefficient) ((higher)*z + (real)(coefficient))
#if LONGLAG_DOUBLE
typedef int64_t bits_t;
typedef uint64_t unsigned_t;
#define BUILTIN(name) __builtin_##name
#define MANTISSA 52
#define BIAS 1023
#define MAGIC 6755399441055744.0
#define LN2_HIGH 6.93145751953125e-1
#define LN2_LOW 1.42860682030941723212e-6
#define EXP_HIGH 710.0
#define EXP_LOW (-707.7)
#define TINY 2.2250738585072014e-308
#define SCALE_UP 4503599627370496.0
#define SCALE_UP_LOG2 52
#define MANTISSA_MASK 0x000fffffffffffffLL
#define HALF_BITS 0x3fe0000000000000LL
#define SIGN_BIT ((bits_t)0x8000000000000000ull)
HELPER real exp_polynomial(real z) {
    real p = TERM((real)-2.480356452547542e-09, 2.5179879449010388e-08);
    p = TERM(TERM(TERM(p, 2.768331692238848e-07), 2.7557033023661254e-06), 2.4801467628308355e-05);
    p = TERM(TERM(TERM(p, 0.00019841270092369528), 0.001388888893435773), 0.008333333333242165);
    return TERM(TERM(TERM(p, 0.041666666666607066), 0.166666666666668), 0.5000000000000002);
}
HELPER real log_polynomial(real z) {
    real p = TERM(TERM((real)(1.0 / 23), 1.0 / 21), 1.0 / 19);
    p = TERM(TERM(TERM(TERM(p, 1.0 / 17), 1.0 / 15), 1.0 / 13), 1.0 / 11);
    return TERM(TERM(TERM(TERM(p, 1.0 / 9), 1.0 / 7), 1.0 / 5), 1.0 / 3);
}
#else
typedef int32_t bits_t;
typedef uint32_t unsigned_t;
#define BUILTIN(name) __builtin_##name##f
#define MANTISSA 23
#define BIAS 127
#define MAGIC 12582912.0f
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
#define EXP_HIGH 89.0f
#define EXP_LOW (-86.9f)
#define TINY 1.17549435e-38f
#define SCALE_UP 8388608.0f
#define SCALE_UP_LOG2 23
#define MANTISSA_MASK 0x007fffff
#define HALF_BITS 0x3f000000
#define SIGN_BIT ((bits_t)0x80000000u)
HELPER real exp_polynomial(real z) {
    real p = TERM(TERM((real)0.0013926176119143715, 0.008363173074516407), 0.04166655466205872);
    return TERM(TERM(p, 0.16666577025597948), 0.49999999999999994);
}
HELPER real log_polynomial(real z) { return TERM(TERM(TERM((real)(1.0 / 9), 1.0 / 7), 1.0 / 5), 1.0 / 3); }
#endif

typedef union {
    real value;
    bits_t bits;
} pun;

HELPER real ll_abs(real x) { return BUILTIN(fabs)(x); }

/* exp(r) - 1, exact to the last digits near 0 */
HELPER real expm1_reduced(real r) { return r + r * r * exp_polynomial(r); }

/* 2^(n - less) and r with n log(2) + r = x; undefined for an x beyond the exponent's range */
HELPER real power_of_two(real x, const real less, real *r) {
    const real magic = MAGIC + (BIAS - less); /* the sum's low bits are those of the exponent */
    pun shifted, power;
    shifted.value = x * (real)1.4426950408889634 + magic;
    real n = shifted.value - magic;
    *r = (x - n * LN2_HIGH) - n * LN2_LOW;
    power.bits = (bits_t)((unsigned_t)shifted.bits << MANTISSA);
    return power.value;
}

HELPER real ll_exp(real x) {
    real r, half = power_of_two(x > EXP_HIGH ? EXP_HIGH : x, 1, &r); /* infinity from EXP_HIGH on */
    real y = (half + half * expm1_reduced(r)) * 2;
    return x < EXP_LOW ? 0 : y;
}

/* The same for an x far from overflow, such as a number minus the largest of all */
HELPER real exp_of_small(real x) {
    real r, power = power_of_two(x, 0, &r);
    real y = power + power * expm1_reduced(r);
    return x < EXP_LOW ? 0 : y;
}

HELPER real ll_expm1(real x) {
    real r, half = power_of_two(x > EXP_HIGH ? EXP_HIGH : x, 1, &r);
    real y = (half * expm1_reduced(r) + (half - (real)0.5)) * 2;
    y = x < -50 ? -1 : y;
    return x == 0 ? x : y;
}

HELPER real ll_tanh(real x) {
    real r, size = ll_abs(x), clamped = size > 22 ? 22 : size;
    real half = power_of_two(-2 * clamped, 1, &r);
    pun argument, y;
    real e = ((real)0.5 - half) - half * expm1_reduced(r); /* (1 - exp(-2 |x|)) / 2 */
    argument.value = x, y.value = e / (1 - e);
    y.bits |= argument.bits & SIGN_BIT;
    return y.value;
}

HELPER real ll_sigmoid(real x) {
    real r, power = power_of_two(-(x > -EXP_LOW ? -EXP_LOW : x), 0, &r);
    real y = 1 / (1 + power * (1 + r * (1 + r * exp_polynomial(r))));
    return x < EXP_LOW ? 0 : y; /* exactly, so that 0 times infinity stays NaN */
}

/* In float a rational function, within 2e-8 of the value; 1 from where that rounds to it */
HELPER real ll_erf(real x) {
#if LONGLAG_DOUBLE
    return BUILTIN(erf)(x);
#else
    real size = ll_abs(x), clamped = size > (real)3.92 ? (real)3.92 : size, z = clamped * clamped;
    real p = TERM(TERM((real)2.050092568963303e-06, 0.0002848795549371397), 0.0037655142682731743);
    real q = TERM(TERM((real)3.809160601298082e-05, 0.0011625091172426604), 0.01496900965926617);
    pun argument, y;
    p = TERM(TERM(TERM(p, 0.052748398154655374), 0.19040419948938325), 1.1283791461703097);
    q = TERM(TERM(TERM(q, 0.11410815239280185), 0.5020740696493233), 1);
    real ratio = clamped * p / q;
    argument.value = x, y.value = ratio > 1 ? 1 : ratio;
    y.bits |= argument.bits & SIGN_BIT;
    return y.value;
#endif
}

HELPER real ll_log(real x) {
    pun m;
    real small = x < TINY ? SCALE_UP : 1;
    m.value = x * small;
    bits_t exponent = (m.bits >> MANTISSA) - (BIAS - 1);
    m.bits = (m.bits & MANTISSA_MASK) | HALF_BITS; /* in [1/2, 1) */
    real low = m.value < (real)0.70710678118654752 ? 1 : 0;
    real f = low > 0 ? m.value + m.value : m.value;
    real n = (real)exponent - low - (small > 1 ? SCALE_UP_LOG2 : 0);
    real s = (f - 1) / (f + 1), z = s * s;
    real p = log_polynomial(z);
    real y = n * LN2_HIGH + (2 * s + (2 * s * z * p + n * LN2_LOW));
    y = x == (real)INFINITY ? x : y;
    y = x == 0 ? -(real)INFINITY : y;
    y = x < 0 ? (real)NAN : y;
    return x != x ? x : y;
}

HELPER real ll_log1p(real x) {
    real u = 1 + x, d = u - 1;
    real y = ll_log(u) * x / (d == 0 ? 1 : d);
    y = d == 0 ? x : y;
    y = x == -1 ? -(real)INFINITY : y;
    return u == (real)INFINITY ? u : y;
}

HELPER real ll_sqrt(real x) { return BUILTIN(sqrt)(x); }
HELPER real ll_rsqrt(real x) { return 1 / BUILTIN(sqrt)(x); }
HELPER real ll_floor(real x) { return BUILTIN(floor)(x); }
HELPER real ll_sign(real x) { return (real)((x > 0) - (x < 0)); }
HELPER real ll_max(real a, real b) { return a > b || a != a ? a : b; }
HELPER real ll_min(real a, real b) { return a < b || a != a ? a : b; }
HELPER real ll_sin(real x) { return BUILTIN(sin)(x); }
HELPER real ll_cos(real x) { return BUILTIN(cos)(x); }
HELPER real ll_pow(real a, real b) { return BUILTIN(pow)(a, b); }

#endif
