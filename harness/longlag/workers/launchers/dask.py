"""Workers on a Dask cluster: each slot is a task of Dask's that holds one worker process."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from longlag.errors import UserError
from longlag.packages import DISTRIBUTED
from longlag.workers.launchers import Launcher, Receiver
from longlag.workers.launchers.dask_host import ASK, LEASE, host
from longlag.workers.launchers.local import how_many, log_of
from longlag.workers.requests import RunRequest

if TYPE_CHECKING:
    from distributed import Client, Future, Queue


BEAT = LEASE / 10
CONNECT = 10  # seconds
CONTINUES = "; what is finished is kept, and the same command continues the study"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Dask:
    """Workers on a Dask cluster.

    Args:
        scheduler: address, such as ``tcp://host:8786``, or path of a scheduler file.
        resources: that each worker takes of what Dask's workers were started with, such as ``{"GPU": 1}``.

    Raises:
        MissingPackage: when Dask is not installed.
    """

    scheduler: str
    resources: Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse early, before a study is created."""
        DISTRIBUTED.require()

    def launcher(self, workers: int | Literal["auto"], most: int | None) -> Launcher:
        return DaskWorkers(self, None if workers == "auto" else how_many(workers, most))


class DaskWorkers:
    """One task a slot.

    Messages to a worker go through a queue of Dask's, of its own; messages from it are events under one topic. A beat
    in every queue says that this process lives: without one for a minute, workers save their runs and end.

    Args:
        settings: the cluster.
        workers: how many; None for one a thread of the cluster, however it grows.
    """

    inline = False

    def __init__(self, settings: Dask, workers: int | None) -> None:
        self.settings, self.workers = settings, workers
        self.topic = f"longlag-{uuid.uuid4().hex[:12]}"
        self.stack = ExitStack()
        self.client: Client
        self.supervisor: Receiver
        self.subscribed = False
        self.tasks: dict[int, Future[str]] = {}
        self.hosts: dict[int, tuple[str, str]] = {}
        """By slot, the name of its worker's queue and the address of its Dask worker."""
        self.queues: dict[str, Queue] = {}
        self.beaten = self.looked = -math.inf
        self.threads = 1

    def __enter__(self) -> Self:
        self.client = self.stack.enter_context(connected(self.settings.scheduler))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for inbox in self.queues.values():
            inbox.close()
        self.stack.close()

    def room(self) -> int:
        if self.workers is not None:
            return self.workers
        if time.monotonic() - self.looked > BEAT:  # a cluster may grow
            self.looked = time.monotonic()
            self.threads = threads(self.client, self.settings.resources)
        return max(1, self.threads)

    def start(self, slot: int, supervisor: Receiver) -> None:
        config, self.supervisor = supervisor.config, supervisor
        if not self.subscribed:
            self.client.subscribe_topic(self.topic, lambda event: self.receive(*event[1]))
            self.subscribed = True
        self.hosts.pop(slot, None)
        self.tasks[slot] = self.client.submit(
            host,
            config,
            str(log_of(config.home, config.name, slot)),
            slot,
            self.topic,
            key=f"{self.topic}-{slot}-{uuid.uuid4().hex[:8]}",
            resources=dict(self.settings.resources) or None,
            pure=False,
        )

    def receive(self, slot: int, inbox: str, message: list[Any]) -> None:
        """An event; called by a thread of Dask's client. Those of an earlier task of the slot are dropped."""
        before, address = self.hosts.get(slot, ("", ""))
        if message[0] == "hosted":
            self.hosts[slot] = inbox, message[1]
            if before:
                self.supervisor.post(
                    slot, ["lost", f"Dask lost its worker {address}; its run continues at {message[1]}"]
                )
        elif inbox == before:
            self.supervisor.post(slot, message)

    def run(self, slot: int, request: RunRequest) -> None:
        self.send(slot, "run", request.model_dump(mode="json"))

    def answer(self, slot: int, prune: str | None) -> None:
        self.send(slot, "answer", prune)

    def send(self, slot: int, *message: Any) -> None:
        from distributed import Queue

        name, _ = self.hosts[slot]
        with self.answering():
            if name not in self.queues:
                self.queues[name] = Queue(name, client=self.client)
            self.queues[name].put(list(message), timeout=CONNECT)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Raise `UserError` when the scheduler does not answer, or the client has given it up."""
        try:
            yield
        except Exception as error:
            if isinstance(error, OSError | TimeoutError) or self.client.status in ("closing", "closed"):
                raise UserError(
                    f"the Dask scheduler {self.settings.scheduler} does not answer any more{CONTINUES}"
                ) from error
            raise

    def stop(self) -> None:
        for slot in self.tasks:
            if slot in self.hosts:
                self.send(slot, "stop")
            else:  # it waits for a place in the cluster
                self.tasks[slot].cancel()

    def kill(self) -> None:
        for slot in [slot for slot in self.tasks if slot in self.hosts]:
            with suppress(UserError):  # workers end by themselves when the scheduler is gone
                self.send(slot, "kill")
        until = time.monotonic() + 3 * ASK
        while time.monotonic() < until and not all(task.done() for task in self.tasks.values()):
            time.sleep(0.1)
        self.tasks.clear()

    def tick(self) -> None:
        if time.monotonic() - self.beaten > BEAT:
            self.beaten = time.monotonic()
            for slot in [slot for slot in self.tasks if slot in self.hosts]:
                self.send(slot, "beat")
        for slot, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[slot]
                try:
                    how = self.how(slot, task)
                except UserError as error:  # the supervisor waits for the end of every slot
                    self.supervisor.post(slot, ["ended", str(error)])
                    raise
                self.supervisor.post(slot, ["ended", how])

    def how(self, slot: int, task: Future[str]) -> str:
        """How a task ended, in words.

        Raises:
            UserError: when no other task would fare better.
        """
        from distributed import KilledWorker

        if task.status == "finished":
            return str(task.result())
        if task.status != "error":  # cancelled: by `stop`, or because the scheduler has forgotten it
            if slot in self.hosts:
                raise UserError(f"the Dask scheduler {self.settings.scheduler} went away{CONTINUES}")
            return "it had no place in the cluster"
        error = task.exception()
        if not isinstance(error, KilledWorker):
            raise UserError(
                f"a Dask worker cannot work for longlag ({type(error).__name__}: {error}): it needs the longlag of "
                "this machine, and a home that it can write"
            )
        return f"Dask lost its workers again and again: {error}"

    def gave_up(self, slot: int, deaths: int, how: str) -> Exception:
        return UserError(f"{deaths} workers in a row died on the Dask cluster ({how}){CONTINUES}")


def threads(client: Client, resources: Mapping[str, float]) -> int:
    """How many of our workers Dask's can take at once."""
    count = 0
    for worker in client.scheduler_info(n_workers=-1)["workers"].values():
        have = worker["resources"]
        times = [int(have.get(name, 0) // need) for name, need in resources.items() if need > 0]
        count += min([worker["nthreads"], *times])
    return count


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the cluster.

    Raises:
        UserError: when the scheduler does not answer.
    """
    from distributed import Client

    place = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        client = Client(**place, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"the Dask scheduler {scheduler} does not answer ({reason}); start it by `dask scheduler`, docs/scaling.md"
        ) from error
    with client:
        yield client
