"""What the processor can do, measured: multiply-adds of one core, and bandwidth of every cache level and of memory.

And what a training step of a cell needs of both: the multiply-adds and bytes counted from its plan.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from longlag.cells.base import GatedLayer, Layer
from longlag.cells.scan import ScanLayer
from longlag.cells.tcn import CausalConvolution, Level, TCNLayer
from longlag.cells.transformer import TransformerLayer
from longlag.kernels.compiled import plan_of
from longlag.kernels.compiler.axes import TIMES, TURNED
from longlag.kernels.compiler.graph import Node, reachable
from longlag.kernels.compiler.plan import Plan
from longlag.kernels.compiler.scan_plan import Kind, ScanPlan
from longlag.kernels.targets.c import build

SOURCE = """
#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
typedef float vec __attribute__((vector_size(WIDTH), may_alias));
long lanes(void) { return WIDTH / 4; }
/* 12 sums, so that no multiply-add waits for the one before; different ones, or a compiler makes them one */
void multiply_add(long rounds, float *out) {
    vec s[12], x = *(vec *)out, y = *(vec *)(out + WIDTH / 4);
    for (int j = 0; j < 12; j++) s[j] = y * (float)j;
    for (long r = 0; r < rounds; r++) {
        _Pragma("GCC unroll 12")
        for (int j = 0; j < 12; j++) s[j] = s[j] * x + y;
        __asm__ volatile("" : "+x"(x));
    }
    for (int j = 0; j < 12; j++) *(vec *)out += s[j];
}
void read(long rounds, long vectors, const float *from, float *out) {
    vec s[8] = {{0}};
    for (long r = 0; r < rounds; r++)
        for (long k = 0; k + 8 <= vectors; k += 8) {
            _Pragma("GCC unroll 8")
            for (int j = 0; j < 8; j++) s[j] += ((const vec *)from)[k + j];
        }
    for (int j = 0; j < 8; j++) *(vec *)out += s[j];
}
void copy(long rounds, long vectors, const float *from, float *to) {
    for (long r = 0; r < rounds; r++) {
        _Pragma("GCC unroll 8")
        for (long k = 0; k < vectors; k++) ((vec *)to)[k] = ((const vec *)from)[k];
        __asm__ volatile("" ::: "memory");
    }
}
"""
SECONDS = 0.02
ATTEMPTS = 7
MEMORY_BYTES = 1 << 27
WITHOUT_LOOP = (TransformerLayer, TCNLayer)
"""Layers that are no recurrence, and whose work is counted."""


@cache
def library() -> ctypes.CDLL:
    return build.load(SOURCE)


def best(function: str, rounds: int, *arguments: object) -> float:
    """Seconds of processor time a round, the least of several attempts."""
    call = getattr(library(), function)
    least = float("inf")
    for _ in range(ATTEMPTS):
        start = time.process_time()
        call(ctypes.c_long(rounds), *arguments)
        least = min(least, (time.process_time() - start) / rounds)
    return least


@dataclass(frozen=True)
class Machine:
    """One core.

    Args:
        multiply_adds: in float32, a second.
        levels: name, bytes, and bytes a second read and copied (what is read and what is written counted), the
            smallest first, memory last.
    """

    multiply_adds: float
    levels: tuple[tuple[str, int, float, float], ...]

    def read_rate(self, size: float) -> float:
        """Bytes a second of the smallest level that holds so many."""
        return next((rate for _, room, rate, _ in self.levels if size <= room), self.levels[-1][2])

    def lines(self) -> list[str]:
        found = [f"peak of one core: {2e-9 * self.multiply_adds:.0f} GFLOP/s in float32"]
        return found + [f"{name}: {r / 1e9:.0f} GB/s read, {c / 1e9:.0f} GB/s copied" for name, _, r, c in self.levels]


def caches() -> list[tuple[str, int]]:
    """The data caches of a core by size in bytes; empty where the system does not say."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (folder / "type").read_text().strip() != "Instruction":
            size = (folder / "size").read_text().strip()
            unit = {"K": 1 << 10, "M": 1 << 20}.get(size[-1], 1)
            found.append((f"L{(folder / 'level').read_text().strip()}", int(size.rstrip("KM")) * unit))
    return found


