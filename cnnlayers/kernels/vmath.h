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
#ifndef CNNLAYERS_VMATH_NUMBERS
#define CNNLAYERS_VMATH_NUMBERS

enum { EXPONENT_AT_f32 = 23, EXPONENT_AT_f64 = 52, LOW_HALF_f32 = 12, LOW_HALF_f64 = 27 }; /* bits */

typedef struct {
    double inverse_ln2, ln2_high, ln2_low;
    double round; /* 1.5 * 2^23 (or 2^52): adding it rounds to a whole number */
    double bias;  /* `round` + the exponent of 1: adding it leaves n + the exponent of 1 in the last bits */
    double least; /* exp(x) is a normal number from here on */
    double ones;  /* from here down, expm1(x) is -1 and exp(-x^2 / 2) is 0 */
    double most;  /* the largest finite number */
    double k;     /* of the normal distribution's t */
} cnn_vmath_numbers;

static const cnn_vmath_numbers vmath_f32 = {1.44269504, 0.693359375, -2.12194440055e-4, 12582912.0, 12583039.0,
                                            -87.33654, -50.0, 3.40282346638528859812e38, 3.0};
static const cnn_vmath_numbers vmath_f64 = {1.442695040888963407, 0.6931471803691238, 1.9082149292705878161e-10,
                                            6755399441055744.0, 6755399441056767.0, -708.396418532264, -50.0,
                                            1.79769313486231570815e308, 5.0};

static const float exp_terms_f32[] = {0.5f, 0.1666657667f, 0.04166655421f, 0.008363232884f, 0.001392625083f};
static const double exp_terms_f64[] = {0.5000000000000001031,  0.1666666666666666746,   0.04166666666662382053,
                                       0.008333333333330038197, 0.001388888891736708056, 0.0001984126986317155603,
                                       2.48015210578682052e-5, 2.755726827690569619e-6, 2.762020159103154879e-7,
                                       2.5100472505694996e-8};

static const float tail_terms_f32[] = {0.7290836907f,    -0.5093319895f,    0.2300176777f,   -0.04726274528f,
                                       -0.01046229376f,  0.006969813131f,   0.001024135711f, -0.001034222059f,
                                       -0.0002445826664f, 0.0001331259088f, 5.53559663e-5f};
static const double tail_terms_f64[] = {
    0.7691930497500629586,    -0.6653825028900567004,   0.4953056159699764133,    -0.3135331566713045447,
    0.1650203661703847179,    -0.06911863870631016358,  0.02079506679988317964,   -0.002993376770508542439,
    -0.0007978693984660701054, 0.0005448990647731298938, -5.937572800991586368e-5, -4.976281427058580517e-5,
    1.668121374204206145e-5,  3.980902157868041119e-6,  -2.769267095997430245e-6, -3.366153681012471172e-7,
    4.331410356862584954e-7,  4.227499374006534838e-8,  -6.594221662477223043e-8, -9.313560994326059143e-9,
    7.663071800760041046e-9,  1.753048401408231981e-9,  -1.587746882747336538e-10};

#define INVERSE_SQRT_TAU 0.3989422804014326779 /* 1 / sqrt(2 pi) */
#define COUNT(array) (sizeof(array) / sizeof *(array))
#endif

#define NUMBER(name) ((REAL)T(vmath).name)
#define SIGN ((MASK)(-(VEC){0}))

/* mask ? a : b */
INLINE VEC T(pick)(MASK mask, VEC a, VEC b) { return (VEC)(((MASK)a & mask) | ((MASK)b & ~mask)); }

INLINE VEC T(magnitude)(VEC x) { return (VEC)((MASK)x & ~SIGN); }

/* |size| with the sign of x. */
INLINE VEC T(with_sign)(VEC size, VEC x) { return (VEC)(((MASK)size & ~SIGN) | ((MASK)x & SIGN)); }

/* max(x, low); NaN stays. */
INLINE VEC T(at_least)(VEC x, REAL low) { return T(pick)(x < low, (VEC){0} + low, x); }

/* min(x, high); NaN stays. */
INLINE VEC T(at_most)(VEC x, REAL high) { return T(pick)(x > high, (VEC){0} + high, x); }

/* x within -limit .. limit; NaN stays. */
INLINE VEC T(clamp)(VEC x, REAL limit) { return T(at_most)(T(at_least)(x, -limit), limit); }

