/* exp, expm1, tanh, the logistic function and the normal distribution, a vector at a time.

   exp(x): x = n ln 2 + r with n whole and |r| <= ln 2 / 2 (Cody and Waite: ln 2 in two parts, so that n times the upper
   one is exact), exp(r) = 1 + r + r^2 q(r) with a polynomial q, and 2^n written into the exponent. All that is needed
   here is x <= 0, where nothing overflows: each function below reaches its values from exp(-|x|) or expm1(-|x|), and
   none subtracts two numbers that are nearly equal.

   Normal distribution: with a = |x|, the tail beyond a is Q(a) = exp(-a^2 / 2) h(t) / (a + k), t = (a - k) / (a + k):
   what is left for the polynomial h is smooth, and the tail keeps its digits (M. Shepherd, J. Laframboise, "Chebyshev
   Approximation of (1 + 2x) exp(x^2) erfc x", 1981, in the variable of the normal distribution).

   The coefficients were computed for this file with 60 digits: interpolation at the Chebyshev nodes. Relative errors,
   in units of the precision's epsilon: exp and expm1 1, the logistic function and tanh 2, the normal distribution 4. An
   exp below the smallest normal number is 0. NaN gives NaN. Lanes do not depend on each other. */
#pragma once

#include "simd.h"

typedef struct {
    REAL inverse_ln2, ln2_high, ln2_low;
    REAL round; /* 1.5 * 2^23 (or 2^52): adding it rounds to a whole number */
    REAL bias;  /* `round` + the exponent of 1: adding it leaves n + the exponent of 1 in the last bits */
    REAL least; /* exp(x) is a normal number from here on */
    REAL ones;  /* from here down, expm1(x) is -1 and exp(-x^2 / 2) is 0 */
    REAL most;  /* the largest finite number */
    REAL k;     /* of the normal distribution's t */
} Constants;

#if REAL_BITS == 32

enum { EXPONENT_AT = 23, LOW_HALF = 12 }; /* bits */

static const Constants vmath = {1.44269504, 0.693359375, -2.12194440055e-4,         12582912.0, 12583039.0,
                                -87.33654,  -50.0,       3.40282346638528859812e38, 3.0};
static const REAL exp_terms[] = {0.5f, 0.1666657667f, 0.04166655421f, 0.008363232884f, 0.001392625083f};
static const REAL tail_terms[] = {0.7290836907f,     -0.5093319895f,   0.2300176777f,   -0.04726274528f,
                                  -0.01046229376f,   0.006969813131f,  0.001024135711f, -0.001034222059f,
                                  -0.0002445826664f, 0.0001331259088f, 5.53559663e-5f};

#else

enum { EXPONENT_AT = 52, LOW_HALF = 27 };

static const Constants vmath = {1.442695040888963407,
                                0.6931471803691238,
                                1.9082149292705878161e-10,
                                6755399441055744.0,
                                6755399441056767.0,
                                -708.396418532264,
                                -50.0,
                                1.79769313486231570815e308,
                                5.0};
static const REAL exp_terms[] = {0.5000000000000001031,   0.1666666666666666746,   0.04166666666662382053,
                                 0.008333333333330038197, 0.001388888891736708056, 0.0001984126986317155603,
                                 2.48015210578682052e-5,  2.755726827690569619e-6, 2.762020159103154879e-7,
                                 2.5100472505694996e-8};
static const REAL tail_terms[] = {
    0.7691930497500629586,     -0.6653825028900567004,   0.4953056159699764133,    -0.3135331566713045447,
    0.1650203661703847179,     -0.06911863870631016358,  0.02079506679988317964,   -0.002993376770508542439,
    -0.0007978693984660701054, 0.0005448990647731298938, -5.937572800991586368e-5, -4.976281427058580517e-5,
    1.668121374204206145e-5,   3.980902157868041119e-6,  -2.769267095997430245e-6, -3.366153681012471172e-7,
    4.331410356862584954e-7,   4.227499374006534838e-8,  -6.594221662477223043e-8, -9.313560994326059143e-9,
    7.663071800760041046e-9,   1.753048401408231981e-9,  -1.587746882747336538e-10};

#endif

#define INVERSE_SQRT_TAU 0.3989422804014326779 /* 1 / sqrt(2 pi) */
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SIGN ((Mask)(-(Vec){0}))

/* mask ? a : b */
INLINE Vec pick(Mask mask, Vec a, Vec b) { return (Vec)(((Mask)a & mask) | ((Mask)b & ~mask)); }

INLINE Vec magnitude(Vec x) { return (Vec)((Mask)x & ~SIGN); }

