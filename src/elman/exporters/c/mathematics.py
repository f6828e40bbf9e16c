"""The functions of generated C: products, and exp, sigmoid and tanh without a library or with the library's."""

from __future__ import annotations

EXP_ERROR, SIGMOID_ERROR, TANH_ERROR = 1.0e-7, 1.6e-7, 2.0e-7
"""The largest relative errors of the functions without a library, of exp and sigmoid for arguments from -87 to 87."""

MULTIPLY_ADD = """\
/* a b + c, in one instruction where the machine has one; compilers use it in GNU modes only, or at will. */
#ifdef FP_FAST_FMAF
#define MULTIPLY_ADD(a, b, c) fmaf((a), (b), (c))
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif
"""

ADD_PRODUCT = """\
/* A matrix whose columns, of `rows` numbers each, follow one another. */
typedef struct {
    const float *numbers;
    int rows, columns;
} matrix;

/* z += A x; compilers vectorise the loop over rows. */
static inline void add_product(float *restrict z, const matrix *m, const float *restrict x)
{
    const float *restrict a = m->numbers;
    const int rows = m->rows;
    for (int k = m->columns / 4; k > 0; k--, a += 4 * rows, x += 4) {
        const float *restrict a1 = a + rows, *restrict a2 = a1 + rows, *restrict a3 = a2 + rows;
        const float x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
        for (int j = 0; j < rows; j++) {
            const float s = MULTIPLY_ADD(a1[j], x1, MULTIPLY_ADD(a[j], x0, z[j]));
            z[j] = MULTIPLY_ADD(a3[j], x3, MULTIPLY_ADD(a2[j], x2, s));
        }
    }
    for (int k = m->columns % 4; k > 0; k--, a += rows, x++)
        for (int j = 0; j < rows; j++)
            z[j] = MULTIPLY_ADD(a[j], *x, z[j]);
}
"""

ADD_PRODUCT_INT8 = """\
/* A matrix of integers, with a scale for each row. Its columns, of `rows` integers each, follow one another. */
typedef struct {
    const int8_t *numbers;
    const float *scales;
    int rows, columns;
} matrix;

/* z += A x; compilers vectorise the loops over rows. */
static inline void add_product(float *restrict z, float *restrict sums, const matrix *m, const float *restrict x)
{
    const int8_t *restrict a = m->numbers;
    const float *restrict scales = m->scales;
    const int rows = m->rows;
    for (int j = 0; j < rows; j++)
        sums[j] = 0.0f;
    for (int k = m->columns / 4; k > 0; k--, a += 4 * rows, x += 4) {
        const int8_t *restrict a1 = a + rows, *restrict a2 = a1 + rows, *restrict a3 = a2 + rows;
        const float x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
        for (int j = 0; j < rows; j++) {
            const float s = MULTIPLY_ADD((float)a1[j], x1, MULTIPLY_ADD((float)a[j], x0, sums[j]));
            sums[j] = MULTIPLY_ADD((float)a3[j], x3, MULTIPLY_ADD((float)a2[j], x2, s));
        }
    }
    for (int k = m->columns % 4; k > 0; k--, a += rows, x++)
        for (int j = 0; j < rows; j++)
            sums[j] = MULTIPLY_ADD((float)a[j], *x, sums[j]);
    for (int j = 0; j < rows; j++)
        z[j] = MULTIPLY_ADD(scales[j], sums[j], z[j]);
}
"""

START = """\
/* z = b, or zeros where there is no b. */
static inline void start(float *restrict z, const float *restrict b, int rows)
{
    for (int j = 0; j < rows; j++)
        z[j] = b ? b[j] : 0.0f;
}
"""

PARTS_OF_EXP = """\
typedef union {
    uint32_t bits;
    float value;
} number;

typedef struct {
    float power, rest;
} exp_parts;

/* exp(x) = power (1 + rest) with a power of two, for |x| up to the limit, of at most 87; beyond, the value there.
   x = n ln 2 + r, and rest = exp(r) - 1 is a polynomial with a relative error of at most 3.1e-9 of exp(r). NaN stays.
   The bits are compared, as compilers do not vectorise comparisons of floats, which might trap. */
static inline exp_parts parts_of_exp(float argument, float limit)
{
    number x, most, power, rest;
    uint32_t magnitude, not_a_number;
    int32_t n;
    float r, q = 0.00138145394f;
    exp_parts parts;
    x.value = argument;
    most.value = limit;
    magnitude = x.bits & 0x7fffffffu;
    not_a_number = (0x7f800000u - magnitude) >> 31;
    x.bits = (x.bits & 0x80000000u) | (magnitude < most.bits ? magnitude : most.bits);
    n = (int32_t)(x.value * 1.44269504f + 128.5f) - 128;
    r = (x.value - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
    q = MULTIPLY_ADD(q, r, 0.00836874545f);
    q = MULTIPLY_ADD(q, r, 0.0416683890f);
    q = MULTIPLY_ADD(q, r, 0.166665211f);
    q = MULTIPLY_ADD(q, r, 0.499999940f);
    rest.value = MULTIPLY_ADD(r * r, q, r);
    rest.bits |= not_a_number * 0x7fc00000u;
    power.bits = (uint32_t)(n + 127) << 23;
    parts.power = power.value;
    parts.rest = rest.value;
    return parts;
}
"""

OWN_SIGMOID = """\
static inline float sigmoid(float x)
{
    const exp_parts e = parts_of_exp(-x, 87.0f);
    return 1.0f / (1.0f + MULTIPLY_ADD(e.power, e.rest, e.power));
}
"""

OWN_TANH = """\
/* (exp(2x) - 1) / (exp(2x) + 1), where the first difference keeps its digits near 0. */
static inline float hyperbolic_tangent(float x)
{
    const exp_parts e = parts_of_exp(2.0f * x, 20.0f);
    const float difference = MULTIPLY_ADD(e.power, e.rest, e.power - 1.0f);
    return difference / (difference + 2.0f);
}
"""

LIBRARY_SIGMOID = """\
static inline float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}
"""

LIBRARY_TANH = """\
static inline float hyperbolic_tangent(float x)
{
    return tanhf(x);
}
"""

RELU = """\
static inline float relu(float x)
{
    return x < 0.0f ? 0.0f : x; /* NaN stays */
}
"""

FUNCTIONS = {"tanh": "hyperbolic_tangent({})", "sigmoid": "sigmoid({})", "relu": "relu({})", "identity": "{}"}
"""The call of each nonlinearity."""


def functions(names: set[str], *, libm: bool) -> str:
    """Return the definitions of the nonlinearities among `names`."""
    parts = []
    if not libm and names & {"sigmoid", "tanh"}:
        parts.append(PARTS_OF_EXP)
    if "sigmoid" in names:
        parts.append(LIBRARY_SIGMOID if libm else OWN_SIGMOID)
    if "tanh" in names:
        parts.append(LIBRARY_TANH if libm else OWN_TANH)
    if "relu" in names:
        parts.append(RELU)
    return "\n".join(parts)