/* terms[0] + terms[1] x + ... */
INLINE VEC T(horner)(const REAL *terms, size_t count, VEC x) {
    VEC sum = (VEC){0} + terms[count - 1];
#pragma GCC unroll 32
    for (size_t i = count - 1; i-- > 0;)
        sum = sum * x + terms[i];
    return sum;
}

/* The same in two chains, of the even and the odd powers: each half as long, and a processor runs them side by side. */
INLINE VEC T(even_odd)(const REAL *terms, size_t count, VEC x) {
    VEC square = x * x, even = {0}, odd = {0};
#pragma GCC unroll 32
    for (size_t i = count; i-- > 0;)
        if (i % 2)
            odd = odd * square + terms[i];
        else
            even = even * square + terms[i];
    return odd * x + even;
}

/* expm1(r) with x + rest = n ln 2 + r, and 2^n; right for x from `least` to 0 and a small rest. */
INLINE VEC T(reduced_expm1)(VEC x, VEC rest, VEC *power) {
    VEC n = (x * NUMBER(inverse_ln2) + NUMBER(round)) - NUMBER(round);
    VEC r = ((x - n * NUMBER(ln2_high)) - n * NUMBER(ln2_low)) + rest;
    *power = (VEC)((MASK)(n + NUMBER(bias)) << T(EXPONENT_AT));
    return r + r * r * T(horner)(T(exp_terms), COUNT(T(exp_terms)), r);
}

/* exp(x + rest) for x <= 0. */
INLINE VEC T(exp_sum)(VEC x, VEC rest) {
    VEC power, part = T(reduced_expm1)(x, rest, &power);
    return (VEC)((MASK)(power + part * power) & ~(x < NUMBER(least)));
}

/* exp(x) for x <= 0. */
INLINE VEC T(exp_below)(VEC x) { return T(exp_sum)(x, (VEC){0}); }

/* exp(x) - 1 for x <= 0: 2^n expm1(r) + (2^n - 1); 0 for -0 too. */
INLINE VEC T(expm1_below)(VEC x) {
    VEC power, part = T(reduced_expm1)(T(at_least)(x, NUMBER(ones)), (VEC){0}, &power);
    return power * part + (power - 1);
}

/* With e = expm1(-2 |x|): tanh |x| = -e / (2 + e). */
INLINE VEC T(tanh_of)(VEC x) {
    VEC e = T(expm1_below)(-2 * T(magnitude)(x));
    return T(with_sign)(e / (2 + e), x);
}

/* s = 1 / (1 + exp(-x)), and 1 - s; with e = exp(-|x|) they are 1 / (1 + e) and e / (1 + e), the other way round for
   x < 0. */
INLINE VEC T(logistic)(VEC x, VEC *rest) {
    VEC e = T(exp_below)(-T(magnitude)(x)), more = 1 / (1 + e), less = e * more;
    *rest = T(pick)(x < 0, more, less);
    return T(pick)(x < 0, less, more);
}

/* Of the normal distribution, for a = |x|, which is bounded where exp(-a^2 / 2) is 0: the tail P(X > a), and
   exp(-a^2 / 2).

   a^2 is rounded, and exp would make much of that for large a: so a = head + (a - head), where head^2 is exact. */
INLINE VEC T(normal_tail)(VEC x, VEC *a, VEC *e) {
    *a = T(at_most)(T(magnitude)(x), -NUMBER(ones));
    VEC head = (VEC)((MASK)*a >> T(LOW_HALF) << T(LOW_HALF));
    *e = T(exp_sum)(head * head * (REAL)-0.5, (*a - head) * (*a + head) * (REAL)-0.5);
    VEC inverse = 1 / (*a + NUMBER(k));
    return *e * T(even_odd)(T(tail_terms), COUNT(T(tail_terms)), (*a - NUMBER(k)) * inverse) * inverse;
}

/* P(X <= x) = (1 + erf(x / sqrt 2)) / 2, and the density exp(-x^2 / 2) / sqrt(2 pi). */
INLINE VEC T(normal)(VEC x, VEC *density) {
    VEC a, e, tail = T(normal_tail)(x, &a, &e);
    *density = e * (REAL)INVERSE_SQRT_TAU;
    return T(pick)(x > 0, 1 - tail, tail);
}
