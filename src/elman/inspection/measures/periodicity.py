"""Periodicity of the input: the shortest period that carries power.

A pair of units that W rotates by an angle at every step accumulates the input's Fourier component at that frequency.
Units that rotate faster than the input changes accumulate nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elman.inspection.capture.replay import Trace

POWER = 0.95  # the share of the power at the shortest period and longer ones


@torch.no_grad()
def shortest_period(traces: Sequence[Trace]) -> float:
    """Return the period in steps, 2 or more, below which 5 % of the power of the input projection U x lies.

    The mean of each unit is removed; the calls are added up.
    """
    spectra = [(trace.T, _powers(trace)) for trace in traces]
    frequencies = torch.cat([torch.arange(len(powers)) / max(1, T) for T, powers in spectra])
    powers = torch.cat([powers for _, powers in spectra])
    order = frequencies.argsort(stable=True)
    so_far = powers[order].cumsum(0)
    total = float(so_far[-1])
    if not total > 0:  # a constant input
        return float(max(2, *(T for T, _ in spectra)))
    place = int((so_far < POWER * total).sum())
    return 1.0 / max(float(frequencies[order][min(place, len(order) - 1)]), 1 / max(T for T, _ in spectra))


def _powers(trace: Trace) -> Tensor:
    """Return the power at each frequency, in cycles per T steps, over all sequences and units."""
    gx_TBN = trace.gx_TBGH.flatten(2).double()
    exists_TB1 = trace.exists_TB[:, :, None]
    mean_N = gx_TBN.masked_fill(~exists_TB1, 0).sum((0, 1)) / exists_TB1.sum().clamp_min(1)
    centred_TBN = (gx_TBN - mean_N).masked_fill(~exists_TB1, 0)
    powers: Tensor = torch.fft.rfft(centred_TBN, dim=0).abs().square().sum((1, 2))
    return powers.cpu()
