"""A home with a study of so many finished runs, made in a minute: a few runs are trained, the others made from them."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import TrialState, create_trial

from longlag import sweep
from longlag.analysis.result import TrialResult
from longlag.spec import StudySpec, load_study
from longlag.study.storage import no_experimental_warnings
from longlag.study.store import StudyStore
from longlag.tracking import describe
from longlag.tracking.stored_run import RESULT, result_file
from longlag.training import RunResult

STUDY = "many-runs"
CELLS = ("rnn", "lstm", "gru", "urnn")
LOW, HIGH = 1e-4, 1e-1
TABLES = ("runs", "metrics", "latest_metrics", "params", "tags")


BASE: dict[str, Any] = {
    "task": {"name": "adding", "length": 60},
    "clip": {"norm": 1},
    "training": {"batch_size": 50, "updates": 1000, "eval_every": 100, "stop_when_solved": False},
}


def spec(trials: int, base: Mapping[str, Any]) -> StudySpec:
    """Cells, learning rates and sizes, by random search."""
    return load_study(
        {
            "name": STUDY,
            "base": dict(base),
            "space": {
                "cell": list(CELLS),
                "optimizer.lr": {"low": LOW, "high": HIGH, "log": True},
                "model.hidden_size": [16, 32],
            },
            "enqueue": [{"cell": cell} for cell in CELLS],
            "sampler": {"name": "random"},
            "trials": trials,
        }
    )


def grow(home: Path, runs: int, base: Mapping[str, Any] = BASE) -> None:
    """A study of so many trials: one a cell is trained, the others are copies of these at other points and scores."""
    trials = sweep(spec(len(CELLS), base), home=home).trials
    trained = {str(trial.point["cell"]): trial for trial in trials if trial.number < len(CELLS)}
    whole = spec(runs, base)
    random = np.random.default_rng(0)
    url = f"sqlite:///{home / 'optuna.db'}"
    with no_experimental_warnings(), contextlib.closing((store := StudyStore.open(whole, url)).storage):
        before = store.study.get_trials()
        made = []
        with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database, database:
            for number in range(len(before), runs):
                cell = CELLS[number % len(CELLS)]
                rate = float(np.exp(random.uniform(math.log(LOW), math.log(HIGH))))
                point = {"cell": cell, "optimizer.lr": rate, "model.hidden_size": int(random.choice([16, 32]))}
                copy = uuid.uuid4().hex
                result = changed(trained[cell], whole, point, random)
                source = trained[cell].run_ids[0]
                duplicate(database, source, copy, result)
                files(home / "artifacts" / source / "artifacts", home / "artifacts" / copy / "artifacts", result)
                made.append(
                    create_trial(
                        state=TrialState.COMPLETE,
                        params=point,
                        distributions=before[0].distributions,
                        value=result.validation_score,
                        user_attrs={**before[0].user_attrs, "run_ids": [copy], "run_keys": [result.run_key]},
                    )
                )
        store.study.add_trials(made)


def files(source: Path, folder: Path, result: RunResult) -> None:
    """The files of a run: its result, and those of the run that it is a copy of, which take no room."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file() and path.name != RESULT:
            (folder / path.name).hardlink_to(path)
    (folder / RESULT).write_bytes(result_file(result))


def changed(like: TrialResult, study: StudySpec, point: dict[str, Any], random: np.random.Generator) -> RunResult:
    """The result of a run at another point: the nearer the learning rate is to 0.01, the better."""
    (before,) = like.runs
    run = study.run(point, 0)
    away = abs(math.log10(point["optimizer.lr"]) + 2)
    score = float(0.02 * 10**away * np.exp(0.3 * random.normal()) * (2 if point["cell"] == "rnn" else 1))
    gradient = {name: value * float(np.exp(0.2 * random.normal())) for name, value in before.gradient.items()}
    return before.model_copy(
        update={
            "spec": run,
            "run_key": run.run_key,
            "validation_score": score,
            "score": score,
            "solved_at": None if score > 0.05 else 100 * int(random.integers(1, 10)),
            "gradient": gradient,
        }
    )


def duplicate(database: sqlite3.Connection, source: str, copy: str, result: RunResult) -> None:
    """One run's rows in MLflow's tables, under another id, with the parameters and the run_key of the result."""
    for table in TABLES:
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        given = ", ".join(columns)
        read = given.replace("run_uuid", "?").replace("artifact_uri", f"replace(artifact_uri, '{source}', ?)")
        database.execute(
            f"INSERT INTO {table} ({given}) SELECT {read} FROM {table} WHERE run_uuid = ?",
            [*[copy] * read.count("?"), source],
        )
    rows = [(value, copy, key) for key, value in describe.parameters(result.spec).items()]
    database.executemany("UPDATE params SET value = ? WHERE run_uuid = ? AND key = ?", rows)
    database.execute("UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'run_key'", (result.run_key, copy))
