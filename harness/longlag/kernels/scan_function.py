"""A scan run by a kernel target: its tensors checked, and a pass as a differentiable function of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from longlag.kernels.autograd import apply, once_differentiable
from longlag.kernels.columns import rows_contiguous
from longlag.kernels.recurrence import State
from longlag.kernels.scan import check
from longlag.kernels.state_gradients import StateGradients
from longlag.kernels.targets.target import PLAIN, Maybe, ScanKernel, ScanPass, Target


def differentiable(dtype: torch.dtype, device: torch.device, tensors: Sequence[Maybe]) -> bool | str:
    """Whether one of these tensors requires a gradient; or, in one sentence, why a kernel for that dtype and device
    cannot take them."""
    on_cpu, needed = device.type == "cpu", False
    for tensor in tensors:
        if tensor is None:
            continue
        if type(tensor) not in PLAIN:
            return f"a compiled kernel takes plain tensors, not {type(tensor).__name__}"
        # asking for its device makes an object, which takes longer than all else here
        if tensor.dtype != dtype or not (tensor.is_cpu if on_cpu else tensor.device == device):
            return (
                f"a compiled kernel needs one dtype and device, and got {dtype} on {device} "
                f"with {tensor.dtype} on {tensor.device}"
            )
        needed = needed or tensor.requires_grad
    return needed


class CompiledScan:
    """A scan's kernel, and the checks that its tensors go through.

    Args:
        target: what built the kernel.
        kernel: of the scan, for one dtype and device.
        device: of every tensor.
    """

    def __init__(self, target: Target, kernel: ScanKernel, device: torch.device) -> None:
        self.target, self.kernel, self.device = target, kernel, device

    def run(
        self,
        inputs: State,
        parameters: State,
        state: State,
        mask: Tensor | None,
        record: StateGradients | None,
        checkpoint_steps: int | None,
    ) -> tuple[State, State] | str:
        """What `longlag.kernels.run_scan` returns, or one sentence that says why not with such tensors.

        Raises:
            ValueError: when a tensor is missing or has the wrong shape.
        """
        plan = self.kernel.plan
        sizes = check(plan, plan.name, inputs, parameters, state)
        groups = ((inputs, plan.inputs), (parameters, plan.parameters), (state, plan.states))
        tensors = [given[name] for given, names in groups for name in names]
        if not all(sizes.values()):
            return "a compiled kernel needs at least one step, one example and one element along each axis"
        needed = differentiable(self.kernel.dtype, self.device, tensors)
        if isinstance(needed, str):
            return needed
        if mask is not None:
            if mask.shape != (sizes["steps"], sizes["batch"]):
                raise ValueError(f"mask has shape {tuple(mask.shape)}, expected {(sizes['steps'], sizes['batch'])}")
            mask = mask.to(torch.bool).contiguous()
        squares: list[Maybe] = [None] * len(plan.states)
        if record is not None:
            record.allocate(tuple(plan.states), sizes["steps"], sizes["batch"])
            squares = [record.of(name) for name in plan.states]
        loop = ScanLoop(self.kernel, self.kernel.start(sizes, mask, squares, checkpoint_steps))
        strided = len(plan.inputs) if self.kernel.takes_strided else 0
        tensors = [
            tensor if k < strided and rows_contiguous(tensor, tensor.dim() - 3) else tensor.contiguous()
            for k, tensor in enumerate(tensors)
        ]
        if needed and torch.is_grad_enabled():
            results = apply(RunScan, loop, *tensors)
        else:
            with torch.no_grad():
                outputs, final, _ = loop.run.forward(*loop.split(tensors), False)
                results = (*outputs, *final)
        named = dict(zip((*plan.outputs, *plan.states), results, strict=True))
        return {n: named[n] for n in plan.outputs}, {n: named[n] for n in plan.states}


class ScanLoop(NamedTuple):
    """A pass, and what autograd needs to call it."""

    kernel: ScanKernel
    run: ScanPass

    def split(self, tensors: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """Inputs, parameters and initial states from one list."""
        plan = self.kernel.plan
        first, second = len(plan.inputs), len(plan.inputs) + len(plan.parameters)
        return tensors[:first], tensors[first:second], tensors[second:]


class RunScan(torch.autograd.Function):
    """``apply(loop, *inputs, *parameters, *initial)`` -> outputs over time, final states."""

    @staticmethod
    def forward(ctx: Any, loop: ScanLoop, *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs, parameters, initial = loop.split(tensors)
        ctx.loop = loop
        ctx.set_materialize_grads(False)
        outputs, final, saved = loop.run.forward(inputs, parameters, initial, True)
        ctx.save_for_backward(*inputs, *parameters, *saved)
        return (*outputs, *final)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        loop: ScanLoop = ctx.loop
        inputs, parameters, saved = loop.split(ctx.saved_tensors)
        need = ctx.needs_input_grad[1:]
        arrived = [None if g is None else g.contiguous() for g in grads]
        count = len(loop.kernel.plan.outputs)
        by_inputs, by_parameters, by_initial = loop.run.backward(
            inputs, parameters, saved, arrived[:count], arrived[count:], need[: len(inputs) + len(parameters)]
        )
        wanted = need[len(inputs) + len(parameters) :]
        return (None, *by_inputs, *by_parameters, *(g if w else None for g, w in zip(by_initial, wanted, strict=True)))
