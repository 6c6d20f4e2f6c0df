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

from harness.cli.display import duration, number, share, value
from harness.search.result import State, Watcher
from harness.spec import RunSpec, StudySpec
from harness.training import RunResult

LINE_EVERY = 5.0  # seconds between lines about one run, where there is no terminal
LATEST = 6  # finished trials that stay on the screen


class Progress(Watcher):
    """Draws `render` a few times a second in a terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.live: Live | None = None
        self.spec: RunSpec | None = None
        self.update = 0
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
        self.console.print(text, markup=False, soft_wrap=True)

    def render(self) -> RenderableType:
        return self.run_line()

    # -- of the run in hand -----------------------------------------------------------------------------------------

    def run_started(self, spec: RunSpec) -> None:
        self.spec, self.update = spec, 0
        self.loss = self.score = float("nan")
        self.run_began = self.last_line = time.monotonic()

    def measured(self, update: int, values: Mapping[str, float]) -> None:
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
        if self.spec is None or self.update == 0:
            return None
        pace = (time.monotonic() - self.run_began) / self.update
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
        super().__init__()
        self.run_started(spec)


class SweepProgress(Progress):
    """Of `longlag sweep`: the trial in hand, the latest ones, and the time left."""

    def __init__(self) -> None:
        super().__init__()
        self.study: StudySpec | None = None
        self.done = self.before = self.total = 0
        self.began = time.monotonic()
        self.trial = ""
        self.latest: list[str] = []

    def study_started(self, spec: StudySpec, done: int, total: int) -> None:
        self.study, self.done, self.before, self.total = spec, done, done, total
        self.began = time.monotonic()
        if self.live is None:
            self.line(f"study {spec.name}: {total} trials{f', {done} of them done before' if done else ''}")

    def trial_started(self, number: int, point: Mapping[str, Any]) -> None:
        self.trial = f"trial {number}: " + (", ".join(_short(path, v) for path, v in point.items()) or "the base run")

    def trial_ended(self, number: int, state: State, objective: float | None, reason: str) -> None:
        self.done += 1
        self.spec = None
        what = f"{share(objective)} of trivial" if objective is not None else f"{state}: {reason}"
        self.latest = [*self.latest[1 - LATEST :], f"{self.trial}: {what}"]
        if self.live is None:
            left = self.left()
            still = "" if left is None else f", about {duration(left)} left"
            self.line(f"[{self.done}/{self.total}] {self.latest[-1]}{still}")

    def left(self) -> float | None:
        """Seconds, judging by the trials of this sweep."""
        here = self.done - self.before
        if here < 1 or self.done >= self.total:
            return None
        return (time.monotonic() - self.began) / here * (self.total - self.done)

    def render(self) -> RenderableType:
        if self.study is None:
            return Text("opening the study …")
        left = self.left()
        head = Table.grid(padding=(0, 1))
        still = "" if left is None else f", about {duration(left)} left"
        passed = duration(time.monotonic() - self.began)
        head.add_row(
            Text(self.study.name, style="bold"),
            ProgressBar(total=self.total, completed=self.done, width=24),
            f"{self.done} of {self.total} trials, {passed}{still}",
        )
        return Group(head, *(Text(f"  {line}", style="dim") for line in self.latest), Text(self.trial), self.run_line())


def _short(path: str, given: Any) -> str:
    last = path.rpartition(".")[2]
    return value(given) if path in ("cell", "optimizer", "task") else f"{last} {value(given)}"
