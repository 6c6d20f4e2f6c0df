"""Gates: how often they are shut or open, and how long what they keep stays.

Nothing is declared by a cell. Its core is run step by step with its pre-activations marked; where a logistic sigmoid
or tanh of a marked one is taken (peepholes and recurrent parts added), the result is that gate. What a state keeps of
itself is the derivative of the core with respect to that state, unit by unit, pre-activations held fixed: f for an
LSTM's c, z for a GRU's h, 1 - f for an MGU's, 1 - leak for leaky units. A factor k keeps for 1 / (1 - k) steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from longlag.cells import GatedLayer
from longlag.kernels import Named, Recurrence
from longlag.probes.base import Probe
from longlag.probes.rollout import CapturedInputs, rollout, stepper

SHUT, OPEN = 0.1, 0.9
SIGMOIDS = {torch.sigmoid, Tensor.sigmoid}
TANHS = {torch.tanh, Tensor.tanh}
SUMS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, torch.sub, Tensor.sub, Tensor.__sub__}


@dataclass(frozen=True)
class Gates:
    """What the gates of one layer did over a batch; all numbers are means over steps, examples and units.

    Args:
        sigmoid: gate -> (share below 0.1, share above 0.9, mean).
        tanh: unit -> share whose magnitude is above 0.9.
        retention: state -> (mean factor, median time constant in steps, its 90% quantile), of states that keep any.
    """

    sigmoid: Mapping[str, tuple[float, float, float]]
    tanh: Mapping[str, float]
    retention: Mapping[str, tuple[float, float, float]]


class Marks(TorchFunctionMode):
    """Follows marked tensors through sums, and notes the sigmoids and tanhs that are taken of them."""

    def __init__(self, gate: dict[int, str]) -> None:
        super().__init__()
        self.gate = gate  # by the id of a tensor
        self.held: list[Tensor] = []  # an id is only good while its tensor lives
        self.sigmoid: dict[str, Tensor] = {}
        self.tanh: dict[str, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        names = [self.gate[id(a)] for a in args if id(a) in self.gate]
        if names and func in SIGMOIDS:
            self.sigmoid[names[0]] = result
        elif names and func in TANHS:
            self.tanh[names[0]] = result
        elif names and func in SUMS:
            self.gate[id(result)] = names[0]
            self.held.append(result)
        return result


class Instrumented:
    """A cell that notes what its gates do. For the kernels it is the cell."""

    def __init__(self, cell: Recurrence) -> None:
        self.cell = cell
        self.gates, self.states, self.outputs = cell.gates, cell.states, cell.outputs
        self.units, self.intermediates = cell.units, cell.intermediates
        self.split = {f"{g.name}_{part}": g.name for g in cell.gates if g.split for part in "xh"}
        self.sigmoid: dict[str, Tensor] = {}
        self.tanh: dict[str, Tensor] = {}
        self.retention: dict[str, Tensor] = {}

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        with self._marks(g) as marks:
            result = self.cell.first_stage(g, s, p)
        self._note(marks)
        return result

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        with self._marks(g) as marks:
            result = self.cell.core(g, s, p)
        self._note(marks)
        for name in self.states:
            self.retention[name] = self._derivative(name, g, s, p)
        return result

    def _marks(self, g: Named) -> Marks:
        return Marks({id(tensor): self.split.get(name, name) for name, tensor in vars(g).items()})

    def _note(self, marks: Marks) -> None:
        self.sigmoid |= marks.sigmoid
        self.tanh |= marks.tanh

    def _derivative(self, name: str, g: Named, s: Named, p: Named) -> Tensor:
        """d new / d old of one state, unit by unit: the core is pointwise, so one sum gives all."""
        with torch.enable_grad():
            old = getattr(s, name).detach().requires_grad_()
            new = self.cell.core(g, Named({**vars(s), name: old}), p)[name]
            found = torch.autograd.grad(new.sum(), old, allow_unused=True)[0] if new.requires_grad else None
        return torch.zeros_like(old) if found is None else found


def inside(captured: CapturedInputs) -> CapturedInputs | None:
    """What the gated layer reads that a layer is, or has inside of it; None without one."""
    layer = captured.layer
    if isinstance(layer, GatedLayer):
        return captured
    found: list[CapturedInputs] = []

    def keep(part: Any, given: tuple[Any, ...]) -> None:
        x, state, mask, *_ = (*given, None, None)
        found.append(CapturedInputs(part, x, part.initial_state(x.shape[1]) if state is None else state, mask))

    handles = [p.register_forward_pre_hook(keep) for p in layer.modules() if isinstance(p, GatedLayer)]
    if handles:
        with torch.no_grad():
            layer(captured.x, captured.state, captured.mask)
    for handle in handles:
        handle.remove()
    return found[0] if found else None


def gates(captured: CapturedInputs) -> Gates | None:
    """What the gates of a layer do; None for a layer that has none, and is not a gated cell."""
    own = inside(captured)
    if own is None:
        return None
    seen = _gates(own)
    return seen if seen.sigmoid or own is captured else None


def _gates(captured: CapturedInputs) -> Gates:
    assert isinstance(captured.layer, GatedLayer)
    instrumented = Instrumented(captured.layer.cell)
    step = stepper(captured.layer, lambda cell: instrumented)
    seen: dict[tuple[str, str], list[NDArray[np.float64]]] = defaultdict(list)
    for t, _, _ in rollout(captured, step):
        rows = slice(None) if captured.mask is None else captured.mask[t]
        for kind in ("sigmoid", "tanh", "retention"):
            for name, value in getattr(instrumented, kind).items():
                seen[kind, name].append(value[rows].numpy().ravel())
    values = {key: np.concatenate(parts) for key, parts in seen.items()}
    retention = {name: v for (kind, name), v in values.items() if kind == "retention" and np.any(v != 0)}
    return Gates(
        {n: (float((v < SHUT).mean()), float((v > OPEN).mean()), float(v.mean()))
         for (kind, n), v in values.items() if kind == "sigmoid"},
        {n: float((np.abs(v) > OPEN).mean()) for (kind, n), v in values.items() if kind == "tanh"},
        {n: (float(v.mean()), *time_constants(v)) for n, v in retention.items()},
    )  # fmt: skip


def time_constants(retention: NDArray[np.float64]) -> tuple[float, float]:
    """Median and 90% quantile of 1 / (1 - k) in steps; infinite where everything is kept, or more."""
    with np.errstate(divide="ignore"):
        steps = np.where(retention < 1, 1 / (1 - np.minimum(retention, 1)), np.inf)
    middle, late = np.quantile(steps, [0.5, 0.9], method="lower")
    return float(middle), float(late)


class Saturation(Probe):
    """Gates shut and open, saturated units, and the time constants of what states keep."""

    examples = 16
    cost = "one pass, with a derivative a state and step"

    def applies(self, captured: CapturedInputs) -> bool:
        return super().applies(captured) or any(isinstance(part, GatedLayer) for part in captured.layer.modules())

    def measure(self, captured: CapturedInputs) -> Mapping[str, float]:
        seen = gates(captured)
        if seen is None:
            return {}
        found: dict[str, float] = {}
        for name, (shut, opened, mean) in seen.sigmoid.items():
            found |= {f"gates/{name}_below_0.1": shut, f"gates/{name}_above_0.9": opened, f"gates/{name}_mean": mean}
        for name, fraction in seen.tanh.items():
            found[f"gates/{name}_tanh_above_0.9"] = fraction
        for name, (mean, middle, late) in seen.retention.items():
            found |= {f"memory/{name}_kept": mean, f"memory/{name}_time_constant_median": middle}
            found[f"memory/{name}_time_constant_q90"] = late
        return found
