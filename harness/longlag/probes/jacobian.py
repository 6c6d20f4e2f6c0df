"""The Jacobian of one step: what every gradient is multiplied by on its way back through time.

``J_t = ds_t/ds_{t-1}`` for the whole state s of one layer (h and c of an LSTM, side by side), its inputs held fixed.
The output h of a linear recurrence (LRU, S4D, S6) is part of that state although no step reads it: its columns are 0.
Its singular values bound, and its products ``J_t ... J_1`` decide, how gradients grow; their growth rates are the
Lyapunov exponents. In float64, whatever the run's format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longlag.kernels import State
from longlag.probes.base import Probe
from longlag.probes.rollout import CapturedInputs, Step, rollout, stepper
from longlag.probes.spectra import singular_values, spectral_radius

EXPONENTS = 4
SAMPLES = 4
WARM_UP = 0.1
"""Share of the steps, from the last one back, in which the vectors turn into the leading directions: not counted."""


@dataclass(frozen=True)
class Spectrum:
    """Jacobians at sampled steps.

    Args:
        steps: the steps t, counted from 1.
        singular: ``[S, B, n]``, singular values, the largest first; NaN where the Jacobian is not finite.
        radius: ``[S, B]``, the largest modulus of an eigenvalue; NaN as there.
    """

    steps: tuple[int, ...]
    singular: NDArray[np.float64]
    radius: NDArray[np.float64]


def flat(state: State) -> Tensor:
    """All numbers of a state side by side, ``[B, n]``; states may be vectors of vectors or matrices."""
    return torch.cat([value.flatten(1) for value in state.values()], -1)


def unflat(values: Tensor, like: State) -> State:
    parts = values.split([value[0].numel() for value in like.values()], -1)
    return {name: part.unflatten(-1, like[name].shape[1:]) for name, part in zip(like, parts, strict=True)}


def back(step: Step, x_t: Tensor, state: State, vectors: Tensor) -> Tensor:
    """``v J_t`` for row vectors ``[k, B, n]``: what a gradient becomes on its way back over one step.

    Each vector is an example of its own in one batch.
    """
    count, batch, size = vectors.shape
    inputs = x_t.repeat(count, 1)

    with torch.enable_grad():
        before = flat(state).repeat(count, 1).requires_grad_()
        after = flat(step(inputs, unflat(before, state)))
    if not after.requires_grad:  # nothing of the state before is read
        return torch.zeros_like(vectors)
    # not torch.func.vjp: a step may be any autograd function, such as a compiled kernel
    moved: Tensor = torch.autograd.grad(after, before, vectors.reshape(count * batch, size))[0]
    return moved.view(count, batch, size)


def jacobian(step: Step, x_t: Tensor, state: State) -> Tensor:
    """``J_t [B, n, n]``: row i is the gradient of the i-th number of the state after."""
    batch, size = flat(state).shape
    units = torch.eye(size, dtype=flat(state).dtype).unsqueeze(1).expand(size, batch, size)
    return back(step, x_t, state, units).transpose(0, 1)


def spectrum(captured: CapturedInputs, samples: int = SAMPLES) -> Spectrum:
    """Singular values and spectral radius at evenly spaced steps, the first and the last among them."""
    steps = np.unique(np.linspace(0, len(captured.x) - 1, samples).round().astype(int))
    step = stepper(captured.layer)
    singular, radius = [], []
    for t, before, _ in rollout(captured, step):
        if t in steps:
            matrix = jacobian(step, captured.x[t], before)
            singular.append(singular_values(matrix).numpy())
            radius.append(spectral_radius(matrix).numpy())
    return Spectrum(tuple(int(t) + 1 for t in steps), np.stack(singular), np.stack(radius))


def lyapunov(captured: CapturedInputs, leading: int = EXPONENTS, warm_up: float = WARM_UP) -> NDArray[np.float64]:
    """The leading finite-time Lyapunov exponents, nats a step, mean over the examples ``[k]``, the largest first.

    Orthonormal vectors go back through time as a gradient does, ``v <- v J_t``, and are made orthonormal again by QR at
    every step; the exponents are the means of log |R_ii|: growth rates of the product ``J_T ... J_1``. Steps over
    padding are left out.
    """
    step = stepper(captured.layer)
    batch, size = flat(captured.state).shape
    count = min(leading, size)
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(batch, size, count, generator=generator, dtype=torch.float64))[0]
    total, counted = q.new_zeros(batch, count), q.new_zeros(batch, 1)
    before = [state for _, state, _ in rollout(captured, step)]
    for number, t in enumerate(reversed(range(len(before)))):
        moved = back(step, captured.x[t], before[t], q.permute(2, 0, 1)).permute(1, 2, 0)
        new, r = torch.linalg.qr(moved)
        here = torch.ones(batch, 1, dtype=torch.bool) if captured.mask is None else captured.mask[t].unsqueeze(-1)
        q = torch.where(here.unsqueeze(-1), new, q)
        if number >= int(warm_up * len(before)):
            total += torch.where(here, r.diagonal(dim1=-2, dim2=-1).abs().log(), 0.0)
            counted += here
    seen = counted.squeeze(-1) > 0
    return np.sort((total[seen] / counted[seen]).mean(0).numpy())[::-1]


class Jacobian(Probe):
    """Singular values and spectral radius of the Jacobian of one step, and the leading Lyapunov exponents."""

    examples = 2
    cost = "a QR decomposition a step, and a Jacobian at four steps"

    def measure(self, captured: CapturedInputs) -> Mapping[str, float]:
        found = spectrum(captured)
        exponents = {f"lyapunov/exponent_{k}": float(value) for k, value in enumerate(lyapunov(captured), start=1)}
        return {
            "jacobian/singular_largest": float(found.singular[..., 0].mean()),
            "jacobian/singular_median": float(np.median(found.singular, -1).mean()),
            "jacobian/singular_least": float(found.singular[..., -1].mean()),
            "jacobian/spectral_radius": float(found.radius.mean()),
            **exponents,
        }
