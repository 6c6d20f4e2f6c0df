"""What stands around a linear recurrence: encoder, read-out, nonlinearity, mixing of channels."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from longlag.cells.base import Compilable, Layer, numbers
from longlag.cells.padding import Prefix, existing_steps, hold, record_outputs, silence
from longlag.cells.rows import GELU, OPENED
from longlag.kernels import Apply, Chain, Dense, State, StateGradients, run_chain

Mix = Literal["none", "gelu", "glu", "half-glu"]


def linear(inputs: int, outputs: int, generator: torch.Generator | None, bias: bool = True) -> nn.Linear:
    """A linear map with torch's own initialisation, U(-1/sqrt(inputs), 1/sqrt(inputs)), drawn from `generator`."""
    module: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return module


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator | None) -> Tensor:
    """A tensor of U(low, high)."""
    return torch.empty(shape).uniform_(low, high, generator=generator)


class Mixing(nn.Module, Compilable):
    """After the recurrence, step by step on ``y [T, B, H]``: nothing, GELU, or GELU and a gated linear unit.

    On a CPU some rows at a time go through the read-out that makes y, and through this (`longlag.kernels.chain`).

    glu:       v = gelu(y),  out = (W_1 v + b_1) * sigmoid(W_2 v + b_2),  2 H (H + 1) parameters
    half-glu:  v = gelu(y),  out = v * sigmoid(W v + b),  H (H + 1) parameters
    """

    def __init__(self, kind: Mix, size: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.kind = kind
        wide = {"glu": 2 * size, "half-glu": size}.get(kind)
        self.out = None if wide is None else linear(size, wide, generator)

    @staticmethod
    def formula(kind: Mix) -> str:
        return {"glu": "2*H*(H + 1)", "half-glu": "H*(H + 1)"}.get(kind, "0")

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        steps: tuple[Dense | Apply, ...] = (),
        parameters: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """``[T, B, H]`` from the value ``y``: an input, or what the steps make of inputs and parameters."""
        if self.kind == "none" and not steps:
            return inputs["y"]
        chain = mixing_chain(self.kind, tuple(inputs), tuple(parameters), steps)
        if self.out is not None:
            parameters = {**parameters, "w": self.out.weight, "b": self.out.bias}
        (h,) = run_chain(chain, inputs, parameters, 2, self.kernel).values()
        return h


@cache
def mixing_chain(kind: Mix, inputs: tuple[str, ...], parameters: tuple[str, ...], first: tuple[Any, ...]) -> Chain:
    """`first`, which makes ``y``, and what `Mixing` makes of that."""
    steps = [*first]
    if kind != "none":
        steps.append(Apply(GELU, ("y",), ("v",)))
    if kind == "glu":
        steps += [Dense("a", (("v", "w"),), "b", ("a1", "a2")), Apply(OPENED, ("a1", "a2"), ("h",))]
    if kind == "half-glu":
        steps += [Dense("g", (("v", "w"),), "b"), Apply(OPENED, ("v", "g"), ("h",))]
    result = {"none": "y", "gelu": "v"}.get(kind, "h")
    own = ("w", "b") if result == "h" else ()
    return Chain(f"mixing {kind}", inputs, (*parameters, *own), tuple(steps), (result,))


class ReadoutLayer(Layer):
    """A layer whose outputs ``[T, B, H]`` are read out from the states of a linear recurrence.

    Its first state, ``h``, is the last output; the recurrence does not read it. Over padding the output is held.
    In gradient records ``h`` is the gradient at the layer's outputs, step by step: no path through time starts there.
    The states of the recurrence carry those paths.
    """

    def __init__(self, input_size: int, hidden_size: int, scan_states: tuple[str, ...]) -> None:
        super().__init__(input_size, hidden_size, hidden_size, ("h", *scan_states))

    @abstractmethod
    def scan_state(self, batch: int) -> State:
        """The recurrence's states before the first step."""

    @abstractmethod
    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        """The read-out ``[T, B, H]`` (anything over padding) and the recurrence's final states."""

    def initial_state(self, batch: int) -> State:
        return {"h": next(self.parameters()).new_zeros(batch, self.hidden_size), **self.scan_state(batch)}

    def state_size(self, steps: int) -> int:
        return numbers(self.scan_state(1))

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        record: StateGradients | None = None,
    ) -> tuple[Tensor, State]:
        state = self.initial_state(x.shape[1]) if state is None else state
        if mask is None:
            y, final = self.run(x, state, None, record)
        else:
            steps = existing_steps(mask)
            part = None if record is None else Prefix(record, len(x))
            y, final = self.run(silence(x, mask)[:steps], state, mask[:steps], part)
        outputs = hold(y, mask, state["h"])
        record_outputs(record, outputs)
        return outputs, {"h": outputs[-1], **final}

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        outputs, final = self(x_t.unsqueeze(0), state)
        return outputs[0], final
