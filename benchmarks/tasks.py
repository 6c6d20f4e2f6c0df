"""What drawing a training batch costs: ``python -m benchmarks.tasks``.

For every task at its quick start (the first command of its page in ``docs/tasks``), with an LSTM, on one thread. The
two are done in turn, round after round, and times are processor time, so that others on the machine disturb little. A
training step is what a run does with a batch: forward, loss, backward, norm, clip, optimizer.

    made      yes: a law makes every batch's sequences; no: they are there, recorded or made before, and drawn from
    T, U      steps of the inputs and of the targets of one batch
    draw ms   median time to draw a batch
    step ms   median time of a training step
    share %   of drawing in both: the median over the rounds
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from benchmarks.quickstarts import quick_start, tasks
from benchmarks.timing import machine, rounds
from longlag.errors import UserError
from longlag.spec import RunSpec, load_run
from longlag.task import Batch
from longlag.training.clipping import clip, total_norm
from longlag.training.environment import numerics
from longlag.training.loop import Run

HELD = frozenset(
    "captioning characters chorales dates forecasting japanese-vowels listops number-names parallel-corpus "
    "pixel-digits scan series-classification speech-corpus spoken-words".split()
)
"""Tasks whose sequences are there before training begins, recorded or made once, and are drawn from."""

AT_A_TIME = 10
"""Batches that are timed together: batches differ in length, and one is quick to draw."""


def measure(name: str, repeats: int) -> str:
    """One row."""
    spec = quick_start(name, "lstm")
    small = {**spec.model_dump(mode="json"), "data": {"validation": 50, "test": 1}}
    run = Run(load_run(small), [], None)
    rng, size = np.random.default_rng(0), spec.training.batch_size
    drawn: list[Batch] = []

    def draw() -> None:
        drawn[:] = [run.task.sample(rng, size) for _ in range(AT_A_TIME)]

    def train() -> None:
        for batch in drawn:
            step(run, spec, batch)

    draw()
    times = rounds({"draw": draw, "train": train}, {}, repeats, time.process_time)
    pairs = zip(times["draw"], times["train"], strict=True)
    share = 100 * statistics.median(a / (a + b) for a, b in pairs)
    draw_ms, step_ms = (statistics.median(times[kind]) / AT_A_TIME for kind in ("draw", "train"))
    batch = drawn[0]
    steps = f"{batch.steps}, {len(batch.targets) if run.per_step else 1}"
    return f"{name:<22}{'no' if name in HELD else 'yes':>5}{steps:>12}{draw_ms:>10.3f}{step_ms:>10.2f}{share:>9.2f}"


def step(run: Run, spec: RunSpec, batch: Batch) -> None:
    """What the training loop does with a batch."""
    run.backward(run.tensors(batch))
    norm = total_norm([p.grad for p in run.parameters if p.grad is not None])
    clip(spec.clip, run.parameters, norm)
    run.optimizer.step()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("benchmarks.tasks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", help="separated by commas; all by default")
    parser.add_argument("--repeats", type=int, default=9, help="rounds, of ten batches each")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(*(f"{key}: {value}" for key, value in machine().items()), sep="\n")
    print(f"\n{'task':<22}{'made':>5}{'T, U':>12}{'draw ms':>10}{'step ms':>10}{'share %':>9}")
    with numerics():
        for name in tasks(options.tasks):
            try:
                print(measure(name, options.repeats), flush=True)
            except UserError as error:
                print(f"{name:<22}{error}", flush=True)


if __name__ == "__main__":
    main()
