"""The steps of the cells in C, line by line the equations of `elman.layers`."""

from __future__ import annotations

from elman.exporters.c.mathematics import FUNCTIONS

RNN = """\
/* h = f(U x + W h + b) */
static inline void rnn(float *restrict z,{sums_parameter} const matrix *u, const matrix *w, const float *restrict b,
                       const float *restrict x, float *restrict h)
{{
    const int hidden = w->rows;
    start(z, b, hidden);
    add_product(z,{sums} u, x);
    add_product(z,{sums} w, h);
    for (int j = 0; j < hidden; j++)
        h[j] = {f};
}}
"""

GRU = """\
/* r = sigmoid(U_r x + W_r h + b_r), u = sigmoid(U_u x + W_u h + b_u),
   n = tanh(U_n x + b_n + r (V h + c)), h = (1 - u) n + u h; the rows of U in the order r, u, n, those of W r, u. */
static inline void gru(float *restrict z, float *restrict p,{sums_parameter} const matrix *u, const matrix *w,
                       const matrix *v, const float *restrict b, const float *restrict c, const float *restrict x,
                       float *restrict h)
{{
    const int hidden = v->columns;
    start(z, b, 3 * hidden);
    start(p, c, hidden);
    add_product(z,{sums} u, x);
    add_product(z,{sums} w, h);
    add_product(p,{sums} v, h);
    for (int j = 0; j < 2 * hidden; j++)
        z[j] = sigmoid(z[j]);
    for (int j = 0; j < hidden; j++) {{
        const float update = z[hidden + j];
        const float n = hyperbolic_tangent(MULTIPLY_ADD(z[j], p[j], z[2 * hidden + j]));
        h[j] = MULTIPLY_ADD(update, h[j], (1.0f - update) * n);
    }}
}}
"""

LSTM = """\
/* i = sigmoid(U_i x + W_i h + b_i), likewise f and o, g = tanh(U_g x + W_g h + b_g),
   c = f c + i g, h = o tanh(c); the rows of U and W in the order i, f, g, o. */
static inline void lstm(float *restrict z,{sums_parameter} const matrix *u, const matrix *w, const float *restrict b,
                        const float *restrict x, float *restrict h, float *restrict c)
{{
    const int hidden = w->columns;
    start(z, b, 4 * hidden);
    add_product(z,{sums} u, x);
    add_product(z,{sums} w, h);
    for (int j = 0; j < hidden; j++) {{
        const float i = sigmoid(z[j]), f = sigmoid(z[hidden + j]);
        const float g = hyperbolic_tangent(z[2 * hidden + j]), o = sigmoid(z[3 * hidden + j]);
        c[j] = MULTIPLY_ADD(f, c[j], i * g);
        h[j] = o * hyperbolic_tangent(c[j]);
    }}
}}
"""

LSTM_PROJECTED = """\
/* i = sigmoid(U_i x + W_i h + b_i), likewise f and o, g = tanh(U_g x + W_g h + b_g),
   c = f c + i g, h = R (o tanh(c)); the rows of U and W in the order i, f, g, o. */
static inline void lstm(float *restrict z,{sums_parameter} const matrix *u, const matrix *w, const matrix *r,
                        const float *restrict b, const float *restrict x, float *restrict h, float *restrict c)
{{
    const int hidden = r->columns;
    start(z, b, 4 * hidden);
    add_product(z,{sums} u, x);
    add_product(z,{sums} w, h);
    for (int j = 0; j < hidden; j++) {{
        const float i = sigmoid(z[j]), f = sigmoid(z[hidden + j]);
        const float g = hyperbolic_tangent(z[2 * hidden + j]), o = sigmoid(z[3 * hidden + j]);
        c[j] = MULTIPLY_ADD(f, c[j], i * g);
        z[j] = o * hyperbolic_tangent(c[j]);
    }}
    start(h, 0, r->rows);
    add_product(h,{sums} r, z);
}}
"""


def cell_function(cell: str, nonlinearity: str | None, *, projected: bool, int8: bool) -> str:
    """Return the definition of the function that runs a step of one layer."""
    text = {"rnn": RNN, "gru": GRU, "lstm": LSTM_PROJECTED if projected else LSTM}[cell]
    function = FUNCTIONS[nonlinearity or "tanh"].format("z[j]")
    sums_parameter, sums = (" float *restrict sums,", " sums,") if int8 else ("", "")
    return text.format(f=function, sums_parameter=sums_parameter, sums=sums)


def nonlinearities(cell: str, nonlinearity: str | None) -> set[str]:
    """Return the names of the functions that a cell calls."""
    return {nonlinearity or "tanh"} if cell == "rnn" else {"sigmoid", "tanh"}
