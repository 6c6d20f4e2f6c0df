"""Launchers: what starts workers and carries their messages. One file each; entry points `longlag.executors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import ValidationError

from longlag import registry
from longlag.errors import UserError, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from longlag.tracking.store import Store
    from longlag.training import RunCallback
    from longlag.workers.messages import Message
    from longlag.workers.requests import Execution, Failure, RunRequest, WorkerConfig


class Executor(Protocol):
    """The settings of a launcher, as ``--executor`` gives them: a frozen pydantic dataclass."""

    def launcher(self, workers: int | Literal["auto"], most: int | None) -> Launcher:
        """A launcher of so many workers, or of as many as there is room for; more than `most` would find no runs."""


class Receiver(Protocol):
    """What launchers see of the supervisor. All methods but `post` are for a worker that is this process."""

    config: WorkerConfig
    store: Store
    callbacks: Callable[[int], Sequence[RunCallback]]
    stop: Callable[[], bool]

    def post(self, index: int, message: Message) -> None:
        """Queue a worker's message; from any thread."""

    def ready(self, index: int) -> None: ...

    def scored(self, index: int, update: int, score: float, earlier: bool) -> str | None: ...

    def ended(self, index: int, outcome: Execution | Failure) -> None: ...


class Launcher(Protocol):
    """Starts workers and carries their messages. A context manager, entered for the time of a search.

    Every worker slot has at most one worker. All methods are called from one thread.

    Attributes:
        inline: the worker is this process; `run` returns when the run has ended.
    """

    inline: bool

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def room(self) -> int:
        """How many workers there may be at present."""

    def start(self, slot: int, supervisor: Receiver) -> None:
        """Start the slot's worker, with `supervisor.config`.

        Its messages (`longlag.workers.messages`) go to `Receiver.post`, beginning with ``ready``. When it is gone,
        ``ended`` follows, with how in words; or ``lost``, where the launcher starts another one by itself.
        """

    def run(self, slot: int, request: RunRequest) -> None:
        """Give a ready worker a request."""

    def answer(self, slot: int, prune: str | None) -> None:
        """Answer a worker's ``score``: why to prune its run, or None."""

    def stop(self) -> None:
        """Let all workers save their runs and end."""

    def kill(self) -> None:
        """End all workers at once; nothing where none is left."""

    def tick(self) -> None:
        """Called several times a second."""

    def gave_up(self, slot: int, deaths: int, how: str) -> Exception:
        """What to raise when so many workers died in a row."""


def executor(fields: Any) -> Executor:
    """The executor of a name, or of a mapping with a name and its settings.

    Raises:
        UserError: one sentence, where there is none of this name or a setting is wrong.
    """
    given = dict(fields) if isinstance(fields, dict) else {"name": fields}
    name = str(given.pop("name", ""))
    settings = registry.load("executor", name)
    try:
        made: Executor = settings(**given)
    except ValidationError as error:
        raise UserError(explain(error, f"executor {name}")) from error
    return made
