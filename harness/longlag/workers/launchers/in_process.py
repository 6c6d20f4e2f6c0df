"""One worker that is this process: runs are trained where the search is asked, and callbacks see everything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from traceback import walk_tb
from types import TracebackType
from typing import Self

from longlag.training import RunCallback
from longlag.training.environment import frozen_imports, torch_threads
from longlag.workers.launchers import Receiver
from longlag.workers.requests import Failure, RunRequest
from longlag.workers.runner import perform


class InProcess:
    """Trains a run as soon as it is given one, and returns when it has ended."""

    inline = True

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.supervisor: Receiver

    def __enter__(self) -> Self:
        self.stack.enter_context(frozen_imports())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stack.close()

    def room(self) -> int:
        return 1

    def start(self, slot: int, supervisor: Receiver) -> None:
        self.supervisor = supervisor
        self.stack.enter_context(torch_threads(supervisor.config.threads))
        supervisor.ready(slot)

    def run(self, slot: int, request: RunRequest) -> None:
        supervisor = self.supervisor
        errors: list[Exception] = []

        def report(update: int, score: float, earlier: bool) -> str | None:
            try:
                return supervisor.scored(slot, update, score, earlier)
            except Exception as error:
                errors.append(error)
                raise

        callbacks = supervisor.callbacks(slot)
        outcome = perform(request, supervisor.config, supervisor.store, callbacks, supervisor.stop, report)
        if errors:  # of the search, such as a database that is gone: no failure of the run
            raise errors[0]
        if isinstance(outcome, Failure) and outcome.error is not None and in_callback(outcome.error, callbacks):
            raise outcome.error
        supervisor.ended(slot, outcome)

    def answer(self, slot: int, prune: str | None) -> None:
        """`Receiver.scored` has returned it already."""

    def stop(self) -> None:
        """No run is being trained when this is called."""

    def kill(self) -> None:
        """Nor then."""

    def tick(self) -> None:
        """Nothing happens beside the runs."""

    def gave_up(self, slot: int, deaths: int, how: str) -> Exception:
        raise NotImplementedError("this process would be dead")


def in_callback(error: BaseException, callbacks: Sequence[RunCallback]) -> bool:
    """Whether one of the callbacks raised it: the caller's mistake, as it is with worker processes; no failed run."""
    selves = (frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__))
    return any(each is callback for each in selves for callback in callbacks)
