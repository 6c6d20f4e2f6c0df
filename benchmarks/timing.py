"""Comparing times on a machine that does other things as well: everything in turn, round after round."""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from longlag.kernels import memory, tags
from longlag.training.environment import frozen_imports, numerics

Step = Callable[[], None]
TURN_SECONDS = 0.03
MOST_A_TURN = 100
SLOW_ROUNDS = 2
"""Rounds for what takes several times longer than the rest: loops in Python."""


def on(threads: int, function: Step) -> Step:
    """`function` with that many torch threads."""

    def run() -> None:
        torch.set_num_threads(threads)
        function()

    return run


def rounds(
    fast: dict[str, Step], slow: dict[str, Step], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Times in ms, everything in turn; the order changes, so that nobody always runs in the wake of the same one.

    In its turn a short step runs several times over, as it does in training, so that neither the clock nor what the
    one before left in the caches decides. The process is set up as it is for training: denormal numbers flushed, freed
    memory kept, and what was imported not looked through by the garbage collector, which is as likely to start in
    anybody's turn.
    """
    memory.keep()
    with numerics(), frozen_imports():
        often = {}
        for name, function in (fast | slow).items():  # the first turn warms up, the second says how long one takes
            function()
            start = clock()
            function()
            often[name] = max(1, min(MOST_A_TURN, int(TURN_SECONDS / max(clock() - start, 1e-9))))
        times: dict[str, list[float]] = {name: [] for name in (*fast, *slow)}
        for number in range(repeats):
            turns = list((fast | slow if number < SLOW_ROUNDS else fast).items())
            first = number // 2 % len(turns)
            turns = turns[first:] + turns[:first]
            for name, function in turns if number % 2 else turns[::-1]:
                start = clock()
                for _ in range(often[name]):
                    function()
                times[name].append(1e3 * (clock() - start) / often[name])
        return times


def ratio(times: dict[str, list[float]], above: str, below: str) -> float:
    """The median over the rounds of the ratio in each: a disturbance hits both sides alike."""
    return statistics.median(a / b for a, b in zip(times[above], times[below], strict=False))


def peak_megabytes(function: Step) -> float | None:
    """Growth of the process's resident memory at its highest during `function`; Linux only."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier steps freed goes back to the system first
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
        before = resident("VmRSS")
        function()
        return max(0.0, (resident("VmHWM") - before) / 1024)
    except (OSError, KeyError, AttributeError):
        return None


def resident(field: str) -> int:
    """A field of ``/proc/self/status``, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int({line.split(":")[0]: line for line in lines}[field].split()[1])


def machine() -> dict[str, object]:
    """What was measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "load when started": round(load, 1),
        "torch": torch.__version__,
        **tags(),
    }
