"""A report is read on a machine where the task cannot be had: from what was recorded, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from longlag import registry
from tests.cli.conftest import Done, Longlag

ROOT = Path(__file__).resolve().parents[2]
FORMS = [[], ["--json"]]


def blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the import of every task and of what they share fail, as where their package is not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "longlag_tasks"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "longlag_tasks", None)


def test_the_report_of_a_study_whose_tasks_package_is_missing(
    longlag: Longlag, tiny_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    beyond = ["--set", "data.beyond={longer: {length: 9}}"]
    made = longlag("sweep", "adding", "--cell", "rnn,gru", "--seeds", "0,1", "--name", "s", *tiny_options, *beyond)
    assert made.code == 0, made.err
    before = [longlag("report", "s", *options) for options in FORMS]
    blocked(monkeypatch)
    assert "cannot be imported" in longlag("run", "adding", "--cell", "rnn").err
    after = [longlag("report", "s", *options) for options in FORMS]
    assert [(done.code, done.out) for done in after] == [(0, done.out) for done in before], after[0].err
    trials = json.loads(after[1].out)["trials"]
    assert [[run["solved"] for run in trial["runs"]] for trial in trials] == [[False, False]] * 2


def test_the_report_of_a_study_whose_sampler_and_objective_are_not_installed(
    longlag: Longlag, tiny_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {
        "name": "s",
        "base": {"task": "adding", "cell": "rnn"},
        "space": {"optimizer.lr": {"low": 0.001, "high": 0.1}, "cell": ["rnn", "gru"]},
        "objectives": ["parameters"],
        "sampler": "random",
        "trials": 12,
    }
    (tmp_path / "s.yaml").write_text(json.dumps(fields))
    made = longlag("sweep", "s.yaml", *tiny_options)
    assert made.code == 0, made.err
    before = [longlag("report", "s", *options) for options in FORMS]
    points = registry._points
    monkeypatch.setattr(
        registry,
        "_points",
        lambda kind: {name: found for name, found in points(kind).items() if name not in ("random", "parameters")},
    )
    assert "no objective named 'parameters'" in longlag("sweep", "s").err
    after = [longlag("report", "s", *options) for options in FORMS]
    assert [(done.code, done.out) for done in after] == [(0, done.out) for done in before], after[0].err
    assert all("parameters" in done.out for done in after)


def test_a_results_file_of_before_the_validation_score_was_kept_in_it(
    longlag: Longlag, tiny_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found, not trained again, and its score is the one that was logged."""
    words = ["run", "adding", "--cell", "rnn", *tiny_options, "--json"]
    first = result_of(longlag(*words))
    (path,) = (tmp_path / "longlag-home" / "artifacts").rglob("result.json")
    fields = json.loads(path.read_text())
    del fields["sha256"]  # nor had it a checksum
    score = fields.pop("validation_score")
    path.write_text(json.dumps(fields))
    again = result_of(longlag(*words))
    assert again["wall_seconds"] == first["wall_seconds"] and again["validation_score"] == score


def result_of(done: Done) -> dict[str, float]:
    assert done.code == 0, done.err
    fields: dict[str, float] = json.loads(done.out)
    return fields


def test_the_pages_of_kept_measurements(longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked(monkeypatch)
    done = longlag("report", str(ROOT / "docs/papers/chung-2014.json"), "--pictures", str(tmp_path))
    assert done.code == 0, done.err
    assert (tmp_path / "chung-2014.md").read_text() == (ROOT / "docs/papers/chung-2014.md").read_text()


def test_the_page_of_a_kept_horizon_study(longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked(monkeypatch)
    kept = [word for name in ("adding", "copy-memory") for word in ("--from", f"{ROOT}/docs/horizon/{name}.json")]
    done = longlag("horizon", *kept, "--page", str(tmp_path / "page.md"))
    assert done.code == 0, done.err
    assert "copy-memory" in (tmp_path / "page.md").read_text()
