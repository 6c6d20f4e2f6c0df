"""Searches written as generators: each yields run requests, is sent their executions, and returns what it found."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from longlag.errors import UserError
from longlag.workers.requests import Execution, Failure, RunRequest

T = TypeVar("T")
Asking = Generator[Sequence[RunRequest], list[Execution], T]
"""Yields requests that may run side by side, and is sent their executions in the same order."""


def each(requests: Sequence[RunRequest]) -> Asking[list[Execution]]:
    """A plain list of runs."""
    return (yield requests)


@dataclass
class _Batch:
    """What one generator has asked for.

    Args:
        requests: in its order.
        executions: by place in that order.
    """

    requests: Sequence[RunRequest]
    executions: dict[int, Execution] = field(default_factory=dict)


class GeneratorSearch(Generic[T]):
    """Serves several generators at once. What one asks for next depends on its own results, never on their order.

    A run that fails ends the search with its exception: nothing sensible could be sent.
    """

    def __init__(self, generators: Sequence[Asking[T]]) -> None:
        self.generators = generators
        self.batches: dict[int, _Batch] = {}
        self.returned: dict[int, T] = {}
        self.waiting: deque[tuple[int, int]] = deque()
        """Requests that no slot has, as generator and place in its batch."""
        self.running: dict[int, tuple[int, int]] = {}
        """The same by worker slot."""
        for index in range(len(generators)):
            self.advance(index, None)

    @property
    def values(self) -> list[T]:
        """What the generators returned, in their order."""
        return [self.returned[index] for index in range(len(self.generators))]

    def advance(self, index: int, executions: list[Execution] | None) -> None:
        """Send a generator its executions, until it asks for something or returns."""
        generator = self.generators[index]
        try:
            requests = next(generator) if executions is None else generator.send(executions)
            while not requests:
                requests = generator.send([])
        except StopIteration as stop:
            self.returned[index] = stop.value
            return
        self.batches[index] = _Batch(requests)
        self.waiting.extend((index, place) for place in range(len(requests)))

    def ask(self, slot: int) -> RunRequest | None:
        if not self.waiting:
            return None
        index, place = self.running[slot] = self.waiting.popleft()
        return self.batches[index].requests[place]

    def evaluated(self, slot: int, update: int, score: float, earlier: bool) -> str | None:
        return None

    def tell(self, slot: int, outcome: Execution | Failure) -> None:
        if isinstance(outcome, Failure):
            raise outcome.error or UserError(f"a run failed: {outcome.reason}")
        index, place = self.running.pop(slot)
        batch = self.batches[index]
        batch.executions[place] = outcome
        if len(batch.executions) == len(batch.requests):
            del self.batches[index]
            self.advance(index, [batch.executions[place] for place in range(len(batch.requests))])

    def abandon(self, reason: str) -> None:
        """Nothing is kept: asking again finds what has finished."""

    def finished(self) -> bool:
        return len(self.returned) == len(self.generators)
