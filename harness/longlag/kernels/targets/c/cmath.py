"""Elementary functions in C that GCC and Clang turn into vector code, for float and double alike.

No ``-ffast-math`` is needed or used, so NaN and infinity come through: a clamp is a comparison that a NaN fails. The
exponential is the classical reduction ``exp(x) = 2^n exp(r)``, ``|r| <= log(2)/2``, with a polynomial; ``tanh(|x|)``
is ``E / (2 - E)`` with ``E = 1 - exp(-2|x|)`` computed without cancellation, accurate to a few units in the last place
from the smallest argument to saturation at exactly 1. What counts is the number of instructions: comparisons of
vectors are expensive, so each function clamps on one side only and puts the limit in place of the result on the other.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

FLOAT = {
    "real": "float",
    "bits": "int32_t",
    "mantissa": "23",
    "bias": "127",
    "magic": "12582912.0f",  # 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits
    "ln2_high": "0.693359375f",
    "ln2_low": "-2.12194440e-4f",
    "exp_high": "89.0f",
    "exp_low": "-86.9f",
    "tiny": "1.17549435e-38f",
    "scale_up": "8388608.0f",
    "scale_up_log2": "23",
    "suffix": "f",
    "mantissa_mask": "0x007fffff",
    "half_bits": "0x3f000000",
    "sign": "(bits_t)0x80000000u",
}
DOUBLE = {
    "real": "double",
    "bits": "int64_t",
    "mantissa": "52",
    "bias": "1023",
    "magic": "6755399441055744.0",
    "ln2_high": "6.93145751953125e-1",
    "ln2_low": "1.42860682030941723212e-6",
    "exp_high": "710.0",
    "exp_low": "-707.7",
    "tiny": "2.2250738585072014e-308",
    "scale_up": "4503599627370496.0",
    "scale_up_log2": "52",
    "suffix": "",
    "mantissa_mask": "0x000fffffffffffffLL",
    "half_bits": "0x3fe0000000000000LL",
    "sign": "(bits_t)0x8000000000000000ull",
}
EXP_TERMS = {"float": 5, "double": 11}
LOG_TERMS = {"float": 5, "double": 12}

TEMPLATE = """\
typedef {bits} bits_t;
typedef union {{ real value; bits_t bits; }} pun;

static inline real ll_abs(real x) {{ return __builtin_fabs{suffix}(x); }}

/* (exp(r) - 1 - r) / r^2 for |r| <= log(2)/2 */
static inline real remainder_of(real r) {{ return {exp_polynomial}; }}

/* exp(r) - 1, exact to the last digits near 0 */
static inline real expm1_reduced(real r) {{ return r + r * r * remainder_of(r); }}

/* 2^(n - less) and r with n log(2) + r = x; of an x beyond the exponent's range anything */
static inline real power_of_two(real x, const real less, real *r) {{
    const real magic = {magic} + ({bias} - less); /* the sum's low bits are those of the exponent */
    pun shifted, power;
    shifted.value = x * (real)1.4426950408889634 + magic;
    real n = shifted.value - magic;
    *r = (x - n * {ln2_high}) - n * ({ln2_low});
    power.bits = (bits_t)((uint{width}_t)shifted.bits << {mantissa});
    return power.value;
}}

static inline real ll_exp(real x) {{
    real r, half = power_of_two(x > {exp_high} ? {exp_high} : x, 1, &r); /* infinity from exp_high on */
    real y = (half + half * expm1_reduced(r)) * 2;
    return x < {exp_low} ? 0 : y;
}}

static inline real ll_expm1(real x) {{
    real r, half = power_of_two(x > {exp_high} ? {exp_high} : x, 1, &r);
    real y = (half * expm1_reduced(r) + (half - (real)0.5)) * 2;
    y = x < -50 ? -1 : y;
    return x == 0 ? x : y;
}}

