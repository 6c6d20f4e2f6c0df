"""Time and memory over the length of a sequence: ``python -m benchmarks.length``.

The second table of `benchmarks.cells`: a cell at lengths from 100 to 10,000 steps, and what keeping the states of
every so many steps only (`training.checkpoint_steps`) costs and saves at each. One thread, processor time, everything
in turn, as there.

    ms          median time of a training step
    us a step   the same divided by T
    x first     the time a step over that at the first length: 1 is a cost linear in T
    chunk       steps between the states that are kept
    x time      a training step with chunks over one without
    peak MB     of memory during a step without
    chunk MB    and with chunks, beyond what was there before
    difference  the largest between the gradients with and without chunks, over the largest gradient of that tensor
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.cells import INPUTS, Size, cell_of, names_from, parser_for, run, training_step
from benchmarks.timing import machine, peak_megabytes, ratio, rounds
from longlag.cells.base import Cell, GatedLayer, Layer
from longlag.kernels import memory

CELLS = "lstm,gru,rnn"
SIZES: tuple[Size, ...] = ((100, 20, 64), (1000, 20, 64), (10_000, 20, 64), (10_000, 50, 128))
CHUNK = 100
COLUMNS = ("ms", "us a step", "chunk", "x time", "peak MB", "chunk MB", "difference", "x first")


def gradients(layer: Layer, x: Tensor, seed: Tensor) -> list[Tensor]:
    layer.zero_grad()
    training_step(layer, x, seed)
    return [p.grad.clone() for p in layer.parameters() if p.grad is not None]


def measure(name: str, cell: Cell, size: Size, repeats: int) -> dict[str, Any]:
    """One row.

    Raises:
        TypeError: for a cell whose layer is no compiled recurrence.
    """
    steps, batch, hidden = size
    torch.set_num_threads(1)
    layer = cell.layer(INPUTS, hidden, torch.Generator().manual_seed(0))
    if not isinstance(layer, GatedLayer):
        raise TypeError(f"{name} is no recurrence of gates and a core")
    x, seed = torch.randn(steps, batch, INPUTS), torch.randn(steps, batch, layer.output_size)
    chunk = min(CHUNK, steps // 2)

    def step(checkpoint_steps: int | None) -> None:
        layer.checkpoint_steps = checkpoint_steps
        training_step(layer, x, seed)

    layer.checkpoint_steps = None
    whole = gradients(layer, x, seed)
    layer.checkpoint_steps = chunk
    parts = gradients(layer, x, seed)
    difference = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(whole, parts, strict=True))
    turns = {"whole": lambda: step(None), "chunks": lambda: step(chunk)}
    peaks = []
    for turn in turns.values():
        memory.release()
        peaks.append(peak_megabytes(turn))
    times = rounds(turns, {}, repeats, time.process_time)
    ms = statistics.median(times["whole"])
    return {
        "cell": name, "T": steps, "B": batch, "H": hidden, "ms": ms, "us a step": 1e3 * ms / steps, "chunk": chunk,
        "x time": ratio(times, "chunks", "whole"), "peak MB": peaks[0], "chunk MB": peaks[1], "difference": difference,
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    start = f"{row['cell']:<18}{', '.join(str(row[k]) for k in 'TBH'):>15}"
    if "error" in row:
        return f"{start}  {row['error']}"
    shown = ("-" if row[c] is None else f"{row[c]:.3g}" for c in COLUMNS)
    return start + "".join(f"{text:>11}" for text in shown)


def main(arguments: list[str] | None = None) -> None:
    parser = parser_for("benchmarks.length", __doc__ or "")
    options = parser.parse_args(arguments)
    names = names_from(parser, options.cells or CELLS)
    sizes = options.sizes or (SIZES[:3] if options.quick else SIZES)
    repeats = options.repeats or (3 if options.quick else 5)
    torch.manual_seed(0)
    about = machine()
    print(*(f"{key}: {value}" for key, value in about.items()), sep="\n")
    print(f"\n{'cell':<18}{'T, B, H':>15}" + "".join(f"{c:>11}" for c in COLUMNS))
    first: dict[tuple[str, int, int], float] = {}

    def one(name: str, size: Size, _: int) -> dict[str, Any]:
        row = measure(name, cell_of(name), size, repeats)
        row["x first"] = row["us a step"] / first.setdefault((name, *size[1:]), row["us a step"])
        return row

    run([(name, size, 1) for name in names for size in sizes], one, line, options.json, about)


if __name__ == "__main__":
    main()
