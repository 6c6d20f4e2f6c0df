"""How fast every cell trains: ``python -m benchmarks.cells``.

One row a cell, size and number of threads. A training step is a forward and a backward pass of one layer with two
inputs and a gradient at every output. Everything that is compared runs in turn, round after round, and a ratio is the
median over the rounds, so that a noisy machine disturbs both sides alike. On one thread the clock is the processor
time of this process, which others on the machine disturb little; on several it is the time that passes, which means
something only on cores that nobody else uses: look at "load when started". ``--clock`` chooses.

    loop        compiled; plain where the cell is not compiled; scan, a compiled recurrence between other layers;
                own, no recurrence at all (convolution, attention)
    ms          median time of a training step
    x bound     over the cell's matrix products alone (`benchmarks.products`), one thread
    loop x      the same of the compiled loop alone, without Python, autograd and composing weights around it
    bound %     the share that the processor's own bound is of the step, on one thread: the multiply-adds of loop and
                dense maps (counted from the plan, `benchmarks.bounds`), of attention and convolutions, at the peak
                that is measured at the beginning,
    by          or, where that is more, the bytes that the loop moves, at the bandwidth of the cache that holds them
    nn          how many times faster than nn.LSTM / nn.GRU / nn.RNN (the one with as many gates)
    cell loop   than a Python loop over nn.LSTMCell / nn.GRUCell / nn.RNNCell
    jax         than a jitted JAX scan of that layer; only where JAX is installed, and by the time that passes
    peer        than the same layer in a few lines of torch (`benchmarks.peers`): s4d and s5 as convolutions by FFT,
                selective as a loop over time, transformer with torch's attention
    plain       than this cell's plain autograd loop
    threads     than itself on one thread
    probe %     what recording the gradient norms through time adds
    compose %   share of composing the weights from other parameters, once an update, forward and backward, where the
                cell does that; measured alone, so that it finds its data in the caches, as it does not in a step
    peak MB     of memory during the first step, beyond what was there before
    ready s     to trace, print, build and load the cell (0.0x when the build was cached)

"-": does not apply, or was left out (--no-loops, --quick). A cell that fails says why and the rest goes on.
All cells, sizes and threads take some hours (an estimate), most of it in the loops in Python and at the largest sizes:
name --cells and --sizes, or leave the loops out. --quick takes minutes. `benchmarks.length` is the second table: cost
over T, and what recomputation costs and saves.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks import bounds, jax_scan, peers
from benchmarks.products import Products
from benchmarks.timing import Step, machine, on, peak_megabytes, ratio, rounds
from longlag import registry
from longlag.cells import ScanCell
from longlag.cells.base import Cell, Compilable, GatedCell, GatedLayer, Layer, Looped
from longlag.cells.stack import build
from longlag.kernels import StateGradients, memory, which
from longlag.kernels.targets.c.kernel import Library

Size = tuple[int, int, int]
SIZES: tuple[Size, ...] = ((100, 20, 40), (200, 20, 64), (750, 50, 128), (1000, 128, 190), (2000, 50, 128))
QUICK_SIZES: tuple[Size, ...] = ((200, 20, 64),)
QUICK_LARGE = ("lstm", "lstm-peephole", "gru", "rnn")
"""Cells that --quick also measures at its second size, the one of the targets."""
LARGE: Size = (750, 50, 128)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {"gru:before": ("gru", {"reset": "before"})}
"""Cells whose options change what a step computes, under a name of their own."""
INPUTS = 2
LOOP_SECONDS = 0.3
"""How long is looked at what of a step the loop takes."""
COLUMNS = ("ms", "x bound", "loop x", "bound %", "by", "nn", "cell loop", "jax", "peer", "plain", "threads",
           "probe %", "compose %", "peak MB", "ready s")  # fmt: skip
REFERENCES: dict[int, tuple[Any, Any]] = {1: (nn.RNN, nn.RNNCell), 3: (nn.GRU, nn.GRUCell), 4: (nn.LSTM, nn.LSTMCell)}


def training_step(layer: Layer, x: Tensor, seed: Tensor, record: bool = False) -> None:
    outputs, _ = layer(x, None, None, StateGradients() if record else None)
    outputs.backward(seed)


def composing(cell: Cell, layer: Layer) -> Step | None:
    """Composing the weights and carrying their gradients back, alone; None for a cell that trains them themselves."""
    if not isinstance(cell, GatedCell) or not isinstance(layer, GatedLayer):
        return None
    if type(cell).weights is GatedCell.weights:
        return None

    def compose() -> None:
        weights = layer.weights()
        every = (weights.weight_ih, weights.bias, weights.bias_hh, *weights.weight_hh, *weights.units.values())
        made = [tensor for tensor in every if tensor is not None and tensor.grad_fn is not None]
        torch.autograd.backward(made, [torch.ones_like(tensor) for tensor in made])

    return compose


def share_in_loop(step: Step, repeats: int, clock: Callable[[], float]) -> float:
    """The share of a step's time that its compiled loop takes."""
    spent = 0.0

    def timed(run: Callable[..., None]) -> Callable[..., None]:
        def call(library: Library, *values: int | Sequence[int]) -> None:
            nonlocal spent
            start = clock()
            run(library, *values)
            spent += clock() - start

        return call

    with (
        patch.object(Library, "forward", timed(Library.forward)),
        patch.object(Library, "backward", timed(Library.backward)),
    ):
        start = clock()
        for _ in range(repeats):
            step()
        return spent / (clock() - start)


