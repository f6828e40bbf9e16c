"""Jacobians ds_t/ds_{t-1}: singular values, spectral radius of W, and Lyapunov exponents.

The Lyapunov exponents are the growth rates per step of the product of Jacobians along the data, by repeated QR
factorisation: G. Benettin, L. Galgani, A. Giorgilli, J.-M. Strelcyn, "Lyapunov characteristic exponents for smooth
dynamical systems and for Hamiltonian systems; a method for computing all of them", 1980; for recurrent networks
R. Engelken, F. Wolf, L. F. Abbott, "Lyapunov spectra of chaotic recurrent neural networks", 2023. We multiply with the
transposed Jacobians, from the last step to the first, which is what backpropagation does; a product and its transpose
have the same singular values, so the exponents are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.inspection.capture.replay import Linear

EXPONENTS = 4  # how many of the leading exponents are followed
SEQUENCES = 4  # along how many sequences
DOUBLINGS = 23  # of the power m


@dataclass(frozen=True)
class Jacobians:
    """Jacobians of one step, and the growth of their product.

    Attributes:
        singular_values: smallest, median and largest of a Jacobian, each the median over the samples.
        samples: how many Jacobians they are from.
        spectral_radius: of W, for each gate; empty if W is not square.
        lyapunov_exponents: the leading ones, in nats per step, the largest first.
        lyapunov_std: standard deviation of the largest one over the sequences.
        steps: how many steps the exponents are averaged over.
    """

    singular_values: tuple[float, ...]
    samples: int
    spectral_radius: dict[str, float]
    lyapunov_exponents: tuple[float, ...]
    lyapunov_std: float
    steps: int


def measure(linear: Linear) -> Jacobians:
    """Measure the Jacobians along one call of a layer."""
    values = [torch.linalg.svdvals(J) for J in sample(linear)]
    picked = torch.stack([torch.stack([v[-1], v.median(), v[0]]) for v in values]) if values else torch.zeros(1, 3)
    exponents_BK, steps = lyapunov(linear)
    return Jacobians(
        singular_values=tuple(picked.median(0).values.tolist()),
        samples=len(values),
        spectral_radius=_radii(linear),
        lyapunov_exponents=tuple(exponents_BK.mean(0).tolist()) if steps else (),
        lyapunov_std=float(exponents_BK[:, 0].std(correction=0)) if steps else 0.0,
        steps=steps,
    )


@torch.no_grad()
def sample(linear: Linear) -> list[Tensor]:
    """Return a sample of Jacobians of the whole state, each (S*H, S*H), evenly spread over steps and sequences."""
    trace = linear.trace
    sizes = [b.shape[-1] for b in trace.before]
    n = sum(sizes)
    places = trace.thread_TB.nonzero()
    count = min(len(places), max(1, min(8, int(8 * (384 / n) ** 2))))
    jacobians = []
    for t, b in places[torch.linspace(0, len(places) - 1, count).long()].tolist() if count else []:
        # Row i of the identity, as the gradient of the state after the step, gives row i of the Jacobian.
        eye = torch.eye(n, dtype=trace.before[0].dtype, device=trace.before[0].device)
        d_after = tuple(e[:, None] for e in torch.split(eye, sizes, dim=1))
        _, d_before = linear.rows(b, b + 1).pull(t, t + 1, d_after)
        J = torch.cat([d[:, 0] for d in d_before], dim=1)
        if bool(torch.isfinite(J).all()):
            jacobians.append(J)
    return jacobians


@torch.no_grad()
def lyapunov(linear: Linear, count: int = EXPONENTS) -> tuple[Tensor, int]:
    """Return the leading exponents of each sequence, (B, count), and over how many steps they are averaged.

    The first tenth of the steps, at most 50, aligns the vectors with the leading directions and is not counted.
    """
    trace = linear.trace
    sizes = [b.shape[-1] for b in trace.before]
    n, B = sum(sizes), trace.B
    K = min(count, n)
    generator = torch.Generator().manual_seed(0)
    Q_BNK = torch.linalg.qr(torch.randn(B, n, K, generator=generator).to(trace.before[0])).Q
    sums_BK, counted_B = Q_BNK.new_zeros(B, K), Q_BNK.new_zeros(B)
    warm = min(50, trace.T // 10)
    for t in reversed(range(1, trace.T)):
        d_after = tuple(d.contiguous() for d in torch.split(Q_BNK.permute(2, 0, 1), sizes, dim=2))  # (K, B, .)
        _, d_before = linear.pull(t, t + 1, d_after)
        image_BNK = torch.cat(d_before, dim=2).permute(1, 2, 0)
        if not bool(torch.isfinite(image_BNK).all()):
            break
        Q, R = torch.linalg.qr(image_BNK)
        here = trace.thread_TB[t]
        growth_BK = torch.diagonal(R, dim1=1, dim2=2).abs().clamp(min=1e-30).log()
        Q_BNK = torch.where(here[:, None, None], Q, Q_BNK)
        if t < trace.T - warm:
            sums_BK += torch.where(here[:, None], growth_BK, 0)
            counted_B += here
    nonempty_B = counted_B > 0
    exponents_BK = sums_BK[nonempty_B] / counted_B[nonempty_B, None]
    return exponents_BK.sort(dim=1, descending=True).values, int(counted_B.max()) if B else 0


def spectral_radius(W_HH: Tensor) -> float:
    """Return the largest modulus of an eigenvalue, by Gelfand's formula: lim |W^m|^(1/m), m = 2, 4, 8 ..."""
    power, log_scale = W_HH.detach().double(), 0.0  # W^m = exp(log_scale) * power
    for doubling in range(DOUBLINGS + 1):
        if doubling:
            power, log_scale = power @ power, 2 * log_scale
        norm = float(power.norm())
        if not 0 < norm < math.inf:
            return norm
        power, log_scale = power / norm, log_scale + math.log(norm)
    return math.exp(log_scale / 2**DOUBLINGS)


def _radii(linear: Linear) -> dict[str, float]:
    trace = linear.trace
    blocks = trace.weights.hh.chunk(len(trace.cell.gates))
    if blocks[0].shape[0] != blocks[0].shape[1]:
        return {}
    return {gate: spectral_radius(block) for gate, block in zip(trace.cell.gates, blocks, strict=True)}
