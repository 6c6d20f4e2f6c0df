"""What the probes of a run cost, in a training step: ``python -m benchmarks.watch``.

For each cell a training step (forward, loss, backward, of one layer and its readout on copy memory) is timed with and
without the record of the total curve, in turn, and each costly probe once a call. A run logs every `log_every` (20)
updates, and the cheap curve is taken there alone: its share of training time is what one costs over 20 steps.

    step ms       a training step without a record
    record %      what the record and the curve add to the step that is logged
    of training   the same over 20 steps: the cheap curve's share of training time
    lag, jacobian, saturation, states
                  one call of each, in training steps
    peak MB       of memory during the most costly of them, beyond what was there before
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.timing import peak_megabytes
from harness.models import Tensors, loss
from harness.probes import curves
from harness.probes.dynamics import dynamics
from harness.probes.lag import lag_curves, outputs
from harness.spec import load_run
from harness.training.environment import numerics
from harness.training.probing import network, sequences

CELLS = "rnn,lstm,gru,urnn"
LOG_EVERY = 20


def milliseconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Every function in turn, round after round; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if number:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def measure(cell: str, length: int, batch_size: int, hidden: int, repeats: int) -> str:
    spec = load_run({"task": {"name": "copy-memory", "length": length}, "cell": cell, "model": {"hidden_size": hidden}})
    model = network(spec, torch.float32).train()
    batch = sequences(spec, batch_size)
    tensors = Tensors.of(batch, torch.float32, torch.device("cpu"))
    made_of = outputs(model)

    def step(recorded: bool) -> None:
        records = model.records() if recorded else None
        loss(model.signature, model(tensors, records), tensors).backward()
        if records is not None:
            curves(records, model.lengths(batch), made_of)

    fast = milliseconds({"plain": lambda: step(False), "recorded": lambda: step(True)}, repeats)
    base = statistics.median(fast["plain"])
    added = 100 * (statistics.median(b / a for a, b in zip(fast["plain"], fast["recorded"], strict=True)) - 1)
    model.eval()
    costly: dict[str, Callable[[], object]] = {"lag": lambda: lag_curves(model, tensors)}
    for kind in ("jacobian", "saturation", "states"):
        costly[kind] = lambda kind=kind: dynamics(model, tensors, (kind,))  # type: ignore[misc]
    slow = {name: statistics.median(times) / base for name, times in milliseconds(costly, 2).items()}
    most = max((peak_megabytes(lambda f=f: f() and None) or 0.0) for f in costly.values())  # type: ignore[misc]
    shares = "".join(f"{slow[name]:>12.1f}" for name in costly)
    return f"{cell:<12}{base:>9.1f}{added:>10.1f}{added / LOG_EVERY:>13.2f}{shares}{most:>10.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cells", default=CELLS)
    parser.add_argument("--length", type=int, default=100, help="of copy memory")
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--hidden-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    heads = "".join(f"{name:>12}" for name in ("lag", "jacobian", "saturation", "states"))
    print(f"{'cell':<12}{'step ms':>9}{'record %':>10}{'of training %':>14}{heads}{'peak MB':>9}")
    with numerics():
        for cell in options.cells.split(","):
            sizes = (options.length, options.batch_size, options.hidden_size, options.repeats)
            print(measure(cell, *sizes), flush=True)


if __name__ == "__main__":
    main()
