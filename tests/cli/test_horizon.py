"""``longlag horizon``: a whole study, its second call, its page made again, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from longlag.horizons.measurements import read
from tests.cli.conftest import Longlag

OPTIONS = "--updates 20 --parameters 60 --seeds 2 --shortest 4 --longest 8 --lr 3e-2,1e-1 --workers 1".split()
SETTINGS = "training.eval_every=10 training.batch_size=4 data={validation:8,test:8} task.solved_mse=0.2".split()


def test_a_study_its_second_call_and_its_page_made_again(longlag: Longlag, tmp_path: Path) -> None:
    options = [*OPTIONS, *(word for setting in SETTINGS for word in ("--set", setting.replace(":", ": ")))]
    command = ["horizon", "adding", "--cell", "rnn", *options, "--page", "docs/horizon.md"]
    first = longlag(*command)
    assert first.code == 0, first.err
    assert "T50" in first.out and "[1]" in first.err
    file, page, picture = (
        tmp_path / "docs" / name for name in ("horizon/adding.json", "horizon.md", "horizon/chart.png")
    )
    measurements = read(file)
    assert [cell.cell for cell in measurements.cells] == ["rnn"]
    assert all(len(cell.counted) == 2 for cell in measurements.cells)
    made = {path: path.read_bytes() for path in (file, page, picture)}

    again = longlag(*command, "--json")
    assert again.code == 0
    assert "[1]" not in again.err  # nothing was trained
    assert {path: path.read_bytes() for path in made} == made
    told = json.loads(again.out)["studies"][0]
    assert told["identity"] == measurements.identity and told["cells"][0]["cell"] == "rnn"

    page.unlink()
    picture.unlink()
    rebuilt = longlag("horizon", "--from", str(file), "--page", str(page))
    assert rebuilt.code == 0, rebuilt.err
    assert {path: path.read_bytes() for path in made} == made

    from longlag.tracking.home import Home
    from longlag.tracking.store import Store

    store = Store.open(Home.open(tmp_path / "longlag-home"))
    name = f"horizon-adding-{measurements.identity[:8]}"
    runs = store.client.search_runs([store.experiment_id(name)], max_results=100)
    parent = next(run for run in runs if "run_key" not in run.data.tags)
    children = {
        run.data.tags["run_key"] for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    assert children == {run.run_key for cell in measurements.cells for run in cell.runs}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {artifact.path for artifact in store.client.list_artifacts(parent.info.run_id, "report")} == {
        "report/adding.json",
        "report/chart.png",
        "report/horizon.md",
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "which task?"),
        (["adding"], "which cells?"),
        (["addin", "--cell", "lstm"], "did you mean 'adding'"),
        (["adding", "--cell", "lsmt"], "did you mean 'lstm'"),
        (["adding", "--cell", "lstm", "--lag", "task.gap"], "no field 'gap'"),
        (["adding", "--cell", "lstm", "--longest", "5"], "should be above shortest"),
        (["adding", "--cell", "lstm", "--set", "task.length=9"], "see --shortest and --longest"),
        (["adding", "--cell", "lstm", "--set", "optimizer.lr=9"], "see --lr"),
        (["adding", "--cell", "lstm", "--lr", "x"], "rates"),
        (["adding", "--cell", "lstm", "--parameters", "3"], "are too few"),
        (["adding", "--cell", "lstm", "--workers", "0"], "--workers"),
        (["--from", "none.json"], "cannot read none.json"),
        (["adding", "--from", "none.json"], "leave out the task"),
    ],
)
def test_what_is_wrong_is_one_sentence(longlag: Longlag, arguments: list[str], sentence: str) -> None:
    done = longlag("horizon", *arguments)
    assert done.code == 2, done.out
    assert sentence in done.err and done.err.count("\n") == 1
