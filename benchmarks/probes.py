"""What watching gradients through time costs: ``python -m benchmarks.probes``.

The cheap curve records the squared norm of dL/ds_t for every state, step and example while the backward pass of a
training step runs anyway. One row a cell and size; a training step is a forward and a backward pass of one layer with
two inputs and a gradient at every output, on one thread. Both kinds of step run in turn, and times are processor
time, so that others on the machine disturb little.

    loop        compiled, plain, scan or own, as in `benchmarks.cells`
    ms          median time of a training step
    with curve  the same with the curve recorded
    cost %      median over the rounds of what recording adds
    least %     the same from the shortest times of both
    kept kB     memory that the record holds until the curve is read: 8 bytes a state, step and example
    peak MB     memory during a step without and
    with MB     with the curve, beyond what was there before
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from benchmarks.cells import (
    INPUTS,
    LARGE,
    QUICK_SIZES,
    SIZES,
    Size,
    loop_of,
    names_from,
    parser_for,
    run,
    training_step,
)
from benchmarks.timing import machine, peak_megabytes, ratio, rounds
from harness.cells.base import Cell
from harness.cells.stack import build
from harness.kernels import StateGradients
from harness.kernels.compiled import memory

COLUMNS = ("ms", "with curve", "cost %", "least %", "kept kB", "peak MB", "with MB")


def measure(name: str, cell: Cell, size: Size, repeats: int) -> dict[str, Any]:
    """One row."""
    steps, batch, hidden = size
    torch.set_num_threads(1)
    layer = cell.layer(INPUTS, hidden, torch.Generator().manual_seed(0))
    x = torch.randn(steps, batch, INPUTS)
    seed = torch.ones(steps, batch, layer.output_size)
    record = StateGradients()
    layer(x, None, None, record)[0].backward(seed)  # also builds the kernel
    turns = {
        "ms": lambda: training_step(layer, x, seed),
        "with curve": lambda: training_step(layer, x, seed, record=True),
    }
    memory.release()
    peaks = [peak_megabytes(turns["ms"])]
    memory.release()
    peaks.append(peak_megabytes(turns["with curve"]))
    times = rounds(turns, {}, repeats, time.process_time)
    return {
        "cell": name, "T": steps, "B": batch, "H": hidden, "threads used": 1, "loop": loop_of(cell, layer),
        **{kind: statistics.median(times[kind]) for kind in turns},
        "cost %": 100 * (ratio(times, "with curve", "ms") - 1),
        "least %": 100 * (min(times["with curve"]) / min(times["ms"]) - 1),
        "kept kB": sum(s.numel() * s.element_size() for s in record.squares.values()) / 1024,
        "peak MB": peaks[0], "with MB": peaks[1],
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    start = f"{row['cell']:<22}{', '.join(str(row[k]) for k in 'TBH'):>15}  "
    if "error" in row:
        return f"{start}{row['error']}"
    shown = ("-" if row[c] is None else f"{row[c]:.1f}" for c in COLUMNS)
    return f"{start}{row['loop']:<9}" + "".join(f"{text:>12}" for text in shown)


def main(arguments: list[str] | None = None) -> None:
    parser = parser_for("benchmarks.probes", __doc__ or "")
    options = parser.parse_args(arguments)
    names = names_from(parser, options.cells)
    sizes = options.sizes or (QUICK_SIZES if options.quick else (*SIZES[:2], LARGE))
    repeats = options.repeats or (6 if options.quick else 14)
    torch.manual_seed(0)
    about = machine()
    print(*(f"{key}: {value}" for key, value in about.items()), sep="\n")
    print(f"\n{'cell':<22}{'T, B, H':>15}  {'loop':<9}" + "".join(f"{c:>12}" for c in COLUMNS))
    jobs = [(name, size, 1) for name in names for size in sizes]
    run(jobs, lambda name, size, _: measure(name, build(name), size, repeats), line, options.json, about)


if __name__ == "__main__":
    main()
