"""Ctrl-C once: stop when the runs are saved. Twice: stop now."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAID = b"\nstopping: saving the runs; once more stops at once\n"


class Stop:
    """Whether somebody asked to stop; asked by calling it.

    Attributes:
        signal: by which; None for no signal.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        return self.requested


@contextmanager
def graceful(deliver: bool = True) -> Iterator[Stop]:
    """Note the first SIGINT, SIGTERM or SIGHUP; pass the second to the handler from before.

    Args:
        deliver: at the end, pass the first one to the handler from before, such as the one that raises
            `KeyboardInterrupt`.

    Outside of the main thread signals cannot be set: they stay as they are.
    """
    stop = Stop()
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested and deliver:
            _deliver(before, number)
        if deliver and not stop.requested:
            os.write(2, SAID)
        stop.requested, stop.signal = True, signal.Signals(number)

    try:
        for number in SIGNALS:
            before[number] = signal.signal(number, handle)
    except ValueError:
        pass
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if deliver and stop.signal is not None:
        _deliver(before, stop.signal)


def _deliver(before: dict[int, Any], number: int) -> None:
    handler: Callable[[int, FrameType | None], Any] | int | None = before.get(number)
    if callable(handler):
        handler(number, None)
    raise KeyboardInterrupt
