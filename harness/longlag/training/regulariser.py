"""Pascanu's Omega: the term that keeps the norm of a gradient as it goes back through time.

Pascanu, Mikolov and Bengio (2013), arXiv 1211.5063, equations 9 and 10, for x_{k+1} = W sigma(x_k) + W_in u_{k+1} + b
(x are pre-activations):

    Omega = sum_k (|dE/dx_{k+1} dx_{k+1}/dx_k| / |dE/dx_{k+1}| - 1)^2,    dx_{k+1}/dx_k = W diag(sigma'(x_k))

Of its gradient only the immediate part with respect to W is used: x_k and dE/dx_{k+1} count as constants, so that no
second derivative of the network is needed. Here k runs over the pairs of existing steps whose |dE/dx_{k+1}| is above
`BOUND`, the norms are those of each example, and Omega is the mean over the batch of their sums. The authors' code
differs: it takes squared norms, and the mean over the steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from longlag.cells import GatedLayer
from longlag.errors import UserError
from longlag.kernels import Named, Recurrence, State
from longlag.kernels.plain import project
from longlag.models import Model
from longlag.spec import RegulariserSpec

BOUND = 1e-20
"""Norms of dE/dx below it are left out, as in the authors' code: their direction is noise."""


@dataclass(frozen=True)
class Seen:
    """What one layer did in a forward pass: inputs, initial state, mask, outputs and final state."""

    x: Tensor
    state: State
    mask: Tensor | None
    outputs: Tensor
    final: Tensor


def simple(layer: nn.Module) -> bool:
    """Whether a layer is h_t = f(W h_{t-1} + W_in x_t + b), unit by unit, and nothing else."""
    if not isinstance(layer, GatedLayer):
        return False
    cell = layer.cell
    plain = tuple(cell.states) == ("h",) and not cell.units and not cell.intermediates
    if not plain or len(cell.gates) != 1 or cell.gates[0].sources != ("h",) or cell.gates[0].split:
        return False
    a, h = torch.full((2, 1, 2), 0.5, dtype=torch.float64)
    return torch.equal(_core(cell, a, h), _core(cell, a, -h))  # a leak keeps part of h


def _core(cell: Recurrence, a: Tensor, h: Tensor) -> Tensor:
    gates = Named({cell.gates[0].name: a})
    return cell.core(gates, Named({"h": h}), Named({}))["h"]


def _slope(cell: Recurrence, a: Tensor, h: Tensor) -> Tensor:
    """sigma'(a), unit by unit."""
    with torch.enable_grad():
        given = a.detach().requires_grad_()
        return torch.autograd.grad(_core(cell, given, h).sum(), given)[0]


def build(spec: RegulariserSpec, network: Model) -> Omega | None:
    """What a run adds to its loss; None for nothing.

    Raises:
        UserError: when a layer is not a simple recurrent one.
    """
    if spec.name == "none":
        return None
    layers = [layer for layer in network.parts().values() if isinstance(layer, GatedLayer)]
    if len(layers) < len(network.parts()) or not all(map(simple, layers)):
        raise UserError(
            "regulariser.name: omega is defined for simple recurrent cells without leak, such as rnn, irnn and np-rnn"
        )
    return Omega(spec.weight, layers)


class Omega:
    """The term over all layers.

    Attributes:
        value: Omega of the last batch, without its weight.
    """

    def __init__(self, weight: float, layers: list[GatedLayer]) -> None:
        self.weight, self.layers = weight, layers
        self.value = 0.0
        self._seen: dict[int, Seen] = {}

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Note what the layers do in the forward pass inside."""
        handles = [layer.register_forward_hook(self._note, with_kwargs=True) for layer in self.layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._seen = {}

    def _note(self, layer: Any, given: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        x, state, mask, *_ = (*given, None, None)
        state = layer.initial_state(x.shape[1]) if state is None else state
        outputs, final = result
        self._seen[id(layer)] = Seen(x, state, mask, outputs, final["h"])

    def backward(self, value: Tensor) -> None:
        """Leave the gradients of the loss and of the weighted term in ``.grad``, after a forward pass listened to."""
        seen = [self._seen[id(layer)] for layer in self.layers if id(layer) in self._seen]
        ends = [tensor for one in seen for tensor in (one.outputs, one.final)]
        direct = torch.autograd.grad(value, ends, retain_graph=True, allow_unused=True)
        value.backward()
        self.value = 0.0
        layers = [layer for layer in self.layers if id(layer) in self._seen]
        for number, (layer, one) in enumerate(zip(layers, seen, strict=True)):
            term = omega(layer, one, *direct[2 * number : 2 * number + 2])
            self.value += float(term.detach())
            if term.requires_grad:
                (self.weight * term).backward()


def omega(layer: GatedLayer, seen: Seen, over_time: Tensor | None, at_end: Tensor | None) -> Tensor:
    """Omega of one layer, which depends on its recurrent weights alone.

    Args:
        layer: a simple one.
        seen: what it did.
        over_time: ``[T, B, H]``, dE/dh at each step through the layer's outputs at that step; None for zero.
        at_end: ``[B, H]``, the same through its final state.
    """
    weights = layer.weights()
    matrix, h = weights.weight_hh[0], seen.outputs.detach()
    steps, batch, _ = h.shape
    exists = h.new_ones(steps, batch, dtype=torch.bool) if seen.mask is None else seen.mask
    with torch.no_grad():
        before = torch.cat([seen.state["h"].detach().expand(batch, -1).unsqueeze(0), h[:-1]])
        projected, biases = project(layer.layout, weights, seen.x.detach())
        a = before @ matrix.mT
        for more in (projected, *biases.values()):
            a = a if more is None else a + more
    slope = _slope(layer.cell, a, before)
    with torch.no_grad():
        g = torch.zeros_like(a)  # dE/dx_t
        total = torch.zeros_like(h[0]) if at_end is None else at_end.clone()
        for t in reversed(range(steps)):
            total = total if over_time is None else total + over_time[t]
            here = exists[t].unsqueeze(-1)
            g[t] = torch.where(here, slope[t] * total, 0.0)
            total = torch.where(here, g[t] @ matrix, total)  # over padding the state is carried, and so is its gradient
    size = g[1:].norm(dim=-1)
    counted = exists[1:] & exists[:-1] & (size * batch > BOUND)
    moved = ((g[1:] @ matrix) * slope[:-1])[counted].norm(dim=-1)
    term: Tensor = (moved / size[counted] - 1).square().sum() / batch
    return term
