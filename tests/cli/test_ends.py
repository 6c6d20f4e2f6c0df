"""The end of a study cannot fail: results are stored first, and a table, picture or page that fails is one line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from longlag import escape
from longlag.analysis import correlation, importance, pictures
from longlag.cli import display
from longlag.horizons import chart
from longlag.papers import figures, report_html
from longlag.probes import draw
from longlag.tracking import models, views
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from tests.cli.conftest import Longlag
from tests.conftest import TINY
from tests.papers.example import CLAIM, FIELDS
from tests.test_escape import NASTY

TEXTS = [text for text in NASTY if not set(text) & {"\x00", "\ud800"}]  # which no file of a study may hold
ARMS = ["[/red]", "]]", "<script>alert(1)</script>", "\x1b[31mred\x1b[0m", "a\nb", "$x_{", "`|x|", "x" * 300]


def fails(*_: Any, **__: Any) -> Any:
    raise IndexError("list index out of range")


def file(path: Path, fields: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    return str(path)


def study(**fields: Any) -> dict[str, Any]:
    return {"name": "s", "base": TINY, "sampler": "grid", **fields}


@pytest.mark.fault
def test_a_study_whose_arms_are_called_anything(
    longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "600")
    fields = study(description="\n\n".join(TEXTS), arms={arm: {"seed": k} for k, arm in enumerate(ARMS)})
    swept = longlag("sweep", file(tmp_path / "s.yaml", fields))
    reported = longlag("report", "s")
    compared = longlag("report", "s", "--compare", "s")
    for done in (swept, reported, compared):
        assert done.code == 0, done.err
        assert not set(done.out + done.err) & {"\x1b", "\x07", "\x00"}
        for arm in ARMS[:-1]:
            assert escape.line(arm) in done.out, arm
    assert [trial["point"]["arm"] for trial in json.loads(longlag("report", "s", "--json").out)["trials"]] != []
    with closing(sqlite3.connect(tmp_path / "longlag-home" / "mlflow.db")) as database:
        names = {name.partition(" ")[2] for (name,) in database.execute("SELECT name FROM runs")}
        tags = {value for (value,) in database.execute("SELECT value FROM tags WHERE key = 'arm'")}
        query = "SELECT value FROM experiment_tags WHERE key = 'mlflow.note.content'"
        (note,) = (value for (value,) in database.execute(query))
    assert tags == set(map(escape.lines, ARMS)) and max(map(len, names)) < 250
    assert "\x1b" not in note and "&lt;script>" in note and r"!\[x\](http://e/x.png)" in note


@pytest.mark.fault
@pytest.mark.parametrize("rate", ["1e10", "1e30"])
def test_a_study_in_which_every_run_diverged(rate: str, longlag: Longlag, tmp_path: Path) -> None:
    """Its curves have no number at any lag, or nothing was ever evaluated."""
    every = 1 if rate == "1e10" else 2
    base = {**TINY, "optimizer": {"name": "sgd", "lr": float(rate)}, "probe": {"log_every": 2, "batch_size": 4}}
    base["training"] = {**TINY["training"], "eval_every": every}
    path = file(tmp_path / "s.yaml", study(base=base, space={"cell": ["irnn", "rnn"]}))
    for words in (["sweep", path], ["report", "s"]):
        done = longlag(*words)
        assert done.code == 0 and done.out.count(" diverged") == 2 and "cannot be made" not in done.out + done.err
        assert (tmp_path / "longlag-home" / "reports" / "s" / "curves.png").exists()


def test_a_line_without_a_number_is_not_drawn() -> None:
    nothing = np.array([])
    assert draw.rows([nothing, nothing]).size == 0
    assert draw.rows([nothing, np.array([2.0, 1.0])]).tolist() == [[1.0, 0.5]]


@pytest.mark.fault
def test_parts_of_a_sweeps_end_and_of_a_report_that_fail(
    longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a line of the log and of the page, the others are made, and the study is finished."""
    for owner, name in (
        (pictures, "curves"), (correlation, "panels"), (models, "log_best"), (importance, "_of"), (views, "view"),
        (display, "study_table"), (correlation, "correlate"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, fails)
    base = {**TINY, "probe": {"log_every": 2, "batch_size": 4}}
    path = file(tmp_path / "s.yaml", study(base=base, space={"cell": ["rnn", "gru"]}))
    why = "cannot be made: IndexError: list index out of range"
    made = ["the picture of curves", "the picture of gradient flow and learning", "the importances of the axes"]
    swept = longlag("sweep", path)
    assert swept.code == 0
    for what in (*made, "the study's best model", "the table of trials", "the rank correlations"):
        assert f"{what} {why}" in swept.out and f"warning: {what} {why}" in swept.err, what
    assert f"warning: the charts of the study in MLflow {why}" in swept.err
    assert "Traceback" not in swept.err
    reported = longlag("report", "s")
    for what in (*made, "the table of trials", "the rank correlations"):
        assert f"{what} {why}" in reported.out, what
    answer = json.loads(longlag("report", "s", "--json").out)
    assert f"the picture of curves {why}" in answer["missing"] and len(answer["trials"]) == 2

    store = Store.open(Home.open(tmp_path / "longlag-home"))
    runs = store.client.search_runs([store.experiment_id("s")])
    assert len(runs) == 3 and {run.info.status for run in runs} == {"FINISHED"}
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    after = longlag("report", "s")
    assert after.code == 0 and "cannot be made" not in after.out and "curves.png" in after.out


@pytest.mark.fault
def test_a_paper_study_with_any_text_and_pictures_that_fail(
    longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_learning", fails)
    text = " ".join(TEXTS)
    arms = {"[/red]|`": {"label": text}, "<b>": {"set": {"cell": "lstm"}}}
    claim = {**CLAIM, "statement": text, "source": text, "published": text, "note": text}
    claim["relation"] = {"kind": "lower", "order": ["<b>", "[/red]|`"], "quantity": "score"}
    fields = {
        **FIELDS, "arms": arms, "claims": [claim], "summary": text, "parameter": text,
        "citation": {"authors": "[/red] <b>", "year": 2000, "title": text, "venue": text},
        "deviations": [{"what": text, "why": text, "scales": ["cpu"]}],
        "scales": {**FIELDS["scales"], "cpu": {"seeds": 2, "reduced": text, "meaning": text}},
    }  # fmt: skip
    done = longlag("reproduce", file(tmp_path / "p.yaml", fields), "--scale", "cpu", "--yes")
    assert done.code == 0, done.err
    assert not set(done.out + done.err) & {"\x1b", "\x07", "\x00"} and "[/red]" in done.out
    why = "the picture example-2000-learning.png cannot be made: IndexError: list index out of range"
    assert why in done.out and f"warning: {why}" in done.err
    folder = tmp_path / "longlag-home" / "reports" / "example-2000-cpu"
    page, html = (folder / f"example-2000.{kind}" for kind in ("md", "html"))
    assert f"## Missing\n\n- {why}" in page.read_text() and "example-2000-gradient.png" in page.read_text()
    assert "<script>" not in html.read_text() and "http://e" not in "".join(
        part.partition('"')[0] for part in html.read_text().split('src="')[1:]
    )

    monkeypatch.setattr(report_html, "page", fails)
    again = longlag("reproduce", str(tmp_path / "p.yaml"), "--scale", "cpu", "--yes", "--json")
    assert again.code == 0
    why = "the HTML page cannot be made: IndexError: list index out of range"
    assert json.loads(again.out)["missing"][-1] == why


@pytest.mark.fault
def test_a_horizon_study_whose_chart_fails(longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "_panel", fails)
    words = "--updates 4 --parameters 60 --seeds 1 --shortest 4 --longest 8 --lr 3e-2 --workers 1".split()
    settings = ["training.eval_every=2", "training.batch_size=4", "data={validation: 4, test: 4}"]
    more = [word for setting in settings for word in ("--set", setting)]
    done = longlag("horizon", "adding", "--cell", "rnn", *words, *more, "--page", "horizon.md")
    why = "the chart cannot be made: IndexError: list index out of range"
    assert done.code == 0, done.err
    assert why in done.out and f"warning: {why}" in done.err and "T50" in done.out
    page = (tmp_path / "horizon.md").read_text()
    assert "## adding" in page and f"## Missing\n\n- {why}" in page and "![" not in page
    assert (tmp_path / "horizon" / "adding.json").exists()