static inline real ll_tanh(real x) {{
    real r, size = ll_abs(x), most = size > 22 ? 22 : size;
    real half = power_of_two(-2 * most, 1, &r);
    pun of, y;
    real e = ((real)0.5 - half) - half * expm1_reduced(r); /* (1 - exp(-2 |x|)) / 2 */
    of.value = x, y.value = e / (1 - e);
    y.bits |= of.bits & {sign};
    return y.value;
}}

static inline real ll_sigmoid(real x) {{
    real r, power = power_of_two(-(x > -({exp_low}) ? -({exp_low}) : x), 0, &r);
    real y = 1 / (1 + power * (1 + r * (1 + r * remainder_of(r))));
    return x < {exp_low} ? 0 : y; /* exactly, so that 0 times infinity stays NaN */
}}

static inline real ll_log(real x) {{
    pun m;
    real small = x < {tiny} ? {scale_up} : 1;
    m.value = x * small;
    bits_t exponent = (m.bits >> {mantissa}) - ({bias} - 1);
    m.bits = (m.bits & {mantissa_mask}) | {half_bits}; /* in [1/2, 1) */
    real low = m.value < (real)0.70710678118654752 ? 1 : 0;
    real f = low > 0 ? m.value + m.value : m.value;
    real n = (real)exponent - low - (small > 1 ? {scale_up_log2} : 0);
    real s = (f - 1) / (f + 1), z = s * s;
    real p = {log_polynomial};
    real y = n * {ln2_high} + (2 * s + (2 * s * z * p + n * ({ln2_low})));
    y = x == (real)INFINITY ? x : y;
    y = x == 0 ? -(real)INFINITY : y;
    y = x < 0 ? (real)NAN : y;
    return x != x ? x : y;
}}

static inline real ll_log1p(real x) {{
    real u = 1 + x, d = u - 1;
    real y = ll_log(u) * x / (d == 0 ? 1 : d);
    y = d == 0 ? x : y;
    y = x == -1 ? -(real)INFINITY : y;
    return u == (real)INFINITY ? u : y;
}}

static inline real ll_sqrt(real x) {{ return __builtin_sqrt{suffix}(x); }}
static inline real ll_rsqrt(real x) {{ return 1 / __builtin_sqrt{suffix}(x); }}
static inline real ll_sign(real x) {{ return (real)((x > 0) - (x < 0)); }}
static inline real ll_max(real a, real b) {{ return a > b || a != a ? a : b; }}
static inline real ll_min(real a, real b) {{ return a < b || a != a ? a : b; }}
static inline real ll_sin(real x) {{ return sin{suffix}(x); }}
static inline real ll_cos(real x) {{ return cos{suffix}(x); }}
static inline real ll_pow(real a, real b) {{ return pow{suffix}(a, b); }}
"""


def polynomial(variable: str, coefficients: list[float]) -> str:
    """Horner's rule, lowest coefficient first."""
    result = f"(real){coefficients[-1]!r}"
    for value in reversed(coefficients[:-1]):
        result = f"({result} * {variable} + (real){value!r})"
    return result


def remainder_coefficients(count: int) -> list[float]:
    """Of the polynomial near (exp(r) - 1 - r) / r^2 for |r| <= log(2)/2 that interpolates it at Chebyshev's points."""
    reach = math.log(2) / 2

    def remainder(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return sum((x * reach) ** k / math.factorial(k + 2) for k in range(20))  # type: ignore[return-value]

    scaled = Chebyshev.interpolate(remainder, count - 1).convert(kind=Polynomial).coef
    return [float(value) / reach**k for k, value in enumerate(scaled)]


def functions(real: str) -> str:
    """The C source for ``real`` float or double."""
    constants = FLOAT if real == "float" else DOUBLE
    return TEMPLATE.format(
        **constants,
        width="32" if real == "float" else "64",
        exp_polynomial=polynomial("r", remainder_coefficients(EXP_TERMS[real])),
        log_polynomial=polynomial("z", [1 / (2 * k + 1) for k in range(1, LOG_TERMS[real])]),
    )
