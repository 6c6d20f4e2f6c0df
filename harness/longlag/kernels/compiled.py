"""A cell run by a kernel target: planned once, built once for a dtype and device, its tensors checked each time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from longlag.kernels import targets
from longlag.kernels.autograd import apply
from longlag.kernels.chain import Chain
from longlag.kernels.compiler.chain_plan import make_chain_plan
from longlag.kernels.compiler.plan import Plan, make_plan
from longlag.kernels.compiler.scan_plan import ScanPlan, make_scan_plan
from longlag.kernels.compiler.trace import Untraceable
from longlag.kernels.function import Loop, Unroll, infer
from longlag.kernels.recurrence import Recurrence, State, Weights
from longlag.kernels.scan import Scan
from longlag.kernels.scan_function import CompiledScan, differentiable
from longlag.kernels.state_gradients import StateGradients
from longlag.kernels.targets import CannotBuild, ChainKernel, Kernel, Maybe, Target

ANY = "compiled"
"""In place of a target's name: the best one for the device."""
DERIVED = {"weight_ih": 0, "weight_hh": 3}
"""The weights that may be derived, by their index in the flat list."""

_plans: weakref.WeakKeyDictionary[Any, Plan | ScanPlan | str] = weakref.WeakKeyDictionary()
_cells: weakref.WeakKeyDictionary[Any, dict[tuple[Any, ...], CompiledCell | CompiledScan | str]] = (
    weakref.WeakKeyDictionary()
)
_lock = threading.RLock()


class CompiledCell:
    """A cell's kernel, and the checks that its tensors go through.

    Args:
        target: what built the kernel.
        kernel: of the cell, for one dtype and device.
        device: of every tensor.
    """

    def __init__(self, target: Target, kernel: Kernel, device: torch.device) -> None:
        self.target, self.kernel, self.device = target, kernel, device

    def unroll(
        self,
        weights: Weights,
        x: Tensor,
        state: State,
        mask: Tensor | None,
        record: StateGradients | None,
        checkpoint_steps: int | None,
    ) -> tuple[Tensor, State] | str:
        """What `longlag.kernels.unroll` returns, or one sentence that says why not with such tensors.

        Raises:
            ValueError: when a tensor has the wrong shape.
        """
        kernel, plan = self.kernel, self.kernel.plan
        if x.dim() != 3:
            raise ValueError(f"x has shape {tuple(x.shape)}, expected [T, B, I]")
        matrices: tuple[Maybe, ...] = (None,) if "weight_hh" in weights.derived else weights.weight_hh
        if len(matrices) != plan.products:
            raise ValueError(f"{len(matrices)} recurrent weights given, the cell has {plan.products}")
        given: list[Maybe] = [
            weights.weight_ih, weights.bias, weights.bias_hh, *matrices,
            *[weights.units[name] for name in plan.units], *[state[name] for name in plan.states],
        ]  # fmt: skip
        derived = [(DERIVED[name], weight) for name, weight in weights.derived.items()]
        sources = [tensor for _, weight in derived for tensor in weight.inputs]
        if not x.shape[0] or not x.shape[1]:
            return "a compiled kernel needs at least one step and one example"
        needed = differentiable(x.dtype, self.device, [x, *given, *sources])
        if isinstance(needed, str):
            return needed
        sizes = (x.shape[1], x.shape[2], *state[plan.states[0]].shape[1:])
        kernel.check(sizes, given)
        if mask is not None:
            if mask.shape != x.shape[:2]:
                raise ValueError(f"mask has shape {tuple(mask.shape)}, expected {tuple(x.shape[:2])}")
            mask = mask.to(torch.bool).contiguous()
        x = x.contiguous()
        given = [None if tensor is None else tensor.contiguous() for tensor in given]
        squares: list[Maybe] = [None] * kernel.n_states
        if record is not None:
            record.allocate(plan.states, x.shape[0], x.shape[1])
            squares = [record.of(name) for name in plan.states]
        flat, initial = given[: kernel.n_weights], cast(list[Tensor], given[kernel.n_weights :])
        loop = Loop(kernel, kernel.start(x, initial, mask, squares, checkpoint_steps), sizes, derived)
        if needed and torch.is_grad_enabled():
            outputs, *final = apply(Unroll, loop, x, *given, *sources)
        else:
            with torch.no_grad():
                outputs, *final = infer(loop, x, flat, initial)
        return outputs, dict(zip(plan.states, final, strict=True))


