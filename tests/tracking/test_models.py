"""A study's best model in MLflow: logged once, replaced by a better one, loaded in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longlag import sweep
from longlag.analysis.best import best_run
from longlag.tracking import models
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training.data import splits
from longlag.training.trained import Trained

LOAD = """
import json, sys, warnings
import numpy as np
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
given = dict(np.load(sys.argv[3]))
np.savez(sys.argv[4], **model.predict(given))
print(json.dumps([spec["name"] for spec in model.metadata.signature.inputs.to_dict()]))
"""


def study(tiny: dict[str, Any], cells: list[str], name: str = "models.1") -> dict[str, Any]:
    base = {key: value for key, value in tiny.items() if key != "cell"}
    space = {"cell": cells}
    return {"name": name, "base": base, "space": space, "seeds": [0, 1], "sampler": {"name": "grid"}}


@pytest.mark.slow
def test_the_best_model_loads_and_predicts_elsewhere(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["task"] = {"name": "embedded-reber"}  # symbols, and sequences of several lengths
    result = sweep(study(tiny, ["rnn", "gru"]), home=tmp_path / "home")
    (tmp_path / "home").rename(tmp_path / "moved")  # the addresses follow
    store = Store.open(Home.open(tmp_path / "moved"))
    best = best_run(result)
    address = models.address(store, result.experiment)
    assert best is not None and address is not None
    spec, weights = store.trained(best.run_id)
    trained = Trained(spec, weights)
    given = trained.fed(splits(spec)["test"].batch)
    assert set(given) == {"inputs", "lengths"}
    np.savez(tmp_path / "given.npz", allow_pickle=False, **given)
    command = [sys.executable, "-c", LOAD, store.uri, address, str(tmp_path / "given.npz"), str(tmp_path / "got.npz")]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) == set(given)
    outputs = np.load(tmp_path / "got.npz")["outputs"]
    assert np.array_equal(outputs, trained.predict(given)["outputs"])
    # the numbers that the run itself measured: the same metrics of what was loaded
    measured = spec.task.build().measure(outputs, splits(spec)["test"].batch)
    assert best.result.test is not None
    assert measured == pytest.approx(best.result.test, rel=1e-5)


def test_it_is_logged_once_and_replaced_by_a_better_one(tiny: dict[str, Any], tmp_path: Path) -> None:
    first = sweep(study(tiny, ["rnn", "gru"]), home=tmp_path)
    store = Store.open(Home.open(tmp_path))
    (model,) = store.client.search_logged_models([first.experiment])
    best = best_run(first)
    assert best is not None and model.source_run_id == best.run_id
    assert {m.key: m.value for m in model.metrics}["test/mse"] == best.result.test["mse"]  # type: ignore[index]
    assert len(store.client.get_metric_history(best.run_id, "test/mse")) == 1  # the run's points stand there once

    sweep(study(tiny, ["rnn", "gru"]), home=tmp_path)
    (same,) = store.client.search_logged_models([first.experiment])
    assert same.model_id == model.model_id

    worse = next(run_id for trial in first.trials for run_id in trial.run_ids if run_id != best.run_id)
    address = models.log_best(store, first.experiment, "other", worse)
    (other,) = store.client.search_logged_models([first.experiment])
    assert address == f"models:/{other.model_id}" and other.source_run_id == worse


def test_a_diverged_study_has_no_best_model(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["optimizer"] = {"name": "sgd", "lr": 1e30}
    result = sweep(study(tiny, ["rnn"]), home=tmp_path)
    assert best_run(result) is None
    assert models.address(Store.open(Home.open(tmp_path)), result.experiment) is None


def test_validation_alone_chooses(tiny: dict[str, Any], tmp_path: Path) -> None:
    """With the test scores turned round the choice is the same."""
    result = sweep(study(tiny, ["rnn", "gru"]), home=tmp_path)
    best = best_run(result)
    turned = [
        trial.model_copy(update={"runs": tuple(run.model_copy(update={"score": -run.score, "test": {"mse": 0.0}})
                                               for run in trial.runs)})
        for trial in result.trials
    ]  # fmt: skip
    again = best_run(result.model_copy(update={"trials": tuple(turned)}))
    assert best is not None and again is not None and best.run_id == again.run_id


def test_translation_answers_freely(tiny: dict[str, Any]) -> None:
    from longlag.errors import UserError
    from longlag.spec import load_run
    from longlag.training.probing import network

    tiny["task"] = {"name": "translation"}
    spec = load_run(tiny)
    import torch

    trained = Trained(spec, network(spec, torch.float32).state_dict())
    said = trained.predict(trained.inputs)
    assert said["answers"].shape[1] == 2 and said["lengths"].shape == (2,)
    assert models.signature(trained).outputs.input_names() == ["answers", "lengths"]
    for given, why in (
        ({"inputs": trained.inputs["inputs"]}, "'lengths' is missing"),
        ({**trained.inputs, "length": np.ones(2)}, "did you mean 'lengths'?"),
        ({**trained.inputs, "inputs": trained.inputs["inputs"][0]}, r"should have the shape \[T, B\], not \[2\]"),
        ({**trained.inputs, "inputs": trained.inputs["inputs"].astype(float)}, "should be int64, not float64"),
    ):
        with pytest.raises(UserError, match=why):
            trained.predict(given)
