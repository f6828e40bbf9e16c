"""The arithmetic of one step on tiles, forward and backward, shared by all tiers: what is not a product.

Numbers come in and go out in the type of accumulation. `x` are the parts of the pre-activations from the input with the
biases, `a` those from the past; gates are numbered in torch's order. No annotation here is a string: Triton reads them.
"""

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    e = tl.exp(-tl.abs(x))  # never overflows
    return tl.where(x < 0, e, 1.0) / (1.0 + e)


@triton.jit
def tanh(x):
    """(1 - exp(-2 x)) / (1 + exp(-2 x))."""
    e = tl.exp(-2.0 * tl.abs(x))  # an absolute error of the rounding of 1, also near 0
    size = (1.0 - e) / (1.0 + e)
    return tl.where(x < 0, -size, size)


@triton.jit
def rnn(x, a, KIND: tl.constexpr):
    """The new state, s = f(x + a)."""
    s = x + a
    if KIND == "rnn_tanh":
        s = tanh(s)
    elif KIND == "rnn_relu":
        s = tl.maximum(s, 0.0)
    elif KIND == "rnn_sigmoid":
        s = sigmoid(s)
    return s


@triton.jit
def rnn_backward(y, d_y, KIND: tl.constexpr):
    """The gradient of x + a from the output: every f has its derivative in its own value."""
    d = d_y
    if KIND == "rnn_tanh":
        d = d_y * (1.0 - y * y)
    elif KIND == "rnn_relu":
        d = tl.where(y > 0, d_y, 0.0)
    elif KIND == "rnn_sigmoid":
        d = d_y * y * (1.0 - y)
    return d


@triton.jit
def lstm(xi, xf, xg, xo, ai, af, ag, ao, c):
    """i, f, o = sigmoid, g = tanh; c' = f c + i g; h' = o tanh(c')."""
    i = sigmoid(xi + ai)
    f = sigmoid(xf + af)
    g = tanh(xg + ag)
    o = sigmoid(xo + ao)
    c = f * c + i * g
    return i, f, g, o, c, o * tanh(c)


@triton.jit
def lstm_backward(i, f, g, o, c, d_h, d_c):
    """Gradients of the four pre-activations and of c, the cell state before the step."""
    tanh_c = tanh(f * c + i * g)
    d_c = d_c + d_h * o * (1.0 - tanh_c * tanh_c)
    di = d_c * g * i * (1.0 - i)
    df = d_c * c * f * (1.0 - f)
    dg = d_c * i * (1.0 - g * g)
    do = d_h * tanh_c * o * (1.0 - o)
    return di, df, dg, do, d_c * f


@triton.jit
def gru(xr, xz, xn, ar, az, an, h):
    """r, z = sigmoid; n = tanh(xn + r an); h' = (1 - z) n + z h."""
    r = sigmoid(xr + ar)
    z = sigmoid(xz + az)
    n = tanh(xn + r * an)
    return r, z, n, n + z * (h - n)


@triton.jit
def gru_backward(r, z, n, an, h, d_h):
    """Gradients of xn, xr, xz and an (those of ar and az are those of xr and xz), and what goes to h straight."""
    dn = d_h * (1.0 - z) * (1.0 - n * n)
    dr = dn * an * r * (1.0 - r)
    dz = d_h * (h - n) * z * (1.0 - z)
    return dn, dr, dz, dn * r, d_h * z
