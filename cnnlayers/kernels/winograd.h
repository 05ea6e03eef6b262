/* Winograd's convolution: the transforms.

   A product of polynomials can be had from their values: evaluate both at enough points, multiply value by value, and
   interpolate. A correlation of a signal with r numbers, of which m neighbouring results are wanted, is the transpose of
   such a product, so it takes n = m + r - 1 multiplications in place of m r:

       y = A^T [ (G g) * (B^T d) ]        g: r numbers of the kernel, d: n of the signal, y: m results, *: value by value

   G evaluates g at the n points, A is the same evaluation for m numbers, and B^T takes the place of the interpolation. In
   two dimensions each transform is applied to the columns, then to the rows. Of F(4x4, 3x3), 16 results of a 3 x 3 kernel,
   that is 36 multiplications in place of 144; of F(2x2, 3x3), 16 in place of 36; of F(2x2, 5x5), 36 in place of 100.

   Points: 0, 1, -1 and infinity for n = 4; 0, 3/4, -3/4, 3/2, -3/2 and infinity for n = 6. The usual 1 and 2 in place of
   3/4 and 3/2 have twice the rounding error; all constants here are exact. The value at infinity is the last coefficient.
   Each point a has a factor 1 / N(a), N(a) = the product of a - a' over the other finite points a', which is left out of
   the transforms and multiplied in where that is done once for a call (`find_factors`).

   docs/winograd.md derives all this, with numbers.

   Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; for the choice of points,
   B. Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2018. */

#define PA ((REAL)0.75)
#define PB ((REAL)1.5)

/* 1 / N of point i of n. */
static double T(point_factor)(int n, int i) {
    double a = 0.5625, b = 2.25; /* PA and PB squared */
    if (i == n - 1)
        return 1;
    if (n == 4)
        return i ? 0.5 : -1;
    return i == 0 ? 1 / (a * b) : i < 3 ? 1 / (2 * a * (a - b)) : 1 / (2 * b * (b - a));
}

/* The same in two dimensions, for each of n x n points. */
static void T(find_factors)(int n, REAL *to) {
    for (int i = 0; i < n * n; i++)
        to[i] = (REAL)(T(point_factor)(n, i / n) * T(point_factor)(n, i % n));
}

/* B^T d: row i holds the coefficients of the product of (x - a') over all finite points but a_i; the last, of all of them. */
INLINE void T(interpolate)(int n, VEC *to, const VEC *d) {
    if (n == 4) {
        to[0] = d[2] - d[0];
        to[1] = d[2] + d[1];
        to[2] = d[2] - d[1];
        to[3] = d[3] - d[1];
    } else {
        const REAL a = PA * PA, b = PB * PB;
        VEC even = d[4] - b * d[2], odd = d[3] - b * d[1];
        to[1] = even + PA * odd;
        to[2] = even - PA * odd;
        even = d[4] - a * d[2], odd = d[3] - a * d[1];
        to[3] = even + PB * odd;
        to[4] = even - PB * odd;
        to[0] = d[4] - (a + b) * d[2] + a * b * d[0];
        to[5] = d[5] - (a + b) * d[3] + a * b * d[1];
    }
}

/* G g: the polynomial with r coefficients g at the points, even and odd powers apart. */
INLINE void T(evaluate)(int n, int r, VEC *to, const VEC *g) {
    const REAL points[2] = {n == 4 ? 1 : PA, PB};
    to[0] = g[0];
#pragma GCC unroll 2
    for (int p = 0; p < (n - 2) / 2; p++) {
        REAL a = points[p], power = a * a;
        VEC even = g[0], odd = a * g[1];
#pragma GCC unroll 4
        for (int i = 2; i < r; i++) {
            if (i % 2)
                odd += power * a * g[i];
            else
                even += power * g[i];
            power *= i % 2 ? a * a : 1;
        }
        to[1 + 2 * p] = even + odd;
        to[2 + 2 * p] = even - odd;
    }
    to[n - 1] = g[r - 1];
}

