"""Live progress on stderr: a table that is redrawn in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from longlag import escape
from longlag.analysis.result import State
from longlag.cli import terminal
from longlag.cli.terminal import duration, number, share, value
from longlag.spec import RunSpec, StudySpec
from longlag.study.callback import StudyCallback
from longlag.training import RunResult

LINE_EVERY = 5.0  # seconds between lines about one run, where there is no terminal
INTERRUPTED = "stopped by hand"
LATEST = 6  # finished trials that stay on the screen


class Progress(StudyCallback):
    """Draws `render` a few times a second in a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live: Live | None = None
        self.spec: RunSpec | None = None
        self.update = self.first = 0
        self.loss = self.score = float("nan")
        self.run_began = self.last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live = Live(console=self.console, get_renderable=self.render, refresh_per_second=4, transient=True)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def line(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def render(self) -> RenderableType:
        return self.run_line()

    # -- of the run ----------------------------------------------------------------------------------------------------

    def run_started(self, spec: RunSpec) -> None:
        self.spec, self.update, self.first = spec, 0, 0
        self.loss = self.score = float("nan")
        self.run_began = self.last_line = time.monotonic()

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        if not self.update and update > 1:  # it continues from a checkpoint
            self.first, self.run_began = update, time.monotonic()
        self.update = update
        self.loss = values.get("train/loss", self.loss)

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.score = score
        if self.live is None and time.monotonic() - self.last_line > LINE_EVERY:
            self.last_line = time.monotonic()
            self.line(self.state())

    def finished(self, result: RunResult) -> None:
        self.spec = None

    def state(self) -> str:
        """Where the run stands, in a line."""
        if self.spec is None:
            return ""
        left = self.run_left()
        return (
            f"update {self.update} of {self.spec.training.updates}, loss {number(self.loss)}, "
            f"validation {share(self.score)} of trivial{'' if left is None else f', at most {duration(left)} left'}"
        )

    def run_left(self) -> float | None:
        """Seconds until the run has used up its budget; it may be solved before."""
        if self.spec is None or self.update <= self.first:
            return None
        pace = (time.monotonic() - self.run_began) / (self.update - self.first)
        return pace * (self.spec.training.updates - self.update)

    def run_line(self) -> RenderableType:
        if self.spec is None:
            return Text("…")
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self.spec.training.updates, completed=self.update, width=24)
        grid.add_row(bar, self.state())
        return grid


class RunProgress(Progress):
    """Of `longlag run`."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(terminal.errors())
        self.run_started(spec)


class WorkerProgress(StudyCallback):
    """The trial of one worker; what has ended goes to the sweep's progress."""

    def __init__(self, sweep: SweepProgress) -> None:
        self.sweep = sweep
        self.trial = ""
        self.run = Progress(sweep.console)

    def trial_started(self, number: int, point: Mapping[str, Any]) -> None:
        self.trial = f"trial {number}: " + (", ".join(_short(path, v) for path, v in point.items()) or "the base run")

    def run_started(self, spec: RunSpec) -> None:
        self.run.run_started(spec)

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        self.run.measured(update, values)

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.run.score = score
        self.sweep.evaluated_in(self)

    def finished(self, result: RunResult) -> None:
        self.run.finished(result)
        self.sweep.updates += result.updates

    def trial_ended(self, number: int, state: State, objective: float | None, reason: str) -> None:
        self.run.spec = None
        self.sweep.ended(self.trial, state, objective, reason)
        self.trial = ""

    def worker_died(self, index: int, how: str) -> None:
        self.run.spec = None
        trial = self.trial.partition(":")[0]
        self.sweep.line(f"worker {index + 1} died ({how}){f'; {trial} continues from its checkpoint' if trial else ''}")

    def render(self) -> RenderableType:
        return Group(self.trial, self.run.run_line()) if self.trial else Text("…", style="dim")


