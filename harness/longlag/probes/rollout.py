"""What a layer read in a forward pass, and its steps from there, one by one: what the costly probes look at."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from longlag.cells import Compilable, GatedLayer, Layer
from longlag.kernels import Recurrence, State
from longlag.kernels.plain import project
from longlag.kernels.plain import step as plain_step
from longlag.models import Model, Tensors

Step = Callable[[Tensor, State], State]
"""``x_t [B, I]`` and the state before to the state after."""


@dataclass(frozen=True)
class CapturedInputs:
    """One layer with what it read.

    Args:
        layer: a copy in float64, on the CPU as everything here.
        x: its inputs ``[T, B, I]``.
        state: its state before the first step.
        mask: ``[T, B]``, the steps that exist; None when all do.
    """

    layer: Layer
    x: Tensor
    state: State
    mask: Tensor | None

    def first(self, examples: int) -> CapturedInputs:
        """The same of the first sequences alone."""
        mask = None if self.mask is None else self.mask[:, :examples]
        state = {name: value[:examples] for name, value in self.state.items()}
        return CapturedInputs(self.layer, self.x[:, :examples], state, mask)

    @property
    def has_rollout(self) -> bool:
        """Whether it has a step from one state of real vectors ``[B, H]`` to the next."""
        if any(value.dim() != 2 or not value.is_floating_point() for value in self.state.values()):
            return False
        try:
            self.layer.step(self.x[0], self.state)
        except TypeError:  # the layer reads whole sequences only
            return False
        return True


def captured_inputs(model: Model, batch: Tensors, examples: int) -> dict[str, CapturedInputs]:
    """By part, what every recurrent layer reads in a forward pass over the first `examples` sequences."""
    names = {layer: name for name, layer in model.parts().items()}
    found: dict[str, CapturedInputs] = {}

    def keep(module: Any, given: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x, state, mask, *_ = (*given, None, None)
        state = module.initial_state(x.shape[1]) if state is None else state
        first = {key: value.detach()[:examples].cpu().clone() for key, value in state.items()}
        wide = {key: value.double() if value.is_floating_point() else value for key, value in first.items()}
        exists = None if mask is None else mask[:, :examples].cpu()
        layer = copy.deepcopy(module).cpu().double()
        layer._forward_pre_hooks.clear()
        layer.requires_grad_(False)
        for part in layer.modules():
            if isinstance(part, Compilable):
                part.kernel = "plain"  # the run's kernel may have no float64, and steps one by one gain nothing
        found[names[module]] = CapturedInputs(layer, x.detach()[:, :examples].cpu().double(), wide, exists)

    handles = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in names]
    try:
        with torch.no_grad():
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: found[name] for name in names.values() if name in found}


def stepper(layer: Layer, wrap: Callable[[Recurrence], Recurrence] = lambda cell: cell) -> Step:
    """The step of a layer, its effective weights composed once; `wrap` may replace a gated layer's cell."""
    if not isinstance(layer, GatedLayer):
        return lambda x_t, state: layer.step(x_t, state)[1]
    with torch.no_grad():
        weights = layer.weights()
    cell = wrap(layer.cell)

    def step(x_t: Tensor, state: State) -> State:
        projected, biases = project(layer.layout, weights, x_t)
        return plain_step(cell, layer.layout, weights, projected, biases, state)

    return step


def rollout(captured: CapturedInputs, step: Step | None = None) -> Iterator[tuple[int, State, State]]:
    """Step number, state before, state after; over padding the state stays."""
    taken = stepper(captured.layer) if step is None else step
    state = captured.state
    with torch.no_grad():
        for t, x_t in enumerate(captured.x.unbind(0)):
            new = taken(x_t, state)
            if captured.mask is not None:
                here = captured.mask[t].unsqueeze(-1)
                new = {name: torch.where(here, value, state[name]) for name, value in new.items()}
            yield t, state, new
            state = new
