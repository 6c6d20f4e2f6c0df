"""Workers on a Dask cluster: placed, listened to, placed again when they are lost, and stopped."""

from __future__ import annotations

import math
import queue
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longlag.errors import UserError
from longlag.packages import DISTRIBUTED
from longlag.study.result import StudyCallback
from longlag.study.store import StudyStore
from longlag.study.worker import Job
from longlag.workers.dask_task import ASK, LEASE, work
from longlag.workers.events import dispatch
from longlag.workers.process import LOOK, PATIENCE
from longlag.workers.runner import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client, Future

BEAT = LEASE / 10
CONNECT = 10  # seconds
AGAIN = "; what is finished is kept, and the same command continues the study"


@dataclass(frozen=True)
class Dask:
    """Where workers are placed.

    Args:
        scheduler: address, such as ``tcp://host:8786``, or path of a scheduler file.
        resources: that each of our workers takes of what Dask's workers were started with, such as ``{"GPU": 1}``.

    Raises:
        MissingPackage: when Dask is not installed.
    """

    scheduler: str
    resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse early, before a study is created."""
        DISTRIBUTED.require()


class Cluster:
    """The workers of one sweep, each a task of Dask's that keeps one worker process going.

    Args:
        job: what each is told.
        count: how many; None for one a thread of the cluster, however it grows.
        study_store: the study.
        callbacks: told what the workers tell.
        stop: asked often; true stops the workers when they have saved what is in hand.
        dask: the cluster.
    """

    def __init__(
        self,
        job: Job,
        count: int | None,
        study_store: StudyStore,
        callbacks: Sequence[StudyCallback],
        stop: Callable[[], bool],
        dask: Dask,
    ) -> None:
        self.job, self.count, self.study_store, self.callbacks, self.stop, self.dask = (
            job,
            count,
            study_store,
            callbacks,
            stop,
            dask,
        )
        self.name = f"longlag-{job.spec.name}-{uuid.uuid4().hex[:8]}"
        self.events: queue.SimpleQueue[tuple[int, list[Any]]] = queue.SimpleQueue()
        self.futures: dict[int, Future[Any]] = {}
        self.lanes: list[list[StudyCallback]] = []
        self.hosts: dict[int, str] = {}
        self.losses = self.beats = 0
        self.renewed = self.placed = -math.inf
        self.wish: Literal["go", "stop", "kill"] = "go"
        self.mistake: str | None = None

    def go(self) -> None:
        """Until all workers have ended.

        Raises:
            Interrupted: when `stop` was true.
            UserError: what a worker found wrong, or when the scheduler does not answer.
        """
        with connected(self.dask.scheduler) as client:
            client.subscribe_topic(self.name, lambda event: self.events.put(tuple(event[1])))
            try:
                self.renew(client)
                self.place(client)
                while self.futures:
                    self.listen(time.monotonic() + LOOK)
                    if self.stop() and self.wish == "go":
                        self.wish, self.renewed = "stop", -math.inf
                    self.renew(client)
                    for index, future in list(self.futures.items()):
                        if future.done():
                            self.ended(client, index, future)
                    self.place(client)
                self.listen(time.monotonic())
            except BaseException:
                with suppress(Exception):
                    self.kill(client)
                raise
        if self.mistake is not None:
            raise UserError(self.mistake)
        if self.wish != "go" and not self.study_store.finished():
            raise Interrupted("stopped by hand")

    def kill(self, client: Client) -> None:
        """All at once; what they had in hand on this machine is put back, elsewhere when its heartbeat is missed."""
        self.wish, self.renewed = "kill", -math.inf
        self.renew(client)
        until = time.monotonic() + 3 * ASK
        while time.monotonic() < until and not all(future.done() for future in self.futures.values()):
            time.sleep(LOOK)
        with self.study_store.lock():
            self.study_store.recover_orphans()

    def renew(self, client: Client) -> None:
        """Say what is wanted, and that this process lives."""
        from distributed import Variable

        if time.monotonic() - self.renewed > BEAT:
            self.renewed, self.beats = time.monotonic(), self.beats + 1
            with lost_scheduler(self.dask.scheduler):
                Variable(self.name, client=client).set([self.beats, self.wish], timeout=CONNECT)

    def place(self, client: Client) -> None:
        """As many workers as are wanted and have trials to do; now and then, for a cluster may grow."""
        if self.wish != "go" or time.monotonic() - self.placed < BEAT:
            return
        self.placed = time.monotonic()
        count = self.count or room(client, self.dask.resources)
        if len(self.lanes) < count and self.study_store.total is not None:  # never more than trials
            count = min(count, self.study_store.total - self.study_store.finished_count())
        for index in range(len(self.lanes), max(count, 1)):
            self.lanes.append([callback.worker(index) for callback in self.callbacks])
            self.start(client, index)

    def start(self, client: Client, index: int) -> None:
        log = self.job.home / "logs" / f"{self.job.spec.name}-worker{index + 1}.txt"
        self.futures[index] = client.submit(
            work,
            self.job.model_dump_json(),
            self.job.threads,
            str(log),
            index,
            self.name,
            key=f"{self.name}-{index}-{uuid.uuid4().hex[:8]}",
            resources=dict(self.dask.resources) or None,
            pure=False,
        )

    def listen(self, until: float) -> None:
        """Hand on what the workers tell, for a while."""
        while True:
            try:
                index, what = self.events.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                return
            if what[0] == "hosted":
                if index in self.hosts:
                    self.died(index, f"Dask lost its worker {self.hosts[index]}; it goes on at {what[1]}")
                self.hosts[index] = what[1]
            elif what[0] == "worker_died":
                self.died(index, what[1])
            else:
                if what[0] == "trial_ended":
                    self.losses = 0
                for callback in self.lanes[index]:
                    dispatch(what, callback)
            if time.monotonic() > until:
                return

    def died(self, index: int, how: str) -> None:
        for callback in self.callbacks:
            callback.worker_died(index, how)

    def ended(self, client: Client, index: int, future: Future[Any]) -> None:
        """Place a worker again that was lost too often for Dask; after a mistake of the user's stop the others."""
        from distributed import KilledWorker

        del self.futures[index]
        if future.status == "finished":
            end, said = future.result()
            if end == "died":
                raise RuntimeError(f"{PATIENCE} worker processes in a row died ({said})")
            if end == "mistake":
                self.mistake = said
                self.wish, self.renewed = "stop", -math.inf
            return
        if future.status != "error":  # cancelled or lost: the scheduler has forgotten it
            raise UserError(f"the Dask scheduler {self.dask.scheduler} went away{AGAIN}")
        error = future.exception()
        if not isinstance(error, KilledWorker):
            raise UserError(
                f"a Dask worker cannot work for longlag ({type(error).__name__}: {error}): it needs the longlag of "
                "this machine, and a home that it can write"
            )
        self.losses += 1
        if self.losses >= PATIENCE:
            raise UserError(
                f"Dask's workers die again and again ({error}); is there too little memory for them?{AGAIN}"
            )
        if self.wish == "go":
            self.start(client, index)


def room(client: Client, resources: Mapping[str, float]) -> int:
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


@contextmanager
def lost_scheduler(scheduler: str) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise UserError(f"the Dask scheduler {scheduler} does not answer any more{AGAIN}") from error
