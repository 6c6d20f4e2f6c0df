"""A run that is killed and taken up again leaves in the store what an undisturbed one does: points and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from longlag.spec import WhenSpec, load_run
from longlag.tracking.callback import MlflowCallback
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import train
from longlag.training.checkpoint import Checkpoints
from tests.tracking.opening import points

TIMES = {"wall_seconds", "cpu_seconds"}
MOMENTS = ["start", "evaluation", "end", 3]
EVERYTHING = {
    "task": {"name": "copy-memory", "length": 4, "symbols": 2},
    "cell": "lstm",
    "model": {"hidden_size": 4},
    "probe": {"log_every": 1, "batch_size": 4, "when": dict.fromkeys(WhenSpec.model_fields, MOMENTS)},
}
ONLY_AT_THE_START = {
    "task": {"name": "copy-memory", "length": 4, "symbols": 2},
    "probe": {"log_every": 2, "batch_size": 4, "when": {name: ["start"] for name in WhenSpec.model_fields}},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(Home.open(tmp_path_factory.mktemp("resumed") / "home"))


class Killed(BaseException):
    pass


class Recorder(MlflowCallback):
    """Dies at an update, as a process does that is killed."""

    at = 0

    def measured(self, update: int, values: Any) -> None:
        super().measured(update, values)
        if self.at and update >= self.at:
            raise Killed


def files(store: Store, run_id: str, to: Path) -> dict[str, bytes]:
    folder = Path(store.client.download_artifacts(run_id, "", str(to)))
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "result.json"}  # that has times


@pytest.mark.parametrize(
    ("fields", "at", "elsewhere"),
    [(EVERYTHING, 2, False), (EVERYTHING, 4, True), (ONLY_AT_THE_START, 4, False)],
    ids=["every probe, early", "every probe, at the last update, in another study", "probes that look once"],
)
def test_every_point_once_and_the_same_files(
    fields: dict[str, Any], at: int, elsewhere: bool, store: Store, tiny: dict[str, Any], tmp_path: Path
) -> None:
    spec, saved = load_run({**tiny, **fields}), Checkpoints(tmp_path / "run", 0)
    first = Recorder(store.client, store.experiment(f"killed {tmp_path.name}"))
    first.at = at
    with pytest.raises(Killed):
        train(spec, [first], checkpoints=saved)
    kept = saved.read()
    assert kept is not None and kept.update == at - 1
    second = Recorder(store.client, store.experiment("another study") if elsewhere else first.experiment_id)
    result = train(spec, [second], checkpoints=saved)
    assert (second.run_id == first.run_id) != elsewhere
    whole = Recorder(store.client, store.experiment("whole"))
    undisturbed = train(spec, [whole])
    assert result.model_dump(exclude=TIMES) == undisturbed.model_dump(exclude=TIMES)
    assert second.run_id is not None and whole.run_id is not None
    got, expected = points(store, second.run_id), points(store, whole.run_id)
    assert got.keys() == expected.keys() and any(name.startswith("gradient_") for name in got)
    for key in set(expected) - TIMES:
        assert sorted(got[key]) == sorted(expected[key]), key
    there, others = files(store, second.run_id, tmp_path / "a"), files(store, whole.run_id, tmp_path / "b")
    assert there.keys() == others.keys() and "gradient_through_time_training.npz" in there
    assert [name for name in others if there[name] != others[name]] == []
    assert store.client.get_run(second.run_id).info.status == "FINISHED"
