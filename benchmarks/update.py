"""What a whole training update takes, part by part: ``python -m benchmarks.update``.

An update is what `longlag run` repeats: it draws a batch, runs forward and backward, reads the gradients' norms,
clips, steps the optimizer and calls the probes. One thread. Columns, microseconds of an update (medians over the
rounds of the means in each):

    total       the whole update
    draw        the task's sequences, and the tensors made of them
    forward     the model; of it and of backward, `loop` is the compiled loop
    loss
    backward
    norms       of all gradients together, and at logged updates of every group
    clip
    optimizer
    probes      curves of the logged updates' own batch, and asking what is due
    rest        everything else
    loop %      share of the compiled loop
    torch x     how many times longer a plain script in torch takes: nn.LSTM, nn.GRU or nn.RNN (the one with as many
                gates), torch.optim.Adam, clip_grad_norm_, batches drawn by a few lines of torch; only for `adding`

The update and the script run in turn, round after round. Evaluations are left out. Times are the processor time of this
process; ``--clock wall`` takes the time that passes, which means something on an idle machine only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.cells import REFERENCES, cell_of, gates_of, sizes_from
from benchmarks.timing import machine
from longlag.kernels import memory
from longlag.kernels.targets.c.kernel import Library
from longlag.kernels.targets.c.scan_passes import CScanKernel
from longlag.spec import load_run
from longlag.training import clipping, loop, resume
from longlag.training.environment import frozen_imports, numerics

PARTS = ("draw", "forward", "loss", "backward", "norms", "clip", "optimizer", "probes")
SIZES = ((200, 20, 64), (750, 50, 128))
ROUND_SECONDS = 0.5
Clock = Callable[[], float]


class Parts:
    """Seconds by part, and the compiled loop's, which lies inside two of them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spent: dict[str, float] = {}

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = self.clock()
            try:
                return function(*arguments, **options)
            finally:
                self.spent[part] = self.spent.get(part, 0.0) + self.clock() - start

        return call

    @contextmanager
    def watching(self, run: loop.Run) -> Iterator[None]:
        """Time the parts of a run's updates."""
        places: list[tuple[Any, str, str]] = [
            (run.task, "sample", "draw"), (run, "tensors", "draw"), (run.network, "forward", "forward"),
            (loop, "loss", "loss"), (Tensor, "backward", "backward"), (clipping, "total_norm", "norms"),
            (loop, "by_group", "norms"), (clipping, "clip", "clip"), (run.optimizer, "step", "optimizer"),
            *((run.probes, name, "probes") for name in ("records", "before", "after", "trained", "look")),
            *((kind, name, "loop") for kind in (Library, CScanKernel) for name in ("forward", "backward")),
        ]  # fmt: skip
        with ExitStack() as stack:
            for owner, name, part in places:
                stack.enter_context(patch.object(owner, name, self.timed(part, getattr(owner, name))))
            yield


def run_of(task: dict[str, Any], cell: str, batch: int, hidden: int) -> loop.Run:
    """A run that never ends by itself."""
    spec = {
        "task": task, "cell": {"name": cell}, "model": {"hidden_size": hidden}, "clip": {"norm": 1.0},
        "training": {"batch_size": batch, "updates": 10**9, "eval_every": 10**9},
        "data": {"validation": 50, "test": 50},
    }  # fmt: skip
    return loop.Run(load_run(spec), (), None)


def updates(run: loop.Run, count: int) -> None:
    """Make that many updates: it is interrupted after each, as a user's Ctrl-C would."""

    def enough() -> bool:
        return run.update >= last

    last = run.update + count
    with patch.object(resume, "snapshot"):
        run.until_stopped(enough, NoCheckpoints())  # type: ignore[arg-type]


class NoCheckpoints:
    """Asked after every update, never due."""

    def due(self) -> bool:
        return False

    def write(self, saved: Any) -> None:
        """Nothing is kept."""


def script(gates: int, steps: int, batch: int, hidden: int) -> Callable[[int], None]:
    """The same training as a plain script in torch."""
    layer = REFERENCES[gates][0](2, hidden)
    readout = nn.Linear(hidden, 1)
    parameters = [*layer.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters)

    def draw() -> tuple[Tensor, Tensor]:
        values, marks, rows = torch.rand(steps, batch), torch.zeros(steps, batch), torch.arange(batch)
        first, second = torch.randint(0, steps // 2, (batch,)), torch.randint(steps // 2, steps, (batch,))
        marks[first, rows] = marks[second, rows] = 1
        return torch.stack([values, marks], -1), (values[first, rows] + values[second, rows]).unsqueeze(-1)

    def train(count: int) -> None:
        for _ in range(count):
            x, target = draw()
            optimizer.zero_grad()
            value = nn.functional.mse_loss(readout(layer(x)[0][-1]), target)
            value.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            value.item()

    return train


def measure(task: dict[str, Any], cell: str, size: tuple[int, int, int], repeats: int, clock: Clock) -> dict[str, Any]:
    """One row, in microseconds."""
    steps, batch, hidden = size
    run = run_of(task, cell, batch, hidden)
    plain = script(gates_of(cell_of(cell)), steps, batch, hidden) if task["name"] == "adding" else None
    updates(run, 3)
    start = clock()
    updates(run, 3)
    count = max(3, int(ROUND_SECONDS / max((clock() - start) / 3, 1e-6)))
    rounds, ratios = [], []
    for _ in range(repeats):
        start = clock()
        updates(run, count)
        total = clock() - start
        if plain is not None:
            start = clock()
            plain(count)
            ratios.append((clock() - start) / total)
        parts = Parts(clock)
        with parts.watching(run):
            start = clock()
            updates(run, count)
            rounds.append({"total": clock() - start} | parts.spent)
    row: dict[str, Any] = {"task": task["name"], "cell": cell, **dict(zip("TBH", size, strict=True))}
    row |= {name: 1e6 * statistics.median(r.get(name, 0.0) for r in rounds) / count for name in ("total", *PARTS)}
    row["rest"] = row["total"] - sum(row[name] for name in PARTS)
    row["loop %"] = 100 * statistics.median(r.get("loop", 0.0) / r["total"] for r in rounds)
    row["torch x"] = statistics.median(ratios) if ratios else None
    return row


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.update", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="adding", help="a task with an option length")
    parser.add_argument("--cells", default="lstm,gru,rnn", help="names, separated by commas")
    parser.add_argument("--sizes", type=sizes_from, default=SIZES, help="T:B:H, separated by commas; T is the length")
    parser.add_argument("--repeats", type=int, default=7, help="rounds")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="what a time is")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args(arguments)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    torch.manual_seed(0)
    torch.set_num_threads(1)
    about = machine()
    print(*(f"{key}: {value}" for key, value in about.items()), sep="\n")
    columns = ("total", *PARTS, "rest", "loop %", "torch x")
    print(f"\n{'cell':<18}{'T, B, H':>14}" + "".join(f"{name:>10}" for name in columns))
    rows = []
    memory.keep()
    with numerics(), frozen_imports():
        for cell in options.cells.split(","):
            for size in options.sizes:
                row = measure({"name": options.task, "length": size[0]}, cell, size, options.repeats, clock)
                rows.append(row)
                shown = ("-" if row[c] is None else f"{row[c]:.1f}" for c in columns)
                print(f"{cell:<18}{', '.join(map(str, size)):>14}" + "".join(f"{t:>10}" for t in shown), flush=True)
                if options.json:
                    options.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
