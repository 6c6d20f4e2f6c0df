"""Forty short trials by one worker, by two, and by a Dask cluster of two: the same results, and how long each took.

``python -m benchmarks.executors`` (about five minutes on two cores; ``--rates 1`` for eight trials).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import longlag
from longlag.analysis.result import StudyResult
from longlag.workers.launchers.dask import Dask

RATES = [0.0005, 0.001, 0.002, 0.005, 0.01]
UPDATES = 200


def study(rates: int) -> dict[str, Any]:
    base = {
        "task": {"name": "adding", "length": 30},
        "model": {"hidden_size": 16},
        "training": {"batch_size": 20, "updates": UPDATES, "eval_every": 100, "stop_when_solved": False},
        "data": {"validation": 100, "test": 100},
    }
    space = {"cell": ["rnn", "lstm", "gru", "mgu"], "model.depth": [1, 2], "optimizer.lr": RATES[:rates]}
    return {"name": "forty", "base": base, "space": space, "sampler": {"name": "grid"}}


def figures(result: StudyResult) -> dict[str, str]:
    """By run_key everything that a run returned, but for how long it took."""
    runs = [run for trial in result.trials for run in trial.runs]
    return {run.run_key: run.model_dump_json(exclude={"wall_seconds", "cpu_seconds"}) for run in runs}


def main() -> None:
    from distributed import LocalCluster

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=int, default=len(RATES), help="learning rates; each makes eight trials")
    arguments = parser.parse_args()
    expected: dict[str, str] | None = None
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        ways: dict[str, dict[str, Any]] = {
            "one worker": {"workers": 1},
            "two workers": {"workers": 2},
            "Dask, two workers": {"workers": 2, "executor": Dask(cluster.scheduler_address)},
        }
        for name, how in ways.items():
            began = time.perf_counter()
            result = longlag.sweep(study(arguments.rates), home=Path(folder) / name.replace(" ", "-"), **how)
            seconds = time.perf_counter() - began
            found = figures(result)
            expected = expected or found
            same = "the same results" if found == expected else "OTHER RESULTS"
            complete = sum(trial.state == "complete" for trial in result.trials)
            print(f"{name:18} {complete} trials complete, {len(found)} runs, {same}, {seconds:.0f} s", flush=True)
            if found != expected or complete != 8 * arguments.rates:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
