"""Gradient flow through time: the norm of the loss's gradient at every hidden state, and what it says in one number.

For a loss ``L = mean_b l_b`` over a batch, the curve at step ``t`` is ``mean_b ||dl_b/ds_{t,b}||``: the total gradient
with respect to the state after step ``t``, per example, then averaged; every path counts. It is measured on a batch of
its own in a pass of its own, so it changes no number of a run, and no clipping touches it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.kernels import StateGradients

HORIZON_SHARE = 0.01


@dataclass(frozen=True)
class Curve:
    """One state of one layer.

    Args:
        part: which layer: ``layer1`` (the lowest), ``encoder.layer2`` ...
        state: its name (``h``, ``c`` ...).
        norms: float64 ``[T]``, the mean per-example gradient norm after each step.
        by_lag: float64 ``[T]``, the same by the lag to each example's own last step: ``by_lag[k]`` is the mean over
            the examples longer than ``k`` steps. Without padding it is `norms` reversed.
    """

    part: str
    state: str
    norms: NDArray[np.float64]
    by_lag: NDArray[np.float64]

    @property
    def name(self) -> str:
        return f"{self.part}.{self.state}"

    @property
    def horizon(self) -> int:
        """The longest lag, in steps, at which the norm is still at least 1% of its value at the last step.

        0 when no earlier state has so much, and when the gradient at the last step is zero or not finite.
        """
        last = self.by_lag[0]
        if not (math.isfinite(last) and last > 0):
            return 0
        return int(np.flatnonzero(self.by_lag >= HORIZON_SHARE * last)[-1])

    @property
    def log10_ratio(self) -> float:
        """log10 of the norm at the first step over that at the last: -6 says that six decades were lost.

        Minus infinity where the first one underflowed to zero, NaN where the last one did.
        """
        first, last = self.norms[0], self.by_lag[0]
        if not last > 0:
            return math.nan
        return math.log10(first / last) if first > 0 else -math.inf


def curves(
    records: Mapping[str, StateGradients], lengths: Mapping[str, NDArray[np.int64]] | None = None
) -> list[Curve]:
    """The curves of every layer and state from what a backward pass left in `records`.

    Args:
        records: by part.
        lengths: by part, the steps of each example, ``[B]``; a part that is not named has all steps.
    """
    result = []
    for part, record in records.items():
        for state, squares in record.squares.items():
            steps, batch = squares.shape
            norms = squares.sqrt().numpy() * batch  # L is a mean over the batch: undo its 1/B
            sizes = (lengths or {}).get(part, np.full(batch, steps))
            lag = sizes[None, :] - 1 - np.arange(steps)[:, None]
            exists = lag >= 0
            total, count = np.zeros(steps), np.zeros(steps)
            np.add.at(total, lag[exists], norms[exists])
            np.add.at(count, lag[exists], 1.0)
            longest = int(sizes.max())
            mean = np.where(exists, norms, 0.0).sum(1) / np.maximum(exists.sum(1), 1)
            result.append(Curve(part, state, mean[:longest], total[:longest] / count[:longest]))
    return result
