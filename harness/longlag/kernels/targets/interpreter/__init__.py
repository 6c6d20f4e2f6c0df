"""A target that interprets the plan in numpy, step by step: slow, short, and independent of every compiler.

It is an oracle for plans. The plain loop runs a cell's own code; the interpreter reads the plan alone, the saved values
included, so that a fault in a plan and a fault in the code printed from it can be told apart. It also shows what a
target has to do. It runs only where a layer names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from longlag.kernels.compiler.plan import Plan
from longlag.kernels.targets.interpreter.step import Array, Step, Weights
from longlag.kernels.targets.target import Kernel, Maybe, Pass, Target


class Interpreter(Target):
    """The plan in numpy, in float32 and float64."""

    name: ClassVar[str] = "interpreter"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    automatic: ClassVar[bool] = False

    def refusal(self, plan: Plan, dtype: torch.dtype, device: torch.device) -> str | None:
        if dtype not in (torch.float32, torch.float64):
            return f"the interpreter runs in float32 and float64, not in {str(dtype).removeprefix('torch.')}"
        return None

    def build(self, plan: Plan, dtype: torch.dtype, device: torch.device) -> InterpretedKernel:
        return InterpretedKernel(plan, dtype)

    def tags(self, device: torch.device) -> Mapping[str, str]:
        return {"numpy": np.__version__}


class InterpretedKernel(Kernel):
    """A plan, to be interpreted."""

    def start(
        self,
        x: Tensor,
        initial: Sequence[Tensor],
        mask: Maybe,
        squares: Sequence[Maybe],
        checkpoint_steps: int | None,
    ) -> InterpretedPass:
        return InterpretedPass(self.plan, len(x), mask, squares, checkpoint_steps or len(x))


class InterpretedPass(Pass):
    """One run over one batch. It keeps the states before every `chunk`-th step and computes the rest again."""

    def __init__(self, plan: Plan, steps: int, mask: Maybe, squares: Sequence[Maybe], chunk: int) -> None:
        self.plan, self.steps, self.squares, self.chunk = plan, steps, squares, chunk
        self.mask = None if mask is None else mask.numpy()[..., None]
        self.outputs = [plan.states.index(name) for name in plan.outputs]

    def forward(
        self, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Tensor], keep: bool
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Maybe]]:
        states, inputs = [tensor.detach().numpy() for tensor in initial], x.detach().numpy()
        step = self.step(weights, states[0])
        outputs, starts = [], []
        for t in range(self.steps):
            if t % self.chunk == 0:
                starts.append(np.stack(states))
            states, _ = step.forward(inputs[t], states, self.exists(t))
            outputs.append(np.concatenate([states[k] for k in self.outputs], -1))
        final = [torch.from_numpy(state.copy()) for state in states]
        return torch.from_numpy(np.stack(outputs)), final, [torch.from_numpy(np.stack(starts))]

    def backward(
        self,
        x: Tensor,
        weights: Sequence[Maybe],
        initial: Sequence[Tensor],
        saved: Sequence[Maybe],
        by_outputs: Maybe,
        by_final: Sequence[Maybe],
        need_x: bool,
        need: Sequence[bool],
    ) -> tuple[Maybe, list[Maybe], Sequence[Maybe]]:
        (starts,) = saved
        assert starts is not None
        step, inputs = self.step(weights, initial[0].detach().numpy()), x.detach().numpy()
        sums, by_x = step.weights.zeros(), np.zeros_like(inputs)
        arrived = [np.zeros(step.shape, step.dtype) if g is None else g.numpy() for g in by_final]
        for number in range(len(starts) - 1, -1, -1):
            states, past = list(starts[number].numpy()), []
            for t in range(number * self.chunk, min((number + 1) * self.chunk, self.steps)):
                old, (states, values) = states, step.forward(inputs[t], states, self.exists(t))
                past.append((t, old, states, values))
            for t, old, new, values in reversed(past):
                if by_outputs is not None:
                    for k, part in zip(self.outputs, by_outputs[t].chunk(len(self.outputs), -1), strict=True):
                        arrived[k] = arrived[k] + part.numpy()
                by_x[t], arrived, totals = step.backward(inputs[t], old, new, values, arrived, self.exists(t), sums)
                self.record(t, totals)
        by_initial = [torch.from_numpy(a) for a in arrived]
        every = [None if total is None else torch.from_numpy(total) for total in sums.flat] + by_initial
        found = [gradient if needed else None for gradient, needed in zip(every, need, strict=True)]
        n = len(weights)
        return torch.from_numpy(by_x) if need_x else None, found[:n], found[n:]

    def step(self, weights: Sequence[Maybe], like: Array) -> Step:
        arrays = [None if weight is None else weight.detach().numpy() for weight in weights]
        return Step(self.plan, Weights(self.plan, arrays), like)

    def exists(self, t: int) -> Array | None:
        return None if self.mask is None else self.mask[t]

    def record(self, t: int, totals: Sequence[Array]) -> None:
        for squares, total in zip(self.squares, totals, strict=True):
            if squares is not None:
                squares[t] = torch.from_numpy(np.square(total.astype(np.float64)).sum(-1))
