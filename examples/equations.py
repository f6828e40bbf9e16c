"""See the equations run: an Elman network in NumPy learns to say what it heard three steps ago.

It trains by backpropagation through time, and shows on the way how much of the gradient of W comes from each earlier
step: once the task is learned, little comes from further back than the task needs.
"""

import numpy as np

from elman.reference.network import Network, bptt, contributions, errors, forward

T, B, H, V, DELAY = 12, 20, 16, 2, 3
random = np.random.default_rng(0)


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Return random bits as one-hot inputs (T, B, V), and the same bits DELAY steps later as targets."""
    bits_TB = random.integers(0, V, (T + DELAY, B))
    return np.eye(V)[bits_TB[DELAY:]], np.eye(V)[bits_TB[:T]]


network = Network(
    U_HI=random.normal(0, 0.5, (H, V)),
    W_HH=np.linalg.qr(random.normal(size=(H, H)))[0],
    V_VH=random.normal(0, 0.5, (V, H)),
    b_H=np.zeros(H),
    c_V=np.zeros(V),
)
parameters = ["U_HI", "W_HH", "V_VH", "b_H", "c_V"]


def show_lags() -> None:
    """Print what each lag k adds to the gradient of W: the sum over t of the pairs (t, t - k)."""
    x, y = batch()
    run = forward(network, x)
    parts = contributions(network, run, y).W_TTHH
    assert np.allclose(parts.sum((0, 1)), bptt(network, run, y).W_HH)  # the parts are the gradient
    norms = [np.linalg.norm(sum(parts[t, t - lag] for t in range(max(lag, DELAY), T))) for lag in range(7)]
    for lag, norm in enumerate(norms):
        print(f"    {lag} steps back {norm:6.2f}  " + "#" * round(40 * norm / max(norms)))


for step in range(601):
    x, y = batch()
    run = forward(network, x)
    gradients = bptt(network, run, y)
    if step in (0, 100, 600):
        nats = errors(network, run, y)[DELAY:].mean()
        print(f"step {step:3d}   {nats:.3f} nats where the answer can be known (guessing: {np.log(2):.3f})")
        show_lags()
    for name in parameters:
        parameter, gradient = getattr(network, name), getattr(gradients, name)
        parameter -= 0.05 * gradient / B