class SweepProgress(Progress):
    """Of `longlag sweep`: the running trials, the latest finished ones, and the time left."""

    def __init__(self) -> None:
        super().__init__(terminal.errors())
        self.study: StudySpec | None = None
        self.done = self.before = 0
        self.total: int | None = None
        self.updates = self.updates_before = 0
        self.hours_before = 0.0
        self.began = time.monotonic()
        self.slots: dict[int, WorkerProgress] = {}
        self.latest: list[str] = []

    def worker(self, index: int) -> StudyCallback:
        return self.slots.setdefault(index, WorkerProgress(self))

    def study_started(self, spec: StudySpec, done: int, total: int | None) -> None:
        self.study, self.done, self.before, self.total = spec, done, done, total
        self.began = time.monotonic()

    def budget(self, updates: int, hours: float) -> None:
        self.updates = self.updates_before = updates
        self.hours_before = hours
        if self.live is None and self.study is not None:
            before = f", {self.done} of them done before" if self.done else ""
            self.line(f"study {self.study.name}: {self.bounds()}{before}")

    def evaluated_in(self, slot: WorkerProgress) -> None:
        if self.live is None and time.monotonic() - self.last_line > LINE_EVERY:
            self.last_line = time.monotonic()
            self.line(f"{slot.trial.partition(':')[0]}, {slot.run.state()}")

    def ended(self, trial: str, state: State, objective: float | None, reason: str) -> None:
        again = state == "failed" and reason.startswith(INTERRUPTED)  # it is queued again, and still to be done
        self.done += not again
        what = self.objective(objective) if objective is not None else f"{state}: {escape.line(reason)}"
        self.latest = [*self.latest[1 - LATEST :], f"{trial}: {what}"]
        if self.live is None:
            left = self.left()
            still = "" if left is None else f", about {duration(left)} left"
            of = "" if self.total is None else f"/{self.total}"
            self.line(f"[{self.done}{of}] {self.latest[-1]}{still}")

    def objective(self, value: float) -> str:
        name = self.study.objectives[0] if self.study is not None else "score"
        return f"{share(value)} of trivial" if name == "score" else f"{name} {number(value)}"

    def bounds(self) -> str:
        """What ends the study."""
        assert self.study is not None
        given = {"trials": self.total, "updates": self.study.total_updates, "hours": self.study.hours}
        return " or ".join(f"{bound:,} {name}" for name, bound in given.items() if bound is not None)

    def used(self) -> list[tuple[float, float, float]]:
        """Of every bound: how much there is of it, how much is used, and how much of that by this sweep."""
        if self.study is None:
            return []
        passed = time.monotonic() - self.began
        found: list[tuple[float, float, float]] = []
        if self.total is not None:
            found.append((self.total, self.done, self.done - self.before))
        if self.study.total_updates is not None:
            found.append((self.study.total_updates, self.updates, self.updates - self.updates_before))
        if self.study.hours is not None:
            found.append((self.study.hours * 3600, self.hours_before * 3600 + passed, passed))
        return found

    def left(self) -> float | None:
        """Seconds until the first bound is reached, judging by the pace of this sweep."""
        passed = time.monotonic() - self.began
        each = [passed / here * (bound - used) for bound, used, here in self.used() if here > 0]
        soonest = min(each, default=0.0)
        return soonest if soonest > 0 else None

    def render(self) -> RenderableType:
        if self.study is None:
            return Text("opening the study …")
        left = self.left()
        head = Table.grid(padding=(0, 1))
        still = "" if left is None else f", about {duration(left)} left"
        passed = duration(time.monotonic() - self.began)
        head.add_row(
            terminal.styled(self.study.name, "bold"),
            ProgressBar(
                total=1.0, completed=max((used / bound for bound, used, _ in self.used()), default=0), width=24
            ),
            f"{self.done} of {self.bounds()}, {passed}{still}",
        )
        latest = (terminal.styled(f"  {line}", "dim") for line in self.latest)
        return Group(head, *latest, *(slot.render() for _, slot in sorted(self.slots.items())))


def _short(path: str, given: Any) -> str:
    last = path.rpartition(".")[2]
    return value(given) if path in ("cell", "optimizer", "task") else f"{last} {value(given)}"
