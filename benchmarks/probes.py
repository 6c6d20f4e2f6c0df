"""What watching gradients costs: ``python -m benchmarks.probes``.

One row a cell and size (T is the length of copy memory, which has some steps on top). A training step is a forward
pass, the loss and a backward pass of one layer and its readout, on one thread. The cheap curve is the norm of dL/ds_t
for every state, step and example, recorded while the backward pass of a training step runs anyway, and what is made of
it: means and quantiles by lag. A run takes it at every logged update, one in 20 by default. The costly probes run
passes of their own when the schedule asks for them. Everything runs in turn, and times are processor time, so that
others on the machine disturb little.

    ms           median time of a training step
    with curve   the same with the cheap curve
    cost %       median over the rounds of what the curve adds to the step that is logged
    least %      the same from the shortest times of both
    of training  the same in % over all steps, logged or not: the cheap curve's share of training time
    lag, jacobian, saturation, states
                 one call of each, in training steps; jacobian: with the Lyapunov exponents, on two sequences
    kept kB      memory that the record holds until the curve is read: 8 bytes a state, step and example
    peak MB      memory during a step without and
    with MB      with the curve, beyond what was there before
    costly MB    the same during the most demanding of the others

"-": left out (--cheap), or a layer that has no step from one state to the next.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from benchmarks.cells import LARGE, Size, names_from, parser_for, run
from benchmarks.timing import Step, machine, peak_megabytes, ratio, rounds
from longlag.kernels import memory
from longlag.models import Tensors, loss
from longlag.probes import curves, layers
from longlag.probes.lag import lag_curves, outputs
from longlag.spec import ProbeSpec, load_run
from longlag.training.environment import numerics
from longlag.training.probing import network, sequences

CELLS = "rnn,lstm,gru,urnn"
SIZES: tuple[Size, ...] = ((100, 50, 64), LARGE)
LOG_EVERY = ProbeSpec().log_every
CHEAP = ("ms", "with curve", "cost %", "least %", "of training")
COSTLY = ("lag", "jacobian", "saturation", "states")
MEMORY = ("kept kB", "peak MB", "with MB", "costly MB")
COLUMNS = (*CHEAP, *COSTLY, *MEMORY)


def measure(cell: str, size: Size, repeats: int, cheap: bool) -> dict[str, Any]:
    """One row."""
    length, batch_size, hidden = size
    torch.set_num_threads(1)
    spec = load_run({"task": {"name": "copy-memory", "length": length}, "cell": cell, "model": {"hidden_size": hidden}})
    model = network(spec, torch.float32)
    batch = sequences(spec, batch_size)
    tensors = Tensors.of(batch, torch.float32, torch.device("cpu"))
    made_of = outputs(model)

    def alone() -> None:
        loss(model.signature, model(tensors), tensors).backward()

    def probed() -> None:
        records = model.records()
        loss(model.signature, model(tensors, records), tensors).backward()
        curves(records, model.lengths(batch), made_of)

    def costly(kind: str) -> Step:
        def call() -> None:
            if kind == "lag":
                lag_curves(model, tensors)
            else:
                layers.measure(model, tensors, layers.load([kind]))

        return call

    slow = {} if cheap else {kind: costly(kind) for kind in COSTLY}
    probed()  # also builds the kernel
    peaks = {}
    for name, function in {"peak MB": alone, "with MB": probed, **slow}.items():
        memory.release()
        peaks[name] = peak_megabytes(function)
    times = rounds({"ms": alone, "with curve": probed}, slow, repeats, time.process_time)
    middle = {kind: statistics.median(values) for kind, values in times.items()}
    added = 100 * (ratio(times, "with curve", "ms") - 1)
    records = model.records()
    model(tensors, records)
    squares = [values for record in records.values() for values in record.squares.values()]
    return {
        "cell": cell, "T": length, "B": batch_size, "H": hidden, "threads used": 1,
        "ms": middle["ms"], "with curve": middle["with curve"], "cost %": added,
        "least %": 100 * (min(times["with curve"]) / min(times["ms"]) - 1),
        "of training": added / LOG_EVERY,
        **{kind: middle[kind] / middle["ms"] if kind in slow else None for kind in COSTLY},
        "kept kB": sum(s.numel() * s.element_size() for s in squares) / 1024,
        "peak MB": peaks["peak MB"], "with MB": peaks["with MB"],
        "costly MB": max((peaks[kind] or 0.0 for kind in slow), default=None),
    }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    start = f"{row['cell']:<18}{', '.join(str(row[k]) for k in 'TBH'):>14}"
    if "error" in row:
        return f"{start}  {row['error']}"
    shown = ("-" if row[c] is None else f"{row[c]:.2f}" if c == "of training" else f"{row[c]:.1f}" for c in COLUMNS)
    return start + "".join(f"{text:>12}" for text in shown)


def main(arguments: list[str] | None = None) -> None:
    parser = parser_for("benchmarks.probes", __doc__ or "")
    parser.add_argument("--cheap", action="store_true", help="the cheap curve alone")
    options = parser.parse_args(arguments)
    names = names_from(parser, options.cells or CELLS, variants=())
    sizes = options.sizes or (SIZES[:1] if options.quick else SIZES)
    repeats = options.repeats or (6 if options.quick else 14)
    about = machine()
    print(*(f"{key}: {value}" for key, value in about.items()), sep="\n")
    print(f"\n{'cell':<18}{'T, B, H':>14}" + "".join(f"{c:>12}" for c in COLUMNS))
    jobs = [(name, size, 1) for name in names for size in sizes]
    with numerics():
        run(jobs, lambda name, size, _: measure(name, size, repeats, options.cheap), line, options.json, about)


if __name__ == "__main__":
    main()
