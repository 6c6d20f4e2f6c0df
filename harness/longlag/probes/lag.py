"""The lag curve: the gradient of the loss at one step, by how far back it has come.

Where there is a loss at every step the total gradient hides vanishing: each state has a loss of its own nearby. For the
loss ``l_{tau,b}`` of example ``b`` at step ``tau`` alone, the curve is ``mean_b ||dl_{tau,b}/ds_{tau-k,b}||`` over the
lag ``k``, averaged over sampled ``tau``.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from longlag.cells import GatedLayer
from longlag.models import Model, Tensors
from longlag.models.losses import counts, per_output
from longlag.probes.flow import Curve, Values, align, spread, squares_of
from longlag.task import MappingKind, Signature

SAMPLES = 4
LATE = 0.03
"""The steps are sampled from this last share of those that count, so that almost every lag is seen from each."""


def applies(signature: Signature) -> bool:
    """Whether there is a loss at every step of the input."""
    return signature.mapping is MappingKind.LABELLING and signature.loss != "ctc"


def outputs(model: Model) -> dict[str, tuple[str, ...]]:
    """By part, the states that make up a gated layer's output."""
    return {name: tuple(layer.cell.outputs) for name, layer in model.parts().items() if isinstance(layer, GatedLayer)}


def sampled(counted: NDArray[np.bool_], samples: int = SAMPLES, late: float = LATE) -> list[NDArray[np.int64]]:
    """Steps ``tau [B]``, one array a sample: the same place, counted from the end, among the steps that count.

    Args:
        counted: ``[T, B]``, the steps with a loss that counts; each example has at least one.
        samples: how many, evenly spaced over the last share `late`, the very last included.
        late: see there.
    """
    shares = np.linspace(0, late, samples) if samples > 1 else np.zeros(1)
    steps = np.arange(len(counted))[:, None]
    order = np.sort(np.where(counted, steps, -1), 0)[::-1]  # the last one first
    number = counted.sum(0)
    columns = np.arange(counted.shape[1])
    found = [order[np.minimum((share * number).astype(int), number - 1), columns] for share in shares]
    return [tau for k, tau in enumerate(found) if not any(np.array_equal(tau, other) for other in found[:k])]


def lag_curves(model: Model, batch: Tensors, samples: int = SAMPLES) -> list[Curve]:
    """The lag curves of every layer and state; none where there is no loss at every step.

    One forward pass and a backward pass for each sampled step; ``.grad`` is left alone. Causal layers are meant: the
    backward direction of a bidirectional one is shown in the order in which it reads.
    """
    if not applies(model.signature):
        return []
    records = model.records()
    with torch.enable_grad():
        each = per_output(model.signature, model(batch, records), batch.targets)
    counted = counts(model.signature, batch)
    mask = np.ones(each.shape, bool) if counted is None else counted.cpu().numpy()
    taken = mask.any(0)
    taus = sampled(mask[:, taken], samples)
    parameters = [p for p in model.parameters() if p.requires_grad]
    rows = torch.from_numpy(np.flatnonzero(taken)).to(each.device)
    found: dict[tuple[str, str], list[Values]] = {}
    made_of = outputs(model)
    for number, tau in enumerate(taus):
        for record in records.values():
            record.clear()
        value = each[torch.from_numpy(tau).to(each.device), rows].sum()
        torch.autograd.grad(value, parameters, retain_graph=number + 1 < len(taus), allow_unused=True)
        for part, record in records.items():
            for state, squares in squares_of(record, made_of.get(part, ())).items():
                by_lag = align(np.sqrt(squares[:, taken]), tau + 1)
                found.setdefault((part, state), []).append(by_lag)
    return [_curve(part, state, several) for (part, state), several in found.items()]


def _curve(part: str, state: str, several: list[Values]) -> Curve:
    """The curve of all examples and sampled steps together, as far as every one of those steps sees back."""
    mean, quantiles = spread(np.concatenate([one[: min(map(len, several))] for one in several], 1))
    return Curve(part, state, mean[::-1], mean, quantiles, "lag")