def plan_of(cell: Recurrence | Scan) -> Plan | ScanPlan | str:
    """The cell's plan, or why there is none. Made once for a cell object."""
    with _lock:
        if cell not in _plans:
            try:
                gated = hasattr(cell, "gates")
                _plans[cell] = make_plan(cast(Recurrence, cell)) if gated else make_scan_plan(cast(Scan, cell))
            except (Untraceable, ValueError) as error:
                _plans[cell] = f"cell {type(cell).__name__} is not compiled: {error}"
        return _plans[cell]


def compiled_cell(
    cell: Recurrence | Scan, dtype: torch.dtype, device: torch.device, name: str = ANY
) -> CompiledCell | CompiledScan | str:
    """The cell built by the target `name`, or one sentence that says why not. Built once for a cell object.

    Raises:
        ValueError: when there is no such target.
    """
    built, key = _cells.get(cell), (dtype, device, name)
    if built is not None and key in built:
        return built[key]
    with _lock:
        built = _cells.setdefault(cell, {})
        if key not in built:
            built[key] = build(cell, dtype, device, candidates(name, device.type))
        return built[key]


def candidates(name: str, device: str) -> Sequence[Target] | str:
    """The targets to try on a kind of device, or why there is none.

    Raises:
        ValueError: when there is no such target.
    """
    known = targets.registered()
    if name == ANY:
        group = [target for target in known.values() if target.automatic]
    elif name in known:
        group = [known[name]]
    else:
        raise ValueError(f"unknown kernel {name!r}: one of auto, plain, {', '.join([ANY, *known])}")
    found = [target for target in group if device in target.devices]
    if not group:
        return "no kernel target is registered: install longlag again"
    kinds = {"cpu": "the CPU"}
    names = dict.fromkeys(kinds.get(kind, kind) for target in group for kind in target.devices)
    return found or f"compiled kernels run on {' and '.join(names)}, not on {kinds.get(device, device)}"


def build(
    cell: Recurrence | Scan, dtype: torch.dtype, device: torch.device, choice: Sequence[Target] | str
) -> CompiledCell | CompiledScan | str:
    """`cell` built by the first target that takes it, or the reasons of all."""
    if isinstance(choice, str):
        return choice
    plan = plan_of(cell)
    if isinstance(plan, str):
        return plan
    reasons = []
    for target in choice:
        try:
            if isinstance(plan, ScanPlan):
                reason = target.scan_refusal(plan, dtype, device)
                if reason is None:
                    return CompiledScan(target, target.build_scan(plan, dtype, device), device)
            else:
                reason = target.refusal(plan, dtype, device)
                if reason is None:
                    return CompiledCell(target, target.build(plan, dtype, device), device)
        except CannotBuild as error:
            reason = str(error)
        reasons.append(reason)
    return "; ".join(reasons)


def compiled_chain(chain: Chain, dtype: torch.dtype, device: torch.device, name: str = ANY) -> ChainKernel | str:
    """A chain built by the target `name`, or one sentence that says why not. Built once for an object.

    Raises:
        ValueError: when there is no such target.
    """
    key, built = (dtype, device, name), chain.kernels
    if key not in built:
        with _lock:
            if key not in built:
                built[key] = build_chain(chain, dtype, device, candidates(name, device.type))
    found: ChainKernel | str = built[key]
    return found


def build_chain(
    chain: Chain, dtype: torch.dtype, device: torch.device, choice: Sequence[Target] | str
) -> ChainKernel | str:
    """`chain` built by the first target that takes it, or the reasons of all."""
    if isinstance(choice, str):
        return choice
    try:
        plan = make_chain_plan(chain)
    except Untraceable as error:
        return f"{chain.name} is not compiled: {error}"
    reasons = []
    for target in choice:
        reason = target.chain_refusal(plan, dtype, device)
        try:
            if reason is None:
                return target.build_chain(plan, dtype, device)
        except CannotBuild as error:
            reason = str(error)
        reasons.append(reason)
    return "; ".join(filter(None, reasons))