def gates_of(cell: Cell) -> int:
    """1, 3 or 4: the gates of the torch layer that the cell is compared with."""
    gates = len(cell.gates) if isinstance(cell, GatedCell) else 4
    return 1 if gates == 1 else 3 if gates <= 3 else 4


def references(gates: int, x: Tensor, hidden: int) -> tuple[Step, Step]:
    """The training step of the torch layer with as many gates, and of a loop over its cell."""
    whole, single = REFERENCES[gates]
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


def loop_of(cell: Cell, layer: Layer) -> str:
    if isinstance(cell, GatedCell | ScanCell):
        return which(cell)
    inner = [module for module in layer.modules() if isinstance(module, GatedLayer)]
    return "scan" if inner and all(which(module.cell) == "compiled" for module in inner) else "own"


def measure(
    name: str, cell: Cell, size: Size, threads: int, repeats: int, loops: bool, clock: str = "auto"
) -> dict[str, Any]:
    """One row."""
    steps, batch, hidden = size
    layer = cell.layer(INPUTS, hidden, torch.Generator().manual_seed(0))
    start = time.perf_counter()
    loop = loop_of(cell, layer)
    ready = time.perf_counter() - start
    x = torch.randn(steps, batch, INPUTS)
    seed = torch.ones(steps, batch, layer.output_size)
    gates = gates_of(cell)
    by_layer, by_loop = references(gates, x, hidden)
    fast: dict[str, Step] = {
        "cell": on(threads, lambda: training_step(layer, x, seed)),
        "probe": on(threads, lambda: training_step(layer, x, seed, record=True)),
        "nn": on(threads, by_layer),
    }
    slow = {"cell loop": on(threads, by_loop)} if loops else {}
    if threads > 1:
        fast["one thread"] = on(1, lambda: training_step(layer, x, seed))
    passing = clock == "wall" or (clock == "auto" and threads > 1)
    if loops and passing and jax_scan.available():
        fast["jax"] = jax_scan.training_step(gates, steps, batch, hidden, INPUTS)
    if loop == "compiled" and isinstance(cell, GatedCell):
        products = Products(cell, steps, batch, hidden, INPUTS)
        fast |= {} if products.empty else {"x bound": on(1, products)}
    if loop == "compiled" and loops and isinstance(layer, Looped):
        plain = cell.layer(INPUTS, hidden, torch.Generator().manual_seed(0))
        for module in plain.modules():
            if isinstance(module, Compilable):
                module.kernel = "plain"
        slow["plain"] = on(threads, lambda: training_step(plain, x, seed))
    if (peer := peers.peer_of(layer)) is not None:
        slow["peer"] = on(threads, lambda: peer(x).backward(seed))
    if (compose := composing(cell, layer)) is not None:
        fast["compose"] = on(threads, compose)
    memory.release()
    peak = peak_megabytes(fast["cell"])
    clock_of = time.perf_counter if passing else time.process_time
    times = rounds(fast, slow, repeats, clock_of)
    row: dict[str, Any] = {"cell": name, "T": steps, "B": batch, "H": hidden, "threads used": threads, "loop": loop}
    row["clock"] = "wall" if passing else "cpu"
    row["ms"] = statistics.median(times["cell"])
    row["x bound"] = ratio(times, "cell", "x bound") if "x bound" in times else None
    row["loop x"] = None
    if row["x bound"] is not None:
        often = max(2, int(LOOP_SECONDS * 1e3 / row["ms"]))
        row["loop x"] = row["x bound"] * share_in_loop(fast["cell"], often, clock_of)
    row["bound %"], row["by"] = None, None
    if threads == 1 and (loop != "own" or isinstance(layer, bounds.WITHOUT_LOOP)):
        least, row["by"] = bounds.seconds(layer, steps, batch)
        row["bound %"] = 1e5 * least / row["ms"]
    for other in ("nn", "cell loop", "jax", "peer", "plain"):
        row[other] = ratio(times, other, "cell") if other in times else None
    row["threads"] = ratio(times, "one thread", "cell") if "one thread" in times else None
    row["probe %"] = 100 * (ratio(times, "probe", "cell") - 1)
    row["compose %"] = 100 * ratio(times, "compose", "cell") if "compose" in times else None
    row["peak MB"] = peak
    row["ready s"] = ready if loop in ("compiled", "scan") else None
    return row


