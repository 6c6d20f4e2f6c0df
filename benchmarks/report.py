"""How long ``longlag report`` takes of a study with many runs: ``python -m benchmarks.report``.

The command is timed as a user types it, from the start of Python to its end, its tables and pictures made. A home with
the study is made first (`benchmarks.stores`); ``--home`` keeps one, and takes it up again.

Pictures, and which axes matter, are kept from the end of the sweep or from the first report; two rows are without.

    seconds      from the start of the process to its end, the median of the repetitions
    CPU          processor time of it and its children
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.stores import STUDY, grow
from benchmarks.timing import machine

COMMAND = [sys.executable, "-c", "from longlag.cli import main; main()"]
VARIANTS: dict[str, list[str]] = {
    "longlag report STUDY": [],
    "the same, --json": ["--json"],
    "the same, nothing kept": [],
    "--importance, nothing kept": ["--importance"],
}


def timed(arguments: list[str]) -> tuple[float, float]:
    """Elapsed and processor seconds of one command."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([*COMMAND, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--home", type=Path, help="a folder that keeps the home; a temporary one when not given")
    options = parser.parse_args(arguments)
    print(*(f"{key}: {value}" for key, value in machine().items()), sep="\n")
    with tempfile.TemporaryDirectory() as made:
        home = options.home or Path(made) / "home"
        if not (home / "home.json").exists():
            start = time.perf_counter()
            grow(home, options.runs)
            print(f"a home with {options.runs:,} runs: {time.perf_counter() - start:.0f} s to make")
        subprocess.run(
            [*COMMAND, "report", STUDY, "--home", str(home), "--importance"], check=True, stdout=subprocess.DEVNULL
        )
        print(f"\n{'':<32}{'seconds':>9}{'CPU':>7}")
        for name, words in {"longlag --version": ["--version"], **VARIANTS}.items():
            command = words if name == "longlag --version" else ["report", STUDY, "--home", str(home), *words]
            times = []
            for _ in range(options.repeat):
                if name.endswith("nothing kept"):
                    shutil.rmtree(home / "reports")
                times.append(timed(command))
            seconds, cpu = zip(*times, strict=True)
            print(f"{name:<32}{statistics.median(seconds):>9.2f}{statistics.median(cpu):>7.2f}", flush=True)


if __name__ == "__main__":
    main()
