"""Third parties: a cell and a task, each a package of its own with an entry point, are found and train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CELL = '''
"""A cell whose every unit keeps a share of its own of its last value."""

import torch

from longlag.cells import Gate, GatedCell, Options


class LeakyOptions(Options):
    start: float = 2.0


class Leaky(GatedCell[LeakyOptions]):
    """h_t = sigmoid(a) h_{t-1} + tanh(W x_t + U h_{t-1} + b)."""

    gates = (Gate("z"),)
    units = ("a",)

    def core(self, g, s, p):
        return {"h": torch.sigmoid(p.a) * s.h + torch.tanh(g.z)}

    def initialise(self, parameters, hidden_size, generator):
        super().initialise(parameters, hidden_size, generator)
        parameters["a"].fill_(self.options.start)
'''
TASK = '''
"""The first number again, after all the others."""

import numpy as np
from pydantic import Field

from longlag.task import Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task


class FirstOptions(Options):
    length: int = Field(8, ge=2, description="steps")


class First(Task[FirstOptions]):
    """Uniform numbers; the target is the first of them."""

    metrics = (Metric("mse", "min", "squared units of the target", "mean squared error"),)
    criterion = "mse below 0.001"
    signature = Signature(Reals(1), 1, MappingKind.CLASSIFICATION, "mse")

    def sample(self, rng, size):
        inputs = rng.random((self.options.length, size, 1), dtype=np.float32)
        return Batch(inputs, inputs[0])

    def baseline(self):
        return Baseline(1 / 12, "always 1/2", "1/12")

    def trivial(self, batch):
        return np.full((batch.size, 1), 0.5)

    def oracle(self, batch):
        return batch.inputs[0]

    def measure(self, outputs, batch):
        return {"mse": float(np.mean((outputs - batch.targets) ** 2))}

    def solved(self, metrics):
        return metrics["mse"] < 0.001
'''


def package(folder: Path, name: str, group: str, entry: str, code: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / f"{name}_plugin.py").write_text(code)
    (folder / name / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n\n'
        f'[project]\nname = "longlag-{name}"\nversion = "1.2"\n\n'
        f'[project.entry-points."longlag.{group}"]\n{name} = "{name}_plugin:{entry}"\n\n'
        f'[tool.setuptools]\npy-modules = ["{name}_plugin"]\n'
    )


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which both packages are installed."""
    folder = tmp_path_factory.mktemp("plugins")
    package(folder, "leaky", "cells", "Leaky", CELL)
    package(folder, "first", "tasks", "First", TASK)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    both = [str(folder / "leaky"), str(folder / "first")]
    subprocess.run([*pip, "--target", str(folder / "site"), *both], check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "LONGLAG_HOME": str(folder / "home")}


def longlag(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-c", "from longlag.cli import main; main()", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_they_are_listed_with_where_they_come_from(environment: dict[str, str]) -> None:
    rows = {row["name"]: row for row in json.loads(longlag(environment, "list", "cells", "--json"))}
    assert (rows["leaky"]["from"], rows["leaky"]["options"]) == ("longlag-leaky 1.2", ["start"])
    rows = {row["name"]: row for row in json.loads(longlag(environment, "list", "tasks", "--json"))}
    assert (rows["first"]["from"], rows["first"]["solved"]) == ("longlag-first 1.2", "mse below 0.001")


@pytest.mark.slow
def test_they_train_with_each_other_and_with_the_built_in_ones(environment: dict[str, str]) -> None:
    settings = ["training.batch_size=20", "training.eval_every=100", "data={validation: 100, test: 100}"]
    short = [word for setting in [*settings, "probe.curves=false"] for word in ("--set", setting)]
    options = ["--cell", "{name: leaky, start: 6}, gru", "--hidden-size", "16", "--lr", "0.01", "--updates", "500"]
    study = json.loads(longlag(environment, "sweep", "first", *options, *short, "--json"))
    scores = {trial["runs"][0]["spec"]["cell"]["name"]: trial["objective"] for trial in study["trials"]}
    assert scores.keys() == {"leaky", "gru"}
    assert max(scores.values()) < 0.5