def text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def line(row: dict[str, Any]) -> str:
    size = ", ".join(str(row[k]) for k in "TBH")
    start = f"{row['cell']:<22}{size:>15}{row['threads used']:>8}  "
    if "error" in row:
        return f"{start}{row['error']}"
    shown = (text(row[c]) for c in COLUMNS)
    return f"{start}{row['loop']:<9}" + "".join(f"{one:>10}" for one in shown)


def sizes_from(text: str) -> tuple[Size, ...]:
    """``T:B:H,T:B:H``.

    Raises:
        argparse.ArgumentTypeError: when it is not that.
    """
    try:
        found = [tuple(map(int, part.split(":"))) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or any(len(size) != 3 or min(size) < 1 for size in found):
        raise argparse.ArgumentTypeError(f"{text!r} is not T:B:H, such as 200:20:64 or 100:20:40,750:50:128")
    return tuple((t, b, h) for t, b, h in found)


def numbers_from(text: str) -> list[int]:
    """``1,2``.

    Raises:
        argparse.ArgumentTypeError: when it is not that.
    """
    parts = text.split(",")
    if not all(part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,2")
    return [int(part) for part in parts]


def parser_for(module: str, description: str) -> argparse.ArgumentParser:
    """What the benchmarks of this folder have in common."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", help="names, separated by commas; all registered ones by default")
    parser.add_argument("--sizes", type=sizes_from, help="T:B:H, separated by commas")
    parser.add_argument("--repeats", type=int, help="rounds after the one that warms up")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds: some minutes at most")
    parser.add_argument("--json", type=Path, help="also write the rows, and what they were measured on, to this file")
    return parser


def names_from(parser: argparse.ArgumentParser, text: str | None, variants: Iterable[str] = VARIANTS) -> list[str]:
    known = sorted([*registry.names("cell"), *variants])
    names = text.split(",") if text else known
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"unknown cell {', '.join(unknown)}: one of {', '.join(known)}")
    return names


def cell_of(name: str) -> Cell:
    """The cell behind a name of `names_from`."""
    return build(*VARIANTS.get(name, (name, {})))


def run(
    jobs: list[tuple[str, Size, int]],
    one: Callable[[str, Size, int], dict[str, Any]],
    show: Callable[[dict[str, Any]], str],
    file: Path | None,
    about: dict[str, object],
) -> None:
    """Measure, print and, after every row, write: what was measured survives an interruption."""
    rows: list[dict[str, Any]] = []
    for name, size, threads in jobs:
        try:
            row = one(name, size, threads)
        except Exception as error:  # any cell may be anybody's: the others are still measured
            reason = f"failed: {type(error).__name__}: {error}".split("\n")[0]
            row = {"cell": name, **dict(zip("TBH", size, strict=True)), "threads used": threads, "error": reason}
        rows.append(row)
        print(show(row), flush=True)
        if file:
            file.write_text(json.dumps({"machine": about, "rows": rows}, indent=1))


def main(arguments: list[str] | None = None) -> None:
    parser = parser_for("benchmarks.cells", __doc__ or "")
    parser.add_argument("--threads", type=numbers_from, help="numbers of threads, separated by commas; 1,2 by default")
    parser.add_argument("--clock", choices=("auto", "wall", "cpu"), default="auto", help="what a time is")
    parser.add_argument("--no-loops", action="store_true", help="leave out the loops in Python, which take long")
    options = parser.parse_args(arguments)
    names = names_from(parser, options.cells)
    quick = options.quick
    sizes: tuple[Size, ...] = options.sizes or (QUICK_SIZES if quick else SIZES)
    threads = options.threads or ([1] if quick else [1, 2])
    repeats = options.repeats or (3 if quick else 7)
    jobs = [(name, size, n) for name in names for size in sizes for n in threads]
    if quick and not options.sizes:
        jobs += [(name, LARGE, n) for name in names if name in QUICK_LARGE for n in threads]
    torch.manual_seed(0)
    about = machine()
    print(*(f"{key}: {value}" for key, value in about.items()), *bounds.measured().lines(), sep="\n")
    heads = "".join(f"{c:>10}" for c in COLUMNS)
    print(f"\n{'cell':<22}{'T, B, H':>15}{'threads':>8}  {'loop':<9}{heads}")
    loops = not (quick or options.no_loops)

    def one(name: str, size: Size, n: int) -> dict[str, Any]:
        return measure(name, cell_of(name), size, n, repeats, loops, options.clock)

    run(jobs, one, line, options.json, about)


if __name__ == "__main__":
    main()
