"""A study's best model as one of MLflow's logged models: shown in the models tab, loaded by ``mlflow.pyfunc``."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longlag.tracking import connection, describe
from longlag.tracking.store import Store
from longlag.training.trained import FREE, SPEC, Trained
from longlag.training.weights import WEIGHTS, packed

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

BEST = "longlag.best"
LOADER = "longlag.tracking.flavor"
EXPORTED_METRICS = ("score", "baseline")
SPLITS = ("validation/", "test/")


def address(store: Store, experiment_id: str) -> str | None:
    """What ``mlflow.pyfunc.load_model`` takes for a study's best model; None where none is logged."""
    found = _logged(store, experiment_id)
    return f"models:/{found[0].model_id}" if found else None


def log_best(store: Store, experiment_id: str, name: str, run_id: str) -> str:
    """Log the model of a run as its study's best one, unless it is that already; an earlier best one is deleted.

    Args:
        store: where the run is recorded.
        experiment_id: the study's.
        name: of the model.
        run_id: of the best run.

    Returns:
        Its address, ``models:/ID``.

    Raises:
        UserError: when the run keeps no weights.
    """
    before = _logged(store, experiment_id)
    same = [model for model in before if model.source_run_id == run_id]
    if not same:
        same = [_log(store, experiment_id, name, run_id)]
    for model in before:
        if model.model_id != same[0].model_id:
            store.client.delete_logged_model(model.model_id)
    return f"models:/{same[0].model_id}"


def _logged(store: Store, experiment_id: str) -> list[Any]:
    """The study's best models that are complete, the newest first; more than one only after a crash."""
    found = store.client.search_logged_models([experiment_id], filter_string=f"tags.`{BEST}` = 'true'")
    ready = [model for model in found if str(model.status) == "READY"]
    return sorted(ready, key=lambda model: -int(model.creation_timestamp))


def _log(store: Store, experiment_id: str, name: str, run_id: str) -> Any:
    from mlflow.entities import LoggedModelOutput, Metric

    spec, weights = store.trained(run_id)
    trained = Trained(spec, weights)
    client = store.client
    with connection.quiet(), tempfile.TemporaryDirectory() as made:
        model = client.create_logged_model(
            experiment_id,
            name=name.replace(".", "-"),  # MLflow allows no dot there
            source_run_id=run_id,
            tags={BEST: "true", "run_key": spec.run_key, "task": spec.task.name, "cell": spec.cell.name},
            params=describe.parameters(spec),
            model_type="longlag",
        )
        write(trained, weights, Path(made), run_id, str(model.model_id))
        client.log_model_artifacts(model.model_id, made)
        names = [n for n in client.get_run(run_id).data.metrics if n in EXPORTED_METRICS or n.startswith(SPLITS)]
        last = [max(client.get_metric_history(run_id, n), key=lambda m: (m.step, m.timestamp)) for n in names]
        measured = [Metric(m.key, m.value, m.timestamp, m.step, model_id=model.model_id) for m in last]
        client.log_batch(run_id, metrics=measured)  # the same points: the run has them once, the model as well
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, max((m.step for m in last), default=0))])
        return client.finalize_logged_model(model.model_id, "READY")


def write(trained: Trained, weights: Mapping[str, Any], folder: Path, run_id: str, model_id: str) -> None:
    """The folder of an MLflow model: ``MLmodel``, requirements, and ``data`` with the spec and the weights."""
    from mlflow.models import Model

    data = folder / "data"
    data.mkdir()
    (data / SPEC).write_text(trained.spec.canonical(), encoding="utf-8")
    (data / WEIGHTS).write_bytes(packed(trained.spec, weights))
    needed = f"longlag=={version('longlag')}\ntorch=={version('torch').partition('+')[0]}\n"
    (folder / "requirements.txt").write_text(needed, encoding="utf-8")
    described = Model(run_id=run_id, model_id=model_id, signature=signature(trained))
    python = platform.python_version()
    (folder / "python_env.yaml").write_text(
        f"python: {python}\ndependencies: [-r requirements.txt]\n", encoding="utf-8"
    )
    described.add_flavor(  # as mlflow.pyfunc.add_to_model does, whose import takes seconds and warns
        "python_function",
        loader_module=LOADER,
        python_version=python,
        data="data",
        env={"virtualenv": "python_env.yaml"},
    )
    described.save(str(folder / "MLmodel"))


def signature(trained: Trained) -> ModelSignature:
    """What goes in and comes out, in MLflow's words; -1 stands for steps and sequences."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def spec(name: str, value: np.ndarray[Any, Any], loose: int) -> TensorSpec:
        return TensorSpec(value.dtype, (*([-1] * loose), *value.shape[loose:]), name)

    ins: list[Any] = [spec(name, v, 2 if name in ("inputs", "tokens") else 1) for name, v in trained.inputs.items()]
    per_step = 2 if trained.signature.per_step else 1
    given = trained.predict(trained.inputs)
    loose = dict.fromkeys(given, per_step) | ({"lengths": 1} if trained.signature.mapping in FREE else {})
    outs: list[Any] = [spec(name, value, loose[name]) for name, value in given.items()]
    return ModelSignature(inputs=Schema(ins), outputs=Schema(outs))
