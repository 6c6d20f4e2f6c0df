"""How fast every cell trains: ``python -m benchmarks.cells``.

One row a cell, size and number of threads. A training step is a forward and a backward pass of one layer with two
inputs and a gradient at every output. Everything that is compared runs in turn, round after round, and a ratio is the
median over the rounds, so that a noisy machine disturbs both sides alike.

    ms          median time of a training step
    x bound     over the cell's matrix products alone (`benchmarks.products`), one thread
    nn          how many times faster than nn.LSTM / nn.GRU / nn.RNN (the one with as many gates)
    cell loop   than a Python loop over nn.LSTMCell / nn.GRUCell / nn.RNNCell
    plain       than this cell's plain autograd loop
    threads     than itself on one thread
    probe %     what recording the gradient norms through time adds
    peak MB     of memory during the step, beyond what was there before
    ready s     to trace, print, build and load the cell (0.0x when the build was cached)
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.products import Products
from harness import registry
from harness.cells.base import Cell, GatedCell, GatedLayer, Layer
from harness.cells.stack import build
from harness.kernels import StateGradients, compiled, which

SIZES = ((100, 20, 40), (200, 20, 64), (750, 50, 128), (1000, 128, 190), (2000, 50, 128))
INPUTS = 2
SLOW_ROUNDS = 2
"""Rounds for what takes several times longer than the rest: loops in Python."""

COLUMNS = ("ms", "x bound", "nn", "cell loop", "plain", "threads", "probe %", "peak MB", "ready s")


def training_step(layer: Layer, x: Tensor, seed: Tensor, record: bool = False) -> None:
    outputs, _ = layer(x, None, None, StateGradients() if record else None)
    outputs.backward(seed)


def gates_of(cell: Cell) -> int:
    return len(cell.gates) if isinstance(cell, GatedCell) else 4


def references(gates: int, x: Tensor, hidden: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """The training step of the torch layer with as many gates, and of a loop over its cell."""
    kinds: list[tuple[Any, Any]] = [(nn.RNN, nn.RNNCell), (nn.GRU, nn.GRUCell), (nn.LSTM, nn.LSTMCell)]
    whole, single = kinds[0 if gates == 1 else 1 if gates <= 3 else 2]
    layer, cell = whole(INPUTS, hidden), single(INPUTS, hidden)
    seed = torch.ones(len(x), x.shape[1], hidden)

    def by_layer() -> None:
        layer(x)[0].backward(seed)

    def by_loop() -> None:
        state, outputs = None, []
        for x_t in x.unbind(0):
            state = cell(x_t, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        torch.stack(outputs).backward(seed)

    return by_layer, by_loop


def on(threads: int, function: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        torch.set_num_threads(threads)
        function()

    return run


def rounds(
    fast: dict[str, Callable[[], None]], slow: dict[str, Callable[[], None]], repeats: int
) -> dict[str, list[float]]:
    """Times in ms, everything in turn."""
    times: dict[str, list[float]] = {name: [] for name in (*fast, *slow)}
    for number in range(repeats + 1):
        turns = list((fast | slow if number <= SLOW_ROUNDS else fast).items())
        first = number % len(turns)  # nobody always runs in the wake of the same one
        for name, function in turns[first:] + turns[:first]:
            start = time.perf_counter()
            function()
            if number:  # the first round warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def ratio(times: dict[str, list[float]], above: str, below: str) -> float:
    return statistics.median(a / b for a, b in zip(times[above], times[below], strict=False))


def peak_megabytes(function: Callable[[], None]) -> float | None:
    """Growth of the process's resident memory at its highest during `function`; Linux only."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier steps freed goes back to the system first
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
        before = resident("VmRSS")
        function()
        return (resident("VmHWM") - before) / 1024
    except (OSError, KeyError, AttributeError):
        return None


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int({line.split(":")[0]: line for line in lines}[field].split()[1])


