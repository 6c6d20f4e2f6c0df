"""Studies with long descriptions, thousands of points and long names run, and nothing is made of one that cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import longlag
from longlag.errors import UserError
from longlag.spec import load_study
from longlag.study.store import names
from longlag.tracking.home import Home
from longlag.tracking.store import Store


@pytest.fixture
def large(tiny: dict[str, Any]) -> dict[str, Any]:
    """A study of which two trials of four updates are made."""
    return {
        "name": "large",
        "description": "Every point of the paper. " * 1200,
        "base": {**tiny, "data": {**tiny["data"], "seed": 1200}},
        "space": {"optimizer.lr": [k * 1e-5 for k in range(1, 3001)]},
        "enqueue": [{"optimizer.lr": k * 1e-5} for k in range(1, 1201)],
        "sampler": {"name": "random"},
        "total_updates": 8,
    }


@pytest.mark.filterwarnings("error::UserWarning")
def test_nothing_that_grows_with_a_study_goes_into_a_note_a_tag_or_a_parameter(
    large: dict[str, Any], shared_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = longlag.sweep(large, home=shared_home)
    assert [trial.point for trial in sorted(result.trials, key=lambda trial: trial.number)] == large["enqueue"][:2]
    store = Store.open(Home.open(shared_home))
    experiment = store.client.get_experiment(result.experiment)
    note = experiment.tags["mlflow.note.content"]
    assert len(note) < 20_000 and "- '... 1,200 in all'" in note
    assert "What is cut short here is complete in `study.json`, a file of the run `large`." in note
    (own,) = store.client.search_runs([result.experiment], "tags.`longlag.study_identity` != ''")
    kept = Path(store.client.download_artifacts(own.info.run_id, "study.json")).read_bytes()
    assert load_study(json.loads(kept)) == result.spec == load_study(large)
    assert len(own.data.params["space.optimizer.lr"]) == 6000
    more = longlag.sweep({**large, "total_updates": 12}, home=shared_home)
    assert len(more.trials) == 3
    (own,) = store.client.search_runs([result.experiment], "tags.`longlag.study_identity` != ''")
    assert not [key for key in own.data.tags if key.startswith("now.")], "the parameter is the one that was cut short"
    assert "truncated" not in caplog.text


def test_an_arm_with_a_long_name_runs(
    tiny: dict[str, Any], shared_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arm = "full gate recurrence " * 500
    fields = {"name": "long-arm", "base": tiny, "arms": {arm: {"model.depth": 2}}, "sampler": "grid"}
    (trial,) = longlag.sweep(fields, home=shared_home).trials
    assert (trial.state, trial.point) == ("complete", {"arm": arm})
    assert "truncated" not in caplog.text


def test_nothing_is_made_of_a_study_that_is_refused(
    large: dict[str, Any], shared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise UserError("the sampler cannot be made")

    monkeypatch.setattr("longlag.samplers.random.Random.build", broken)
    with pytest.raises(UserError, match="the sampler cannot be made"):
        longlag.sweep({**large, "name": "refused"}, home=shared_home)
    assert "refused" not in names(Home.open(shared_home).optuna_url)
    with pytest.raises(UserError, match="workers: at least 1, or 'auto', not 0"):
        longlag.sweep({**large, "name": "refused"}, home=shared_home, workers=0)
    assert "refused" not in names(Home.open(shared_home).optuna_url)


def test_a_conditional_grid_of_millions_of_points_is_refused_and_searched_by_an_adaptive_sampler(
    large: dict[str, Any], shared_home: Path
) -> None:
    axes = {"model.hidden_size": 48, "training.batch_size": 48, "training.updates": 44, "probe.log_every": 20}
    space: dict[str, Any] = {path: list(range(1, count + 1)) for path, count in axes.items()}
    space["optimizer.lr"] = {"when": {path: [1, 2] for path in axes}, "values": [0.001, 0.01]}
    fields = {**large, "name": "four-parents", "space": space, "enqueue": []}
    with pytest.raises(UserError, match=r"a grid over this space has 2,027,536 points; fewer values, or another"):
        longlag.sweep({**fields, "sampler": {"name": "grid"}}, home=shared_home)
    result = longlag.sweep({**fields, "sampler": {"name": "tpe"}, "trials": 1}, home=shared_home)
    assert (result.total, [trial.state for trial in result.trials]) == (1, ["complete"])
