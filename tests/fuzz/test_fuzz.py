"""Whatever a user writes, longlag answers: with what was asked for, or with one sentence and exit code 2.

``make test`` runs 100 cases in this process, ``make fuzz`` 5,000 in processes with bounds on time and memory.
LONGLAG_FUZZ is how many, LONGLAG_FUZZ_SEED which ones; ``python -m tests.fuzz.worker SEED`` runs those that it reads.
"""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.cases import Case, case, commands
from tests.fuzz.session import PATIENCE, cut_off, home, wrong

SEED = int(os.environ.get("LONGLAG_FUZZ_SEED", random.randrange(10**6)))
CASES = int(os.environ.get("LONGLAG_FUZZ", "0"))
FIXED, FEW, CHUNKS = 14, 100, 4
PROCESSES = 2


@pytest.fixture(scope="module")
def furnished(shared_home: Path) -> Path:
    """A home that holds one study."""
    home(shared_home)
    return shared_home


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_answer_is_what_was_asked_for_or_one_sentence(chunk: int, furnished: Path, tmp_path: Path) -> None:
    found = []
    with cut_off(furnished):
        for number in range(chunk, FEW, CHUNKS):
            made = case(FIXED, number)
            found += [told(FIXED, made, problem) for problem in wrong(made, tmp_path / "case")]
            shutil.rmtree(tmp_path / "case")
    assert not found, "\n".join(found)


def told(seed: int, made: Case, problem: str) -> str:
    """One line on a case, with what repeats it."""
    words = " ".join(f"{word[:60]!r}" for word in made.arguments)
    return f"LONGLAG_FUZZ_SEED={seed}, case {made.number} ({words}): {problem}"


def test_cases_are_repeated_by_seed_and_number_and_reach_every_command() -> None:
    assert case(3, 7) == case(3, 7) != case(3, 8)
    reached = {made.arguments[:1] for number in range(300) if (made := case(FIXED, number)).arguments}
    assert {path[:1] for path, _ in commands() if path} <= reached


@pytest.mark.skipif(not CASES, reason="make fuzz runs it")
def test_many_cases_with_bounds_on_time_and_memory() -> None:
    print(f"\n{CASES} cases of LONGLAG_FUZZ_SEED={SEED}")
    waiting: queue.Queue[int] = queue.Queue()
    for number in range(CASES):
        waiting.put(number)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.extend(served(waiting))) for _ in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{CASES} cases, {len(found)} of them wrong")
    assert not found, "\n".join(found)


def served(waiting: queue.Queue[int]) -> Iterator[str]:
    """What is wrong with the cases that one process after another answers."""
    while not waiting.empty():
        with subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", str(SEED)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1,
        ) as process:  # fmt: skip
            yield from _answers(process, waiting)


def _answers(process: subprocess.Popen[str], waiting: queue.Queue[int]) -> Iterator[str]:
    assert process.stdin is not None and process.stdout is not None
    while True:
        try:
            number = waiting.get_nowait()
            if number % 250 == 249:
                print(f"case {number + 1} of {CASES}", flush=True)
        except queue.Empty:
            process.stdin.close()
            return
        process.stdin.write(f"{number}\n")
        guard = threading.Timer(2 * PATIENCE, process.kill)  # where the worker cannot end the case itself
        guard.start()
        line = process.stdout.readline()
        guard.cancel()
        made = case(SEED, number)
        if not line:
            how = process.wait()
            yield told(SEED, made, f"no answer: the process ended with {how}")
            return
        for problem in json.loads(line):
            yield told(SEED, made, problem)
