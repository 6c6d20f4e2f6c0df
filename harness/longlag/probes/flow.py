"""Gradient flow through time: the norm of the loss's gradient at every state; defined in docs/gradient-flow.md.

For a loss ``L = mean_b l_b`` over a batch, the total curve at step ``t`` is ``mean_b ||dl_b/ds_{t,b}||``: the gradient
with respect to the state after step ``t``, per example, then averaged; every path counts. The curve over the lag of
the loss at one step alone is in `longlag.probes.lag`. No clipping touches either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from longlag.probes import scalars

if TYPE_CHECKING:
    from longlag.kernels import StateGradients

QUANTILES = (0.1, 0.5, 0.9)
"""Over the examples of a batch, beside the mean."""

Values = NDArray[np.float64]
Outputs = Mapping[str, Sequence[str]]
"""By part, the states that make up a layer's output."""


@dataclass(frozen=True)
class Curve:
    """One state of one layer.

    Args:
        part: which layer: ``layer1`` (the lowest), ``encoder.layer2`` ...
        state: its name (``h``, ``c`` ...). Where the output is several states side by side (re and im of a complex
            one), ``h`` stands for all of them together.
        norms: float64 ``[T]``, the mean per-example gradient norm after each step.
        by_lag: float64 ``[T]``, the same by the lag to each example's own last step: ``by_lag[k]`` is the mean over
            the examples longer than ``k`` steps. Without padding it is `norms` reversed.
        quantiles: float64 ``[3, T]``, quantiles over the examples by lag, see `QUANTILES`.
        kind: ``total``, of the whole loss; ``lag``, of the loss at one step, averaged over sampled ones.
    """

    part: str
    state: str
    norms: Values
    by_lag: Values
    quantiles: Values | None = None
    kind: Literal["total", "lag"] = "total"

    @property
    def name(self) -> str:
        return f"{self.part}.{self.state}"

    @property
    def horizon(self) -> int:
        """The longest lag, in steps, at which the norm is still at least 1% of its value at the last step."""
        return scalars.horizon(self.by_lag, 0.01)

    @property
    def log10_ratio(self) -> float:
        """log10 of the norm at the first step over that at the last: -6 says that six decades were lost."""
        return scalars.log10_ratio(float(self.by_lag[0]), float(self.norms[0]))

    @property
    def scalars(self) -> scalars.Scalars:
        return scalars.Scalars.of(self.by_lag, float(self.norms[0]))


def squares_of(record: StateGradients, outputs: Sequence[str] = ()) -> dict[str, Values]:
    """Squared norms ``[T, B]`` by state, ``h`` added where the output is several states side by side."""
    found = {state: squares.numpy() for state, squares in record.squares.items()}
    together = [found[state] for state in outputs if state in found]
    if "h" not in found and len(together) > 1:
        found = {"h": np.sum(together, 0), **found}
    return found


def align(values: Values, sizes: NDArray[np.int64]) -> Values:
    """Values by step ``[T, B]`` as values by lag ``[max(sizes), B]``: row k is k steps before the last; NaN before 1.

    Args:
        values: by step.
        sizes: ``[B]``, the number of the last step that counts, each at least 1.
    """
    step = sizes[None, :] - 1 - np.arange(int(sizes.max()))[:, None]
    return np.where(step >= 0, np.take_along_axis(values, np.maximum(step, 0), 0), np.nan)


def spread(by_lag: Values) -> tuple[Values, Values]:
    """Mean ``[L]`` and quantiles ``[3, L]`` over the examples that have a value at a lag."""
    with np.errstate(invalid="ignore"):
        mean = np.nansum(by_lag, 1) / (~np.isnan(by_lag)).sum(1)
        return mean, nanquantile(by_lag)


def nanquantile(values: Values) -> Values:
    """`QUANTILES` ``[3, L]`` of ``values [L, B]`` over the examples, linearly between them; NaN is left out.

    As ``np.nanquantile``, which goes row by row in Python.
    """
    count = (~np.isnan(values)).sum(1)
    ordered = np.sort(values, 1)  # NaN last
    result = np.empty((len(QUANTILES), len(values)))
    for row, q in enumerate(QUANTILES):
        place = q * np.maximum(count - 1, 0)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        lower, upper = (np.take_along_axis(ordered, index[:, None], 1)[:, 0] for index in (low, high))
        part = place - low
        result[row] = np.where(part == 0, lower, lower * (1 - part) + upper * part)
    return result


def curves(
    records: Mapping[str, StateGradients],
    lengths: Mapping[str, NDArray[np.int64]] | None = None,
    outputs: Outputs | None = None,
) -> list[Curve]:
    """The total curves of every layer and state from what a backward pass left in `records`.

    Args:
        records: by part.
        lengths: by part, the steps of each example, ``[B]``; a part that is not named has all steps.
        outputs: by part, the states that make up the output.
    """
    result = []
    for part, record in records.items():
        for state, squares in squares_of(record, (outputs or {}).get(part, ())).items():
            steps, batch = squares.shape
            norms = np.sqrt(squares) * batch  # L is a mean over the batch: undo its 1/B
            given = (lengths or {}).get(part)
            sizes = np.full(batch, steps) if given is None else given
            by_lag, quantiles = spread(norms[::-1] if given is None else align(norms, sizes))
            exists = np.arange(int(sizes.max()))[:, None] < sizes
            mean = np.where(exists, norms[: len(exists)], 0.0).sum(1) / np.maximum(exists.sum(1), 1)
            result.append(Curve(part, state, mean, by_lag, quantiles))
    return result


def top(measured: Sequence[Curve], part: str) -> Curve:
    """The curve that one number of a run is taken from: the output of a part."""
    return next(curve for curve in measured if curve.part == part)


def by_layer(name: str) -> tuple[str | int, ...]:
    """Sort key of names that hold a layer's: ``layer9.h`` comes before ``layer10.h``."""
    words = re.split(r"(\d+)", name)  # text and digits in turn
    return tuple(int(word) if word.isdigit() else word for word in words)


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """What of it can be drawn."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