/* A^T v, the transpose of evaluating m coefficients: to[j] = the sum of a^j v(a). */
INLINE void T(collect)(int n, int m, VEC *to, const VEC *v) {
    VEC even[2], odd[2];
    REAL power[2] = {1, 1};
    const REAL points[2] = {n == 4 ? 1 : PA, PB};
#pragma GCC unroll 2
    for (int p = 0; p < (n - 2) / 2; p++) {
        even[p] = v[1 + 2 * p] + v[2 + 2 * p];
        odd[p] = v[1 + 2 * p] - v[2 + 2 * p];
    }
#pragma GCC unroll 6
    for (int j = 0; j < m; j++) {
        const VEC *part = j % 2 ? odd : even;
        VEC sum = power[0] * part[0];
        if (j == 0)
            sum += v[0];
        if (n == 6)
            sum += power[1] * part[1];
        if (j == m - 1)
            sum += v[n - 1];
        to[j] = sum;
        power[0] *= points[0];
        power[1] *= points[1];
    }
}

/* Both dimensions: METHOD on the columns, then on the rows. FROM(i, j): the address of vector (i, j) of in x in; each of the
   out x out results goes to TO(i, j, value). */
#define IN_TWO_DIMENSIONS(in, out, METHOD, FROM, TO)                                         \
    do {                                                                                    \
        VEC half[out][in], line[in], values[out];                                            \
        _Pragma("GCC unroll 6") for (int j = 0; j < in; j++) {                               \
            _Pragma("GCC unroll 6") for (int i = 0; i < in; i++) line[i] = LOAD(FROM(i, j)); \
            METHOD(values, line);                                                           \
            _Pragma("GCC unroll 6") for (int i = 0; i < out; i++) half[i][j] = values[i];     \
        }                                                                                   \
        _Pragma("GCC unroll 6") for (int i = 0; i < out; i++) {                              \
            METHOD(values, half[i]);                                                        \
            _Pragma("GCC unroll 6") for (int j = 0; j < out; j++) TO(i, j, values[j]);       \
        }                                                                                   \
    } while (0)

/* Tiles of side x side pixels to n x n points. Channel v of pixel (i, j) is pixel[i * side + j][v]; of point (i, j),
   to[(i * n + j) * apart + v]. c is at least VL; the last vector of channels is moved back to end with them. */
typedef void (*T(tile_to_points))(const REAL *const *pixel, ptrdiff_t c, REAL *to, ptrdiff_t apart);
#define TILE_TO_POINTS(name, side, n, METHOD)                                                                          \
    static __attribute__((noinline)) void T(name)(const REAL *const *pixel, ptrdiff_t c, REAL *to, ptrdiff_t apart) {    \
        for (ptrdiff_t v = 0; v < c; v += VL) {                                                                        \
            ptrdiff_t at = v + VL <= c ? v : c - VL;                                                                   \
            IN_TWO_DIMENSIONS(side, n, METHOD, PIXEL, SET_POINT);                                                      \
        }                                                                                                             \
    }
#define PIXEL(i, j) pixel[(i) * SIDE + (j)] + at
#define SET_POINT(i, j, value) STORE(to + ((i) * POINTS + (j)) * apart + at, value)
#define INTERPOLATE(to, from) T(interpolate)(POINTS, to, from)
#define EVALUATE(to, from) T(evaluate)(POINTS, SIDE, to, from)

#define POINTS 6
#define SIDE 6
TILE_TO_POINTS(interpolate_6, 6, 6, INTERPOLATE)
#undef SIDE
#define SIDE 4
TILE_TO_POINTS(evaluate_4_at_6, 4, 6, EVALUATE)
#undef SIDE
#define SIDE 3
TILE_TO_POINTS(evaluate_3_at_6, 3, 6, EVALUATE)
#undef SIDE
#define SIDE 5
TILE_TO_POINTS(evaluate_5_at_6, 5, 6, EVALUATE)
#undef SIDE
#define SIDE 2
TILE_TO_POINTS(evaluate_2_at_6, 2, 6, EVALUATE)
#undef SIDE
#undef POINTS
#define POINTS 4
#define SIDE 4
TILE_TO_POINTS(interpolate_4, 4, 4, INTERPOLATE)
#undef SIDE
#define SIDE 2
TILE_TO_POINTS(evaluate_2_at_4, 2, 4, EVALUATE)
#undef SIDE
#define SIDE 3
TILE_TO_POINTS(evaluate_3_at_4, 3, 4, EVALUATE)
#undef SIDE
#undef POINTS
#undef PIXEL
#undef SET_POINT
#undef INTERPOLATE
#undef EVALUATE
#undef TILE_TO_POINTS