def measure(
    name: str, cell: Cell, size: tuple[int, int, int], threads: int, repeats: int, loops: bool
) -> dict[str, Any]:
    steps, batch, hidden = size
    start = time.perf_counter()
    loop = which(cell) if isinstance(cell, GatedCell) else "own"
    ready = time.perf_counter() - start
    layer = cell.layer(INPUTS, hidden, torch.Generator().manual_seed(0))
    x = torch.randn(steps, batch, INPUTS)
    seed = torch.ones(steps, batch, layer.output_size)
    by_layer, by_loop = references(gates_of(cell), x, hidden)
    fast = {
        "cell": on(threads, lambda: training_step(layer, x, seed)),
        "probe": on(threads, lambda: training_step(layer, x, seed, record=True)),
        "nn": on(threads, by_layer),
    }
    slow = {"cell loop": on(threads, by_loop)} if loops else {}
    if loop == "compiled":
        products = Products(cell, steps, batch, hidden, INPUTS)
        fast |= {} if products.empty else {"x bound": on(1, products)}
        if threads > 1:
            fast["one thread"] = on(1, lambda: training_step(layer, x, seed))
        if loops and isinstance(layer, GatedLayer):
            plain = cell.layer(INPUTS, hidden, torch.Generator().manual_seed(0))
            plain.kernel = "plain"
            slow["plain"] = on(threads, lambda: training_step(plain, x, seed))
    memory = peak_megabytes(fast["cell"])
    times = rounds(fast, slow, repeats)
    row: dict[str, Any] = {"cell": name, "T": steps, "B": batch, "H": hidden, "threads used": threads, "loop": loop}
    row["ms"] = statistics.median(times["cell"])
    row["x bound"] = ratio(times, "cell", "x bound") if "x bound" in times else None
    for other in ("nn", "cell loop", "plain"):
        row[other] = ratio(times, other, "cell") if other in times else None
    row["threads"] = ratio(times, "one thread", "cell") if "one thread" in times else None
    row["probe %"] = 100 * (ratio(times, "probe", "cell") - 1)
    row["peak MB"] = memory
    row["ready s"] = ready if loop == "compiled" else None
    return row


def line(row: dict[str, Any]) -> str:
    size = ", ".join(str(row[k]) for k in "TBH")
    shown = ("-" if row[c] is None else f"{row[c]:.2f}" if abs(row[c]) < 100 else f"{row[c]:.0f}" for c in COLUMNS)
    cells = "".join(f"{text:>10}" for text in shown)
    return f"{row['cell']:<20}{size:>15}{row['threads used']:>8}  {row['loop']:<9}{cells}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cells", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", default="", help="names, separated by commas; all registered ones by default")
    parser.add_argument("--sizes", default="", help="T:B:H, separated by commas")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, separated by commas")
    parser.add_argument("--repeats", type=int, default=7, help="rounds after the one that warms up")
    parser.add_argument("--no-loops", action="store_true", help="leave out the loops in Python, which take long")
    parser.add_argument("--json", type=Path, help="also write the rows, and what they were measured on, to this file")
    options = parser.parse_args(arguments)
    names = options.cells.split(",") if options.cells else registry.names("cell")
    sizes = [tuple(map(int, s.split(":"))) for s in options.sizes.split(",")] if options.sizes else SIZES
    torch.manual_seed(0)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        **compiled.toolchain(),
    }
    print(*(f"{key}: {value}" for key, value in machine.items()), sep="\n")
    heads = "".join(f"{c:>10}" for c in COLUMNS)
    print(f"\n{'cell':<20}{'T, B, H':>15}{'threads':>8}  {'loop':<9}{heads}")
    rows = []
    for name in names:
        for size in sizes:
            for threads in map(int, options.threads.split(",")):
                row = measure(name, build(name), size, threads, options.repeats, not options.no_loops)
                rows.append(row)
                print(line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