/* |size| with the sign of x. */
INLINE Vec with_sign(Vec size, Vec x) { return (Vec)(((Mask)size & ~SIGN) | ((Mask)x & SIGN)); }

/* max(x, low); NaN stays. */
INLINE Vec at_least(Vec x, REAL low) { return pick(x < low, (Vec){0} + low, x); }

/* min(x, high); NaN stays. */
INLINE Vec at_most(Vec x, REAL high) { return pick(x > high, (Vec){0} + high, x); }

/* x within -limit .. limit; NaN stays. */
INLINE Vec clamp(Vec x, REAL limit) { return at_most(at_least(x, -limit), limit); }

/* terms[0] + terms[1] x + ... */
INLINE Vec horner(const REAL *terms, size_t count, Vec x) {
    Vec sum = (Vec){0} + terms[count - 1];
#pragma GCC unroll 32
    for (size_t i = count - 1; i-- > 0;)
        sum = sum * x + terms[i];
    return sum;
}

/* The same in two chains, of the even and the odd powers: each half as long, and a processor runs them side by side. */
INLINE Vec even_odd(const REAL *terms, size_t count, Vec x) {
    Vec square = x * x, even = {0}, odd = {0};
#pragma GCC unroll 32
    for (size_t i = count; i-- > 0;)
        if (i % 2)
            odd = odd * square + terms[i];
        else
            even = even * square + terms[i];
    return odd * x + even;
}

/* expm1(r) with x + rest = n ln 2 + r, and 2^n; right for x from `least` to 0 and a small rest. */
INLINE Vec reduced_expm1(Vec x, Vec rest, Vec *power) {
    Vec n = (x * vmath.inverse_ln2 + vmath.round) - vmath.round;
    Vec r = ((x - n * vmath.ln2_high) - n * vmath.ln2_low) + rest;
    *power = (Vec)((Mask)(n + vmath.bias) << EXPONENT_AT);
    return r + r * r * horner(exp_terms, COUNT(exp_terms), r);
}

/* exp(x + rest) for x <= 0. */
INLINE Vec exp_sum(Vec x, Vec rest) {
    Vec power, part = reduced_expm1(x, rest, &power);
    return (Vec)((Mask)(power + part * power) & ~(x < vmath.least));
}

/* exp(x) for x <= 0. */
INLINE Vec exp_below(Vec x) { return exp_sum(x, (Vec){0}); }

/* exp(x) - 1 for x <= 0: 2^n expm1(r) + (2^n - 1); 0 for -0 too. */
INLINE Vec expm1_below(Vec x) {
    Vec power, part = reduced_expm1(at_least(x, vmath.ones), (Vec){0}, &power);
    return power * part + (power - 1);
}

/* With e = expm1(-2 |x|): tanh |x| = -e / (2 + e). */
INLINE Vec tanh_of(Vec x) {
    Vec e = expm1_below(-2 * magnitude(x));
    return with_sign(e / (2 + e), x);
}

/* s = 1 / (1 + exp(-x)), and 1 - s; with e = exp(-|x|) they are 1 / (1 + e) and e / (1 + e), the other way round for
   x < 0. */
INLINE Vec logistic(Vec x, Vec *rest) {
    Vec e = exp_below(-magnitude(x)), more = 1 / (1 + e), less = e * more;
    *rest = pick(x < 0, more, less);
    return pick(x < 0, less, more);
}

/* Of the normal distribution, for a = |x|, which is bounded where exp(-a^2 / 2) is 0: the tail P(X > a), and
   exp(-a^2 / 2).

   a^2 is rounded, and exp would make much of that for large a: so a = head + (a - head), where head^2 is exact. */
INLINE Vec normal_tail(Vec x, Vec *a, Vec *e) {
    *a = at_most(magnitude(x), -vmath.ones);
    Vec head = (Vec)((Mask)*a >> LOW_HALF << LOW_HALF);
    *e = exp_sum(head * head * (REAL)-0.5, (*a - head) * (*a + head) * (REAL)-0.5);
    Vec inverse = 1 / (*a + vmath.k);
    return *e * even_odd(tail_terms, COUNT(tail_terms), (*a - vmath.k) * inverse) * inverse;
}

/* P(X <= x) = (1 + erf(x / sqrt 2)) / 2, and the density exp(-x^2 / 2) / sqrt(2 pi). */
INLINE Vec normal(Vec x, Vec *density) {
    Vec a, e, tail = normal_tail(x, &a, &e);
    *density = e * (REAL)INVERSE_SQRT_TAU;
    return pick(x > 0, 1 - tail, tail);
}