@cache
def measured() -> Machine:
    """This machine, measured once."""
    lanes = library().lanes()
    out = torch.ones(4 * lanes)
    address = ctypes.c_void_p(out.data_ptr())
    rounds = 1 << 20
    peak = 12 * lanes / best("multiply_add", rounds, address)
    levels = []
    for name, size in [*caches(), ("memory", 2 * MEMORY_BYTES)]:
        bytes_ = min(size // 2, MEMORY_BYTES)
        one, two = torch.zeros(bytes_ // 4), torch.zeros(bytes_ // 8)
        half = torch.zeros(bytes_ // 8)
        places = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (one, two, half)]
        rounds = max(1, int(SECONDS * 2e10 / bytes_))
        read = bytes_ / best("read", rounds, ctypes.c_long(bytes_ // (4 * lanes)), places[0], address)
        moved = bytes_ / best("copy", rounds, ctypes.c_long(bytes_ // (8 * lanes)), places[1], places[2])
        levels.append((name, size, read, moved))
    return Machine(peak, tuple(levels))


def seconds(layer: Layer, steps: int, batch: int) -> tuple[float, str]:
    """The least time that a training step of a layer with a compiled loop can take, and what binds it.

    Multiply-adds: those of every compiled loop in the layer, of its linear maps, convolutions and attention. An
    operation on an element counts as one multiply-add, a function such as tanh as ten; a scan computes its states
    twice, and attention its scores. Bytes: what the loops read
    and write once a step, further away than the step's own work.
    """
    work = numbers = 0.0
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            work += 3 * module.in_features * module.out_features
        elif isinstance(module, CausalConvolution):
            work += 3 * module.direction.numel()
        elif isinstance(module, Level) and module.narrow:
            work += 3 * module.weight.numel()
        elif isinstance(module, TransformerLayer):
            work += 7 * module.width * mean_keys(steps, module.options.context)
        elif isinstance(module, GatedLayer | ScanLayer):
            plan = plan_of(module.cell)
            if isinstance(plan, Plan) and isinstance(module, GatedLayer):
                work += gated_work(plan, module.hidden_size, module.input_size)
                numbers += gated_numbers(plan) * module.hidden_size
            elif isinstance(plan, ScanPlan) and isinstance(module, ScanLayer):
                more = scan_needs(plan, module.sizes)
                work, numbers = work + module.heads * more[0], numbers + module.heads * more[1]
    machine, rows = measured(), steps * batch
    arithmetic, traffic = work * rows / machine.multiply_adds, 4 * numbers * rows
    moving = traffic / machine.read_rate(traffic)
    return (arithmetic, "work") if arithmetic > moving else (moving, "bytes")


def mean_keys(steps: int, context: int) -> float:
    """How many keys a query sees: itself and at most `context` before it."""
    return sum(min(step, context) + 1 for step in range(steps)) / steps


def gated_work(plan: Plan, hidden: int, inputs: int) -> float:
    """Products forward, by the states and by the weights; inputs forward and by the weights; the cores."""
    products = sum(term.count for term in plan.terms) * hidden
    rows = sum(rows.count for rows in plan.inputs) * inputs
    stages = [stage for stage in (plan.first, plan.core) if stage is not None]
    roots = [node for s in stages for part in (s.outputs, s.gradients, s.totals) for node in part.values()]
    return hidden * (3 * products + 2 * rows + cost(reachable(roots)))


def gated_numbers(plan: Plan) -> int:
    """Written and read: states and what is saved; read: the gradient by the outputs."""
    return 2 * (len(plan.states) + len(plan.saved)) + len(plan.outputs)


def scan_needs(plan: ScanPlan, axes: Mapping[str, int]) -> tuple[float, float]:
    """Of one head and step."""
    size = {
        Kind.SCALAR: 1, Kind.LANES: axes[plan.axes[0]], Kind.ROW: axes[plan.axes[-1]], Kind.MATRIX: 0,
        Kind.TILE: axes[plan.axes[0]] * axes[plan.axes[-1]],
    }  # fmt: skip

    def work(roots: list[Node]) -> float:
        total = 0.0
        for node in reachable(roots):
            whole = plan.kind(node.args[0]) if node.op.startswith("sum:") else plan.kind(node)
            deep = axes[plan.axes[-1]] if node.op in (TIMES, TURNED) else cost([node])
            if plan.kind(node) is Kind.MATRIX and not node.is_leaf:
                whole, deep = Kind.TILE, axes[plan.axes[-1]]
            total += size[whole] * deep
        return total

    core = plan.core
    forward = work(list(core.outputs.values()))
    backward = work([*core.outputs.values(), *core.gradients.values(), *core.totals.values()])
    inputs = sum(size[plan.kind_of(own)] for own in plan.inputs.values())
    outputs = sum(size[plan.kind_of(own)] for own in plan.outputs.values())
    return forward + backward, 3 * inputs + 2 * outputs


def cost(nodes: Iterable[Node]) -> float:
    """Multiply-adds of an element: one an operation, ten a function."""
    return float(sum(1 if node.op.startswith("sum:") else node.cost for node in nodes))
