"""`longlag reproduce` from end to end on a study of two tiny arms: once, again, and from the stored measurements."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from longlag.errors import UserError
from longlag.papers import check, cost, measurements, pages, plan, report
from longlag.papers.claims import Similar
from longlag.papers.reproduce import costs, run
from longlag.papers.spec import PaperSpec, load_paper, load_paper_fields, names
from longlag.study.callback import StudyCallback
from longlag.study.queue import Workers
from longlag.tracking.store import Store
from longlag.workspace import Workspace
from tests.papers.example import CLAIM, FIELDS, measured
from tests.pictures import undrawn

Done = tuple[Workspace, report.Report, pages.Pages]


class Count(StudyCallback):
    def __init__(self) -> None:
        self.trained = 0

    def run_started(self, spec: object) -> None:
        self.trained += 1


@pytest.fixture(autouse=True)
def no_pictures_but_those_of_the_study(done: Done) -> Iterator[None]:
    with undrawn():
        yield


@pytest.fixture(scope="module")
def paper() -> PaperSpec:
    return load_paper_fields(FIELDS, "example")


@pytest.fixture(scope="module")
def done(paper: PaperSpec, tmp_path_factory: pytest.TempPathFactory) -> Done:
    workspace = Workspace.open(tmp_path_factory.mktemp("home"))
    count = Count()
    content, written, study = run(paper, "cpu", workspace, Workers(), count)
    assert count.trained == 8, "two of the search, and three arms with two seeds"
    assert study.startswith("example-2000-cpu-")
    assert all(picture.stat().st_size > 5000 for picture in written.markdown.parent.glob("*.png"))
    return workspace, content, written


def test_runs_bear_the_names_of_their_arms(done: Done) -> None:
    workspace, *_ = done
    store = Store.open(workspace.home)
    runs = store.client.search_runs([e.experiment_id for e in store.client.search_experiments()], "tags.run_key != ''")
    names = {run.info.run_name.partition(" ")[2] for run in runs}
    assert {"rnn-8 seed 0", "rnn-8 seed 1", "lstm seed 0", "lstm seed 1"} <= names


def test_a_second_call_trains_nothing(paper: PaperSpec, done: Done) -> None:
    workspace, content, _ = done
    count = Count()
    again, *_ = run(paper, "cpu", workspace, Workers(), count)
    assert count.trained == 0 and again.decisions == content.decisions
    assert all(item.left == 0 and item.seconds is None for item in costs(paper, "cpu", workspace, Workers()))
    assert [(run.run_key, run.values) for run in again.measurements.runs] == [
        (run.run_key, run.values) for run in content.measurements.runs
    ]


class Stop(Count):
    """Ctrl-C in the second run."""

    def measured(self, update: int, values: object) -> None:
        if self.trained == 2:
            raise KeyboardInterrupt


def test_an_interrupted_study_goes_on(paper: PaperSpec, tmp_path: Path) -> None:
    """Nothing that was finished is trained again, and the numbers are those of an undisturbed study."""
    small = load_paper_fields(
        {**FIELDS, "arms": {"rnn": {}, "lstm": {"set": {"cell": "lstm"}}}, "claims": [CLAIM]}, "x"
    )
    workspace, stopped, rest = Workspace.open(tmp_path / "home"), Stop(), Count()
    with pytest.raises(KeyboardInterrupt):
        run(small, "cpu", workspace, Workers(), stopped)
    content, *_ = run(small, "cpu", workspace, Workers(), rest)
    assert (stopped.trained, rest.trained) == (2, 3)
    assert [len(content.measurements.of(arm)) for arm in small.arms] == [2, 2]


def test_what_is_kept(paper: PaperSpec, done: Done) -> None:
    workspace, content, written = done
    stored = measurements.read(written.data)
    assert stored.model_copy(update={"date": content.measurements.date}) == content.measurements, (
        "written again by a later call"
    )
    assert {run.arm for run in stored.runs} == set(paper.arms) and len(stored.runs) == 6
    entry = plan.entries(paper, "cpu", stored.chosen)[0]
    found = Store.open(workspace.home).find(entry.spec.run_key)
    assert found is not None and found.result is not None
    one = next(run for run in stored.runs if run.run_key == entry.spec.run_key)
    assert one.values["score"] == found.result.score and one.drawn == stored.chosen["rnn"]
    assert one.curve and one.curve[-1][0] == one.updates
    assert stored.flow["lstm"]["after"][0] == (0, 1.0), "the norm over that at lag 0"


def test_the_search_takes_the_best_by_validation(done: Done, paper: PaperSpec) -> None:
    workspace, content, _ = done
    store = Store.open(workspace.home)
    scores = {}
    for entry in plan.searched(paper, "cpu"):
        assert entry.seed == 1000
        found = store.find(entry.spec.run_key)
        assert found is not None and found.result is not None
        mse = found.result.validation["mse"]
        scores[mse] = dict(entry.drawn)
    assert content.measurements.chosen == {"rnn": scores[min(scores)]}


def test_the_pages(done: Done, tmp_path: Path) -> None:
    _, content, written = done
    text = written.markdown.read_text()
    assert "0.1; Table 1" in text and "the LSTM \\| is better" in text
    assert "It is smaller. *Time.*" in text and "not judged" in text and content.measurements.spec_hash[:12] in text
    for name in re.findall(r"\]\(([^)]+\.png)\)", text):
        assert (written.markdown.parent / name).exists()
    html = written.html.read_text()
    assert html.count("data:image/png;base64,") == 3
    assert not re.search(r'(src|href)="(?!data:)', html), "nothing comes from elsewhere"
    # from the kept file alone, the same pages again
    data = tmp_path / "example-2000.json"
    data.write_bytes(written.data.read_bytes())
    rebuilt = report.build(content.paper, measurements.read(data))
    again = pages.write(rebuilt, tmp_path)
    assert again.markdown.read_text() == text and again.data.read_text() == written.data.read_text()


def test_mlflow_has_the_report(done: Done) -> None:
    workspace, content, _ = done
    store = Store.open(workspace.home)
    spec = plan.study(content.paper, "cpu", plan.entries(content.paper, "cpu", content.measurements.chosen))
    experiment = store.experiment_id(spec.name)
    runs = store.client.search_runs([experiment], "tags.`longlag.study_identity` != ''")
    assert runs[0].data.tags["verdict.C2"] == content.decisions["C2"]
    files = {item.path for item in store.client.list_artifacts(runs[0].info.run_id, "report")}
    assert {"report/example-2000.html", "report/example-2000.md", "report/example-2000.json"} <= files
    arms = {run.data.tags.get("arm") for run in store.client.search_runs([experiment])}
    assert any(arm and arm.startswith("lstm seed 1") for arm in arms)


def test_verdicts_from_measurements_that_nobody_made(paper: PaperSpec, tmp_path: Path) -> None:
    content = report.build(paper, measured())
    assert content.decisions == {
        "C1": "holds at reduced size", "C2": "does not hold at reduced size", "C3": "not judged"
    }  # fmt: skip
    text = pages.write(content, tmp_path).markdown.read_text()
    assert "`lstm` score: median 0.12 [0.1–0.14]<br>`rnn` score: median 0.92 [0.9–0.94]" in text
    assert "updates to score 0.5 < 3: 0 of 5 [0–52 %]; median >40" in text
    assert (
        "Claims judged at this scale: 2. Of all 3: holds at reduced size 1; does not hold at reduced size 1; "
        "not judged 1." in text
    )
    assert "| reduced | original | unverified | **holds at reduced size** |" in text
    assert "reproduced" not in text.partition("## Study")[0].replace("longlag reproduce", "")
    for values in (
        "`lstm` | score | 0.1, 0.11, 0.12, 0.13, 0.14",
        "`rnn` | updates to score 0.5 | >40, >40, >40, >40, >40",
    ):
        assert f"| {values} |" in text, "every seed's value, in their order"


@pytest.mark.parametrize(
    ("reduced", "substitute", "word"),
    [("", "", "reproduced"), ("all", "", "holds at reduced size"), ("", "other data", "holds on substitute data")],
)
def test_reproduced_is_said_at_the_papers_own_size_on_its_own_data_only(
    reduced: str, substitute: str, word: str, tmp_path: Path
) -> None:
    scales = {**FIELDS["scales"], "cpu": {"seeds": 5, "reduced": reduced}}
    other = load_paper_fields({**FIELDS, "scales": scales, "substitute": substitute}, "example")
    content = report.build(other, measured())
    assert content.decisions["C1"] == word
    page = pages.write(content, tmp_path, html=False)
    row = f"| {content.size} | {content.data} | unverified | **{word}** |"
    assert row in page.markdown.read_text()


def test_a_margin_stands_beside_the_effect(tmp_path: Path) -> None:
    relation = {"kind": "similar", "arms": ["lstm", "rnn"], "quantity": "score", "margin": 0.5, "why": "half of it"}
    other = load_paper_fields({**FIELDS, "claims": [{**CLAIM, "relation": relation}]}, "example")
    text = pages.write(report.build(other, measured()), tmp_path).markdown.read_text()
    assert "- **C1** The means differ by 0.8, the margin is 0.5: half of it" in text
    assert "`lstm` score: mean 0.12" in text


def test_every_margin_of_the_built_in_studies_is_justified() -> None:
    similar = [
        (paper.name, claim.id, claim.relation.why)
        for paper in (load_paper(name) for name in names())
        for claim in paper.claims
        if isinstance(claim.relation, Similar)
    ]
    assert len(similar) >= 5 and all(why for _, _, why in similar), similar


def test_claims_that_changed_since(done: Done) -> None:
    _, content, _ = done
    other = {**CLAIM, "relation": {**CLAIM["relation"], "quantity": "test accuracy"}}
    changed = load_paper_fields({**FIELDS, "claims": [other]}, "example")
    with pytest.raises(UserError, match="the kept measurements have no 'test accuracy' of arm 'lstm'"):
        report.build(changed, content.measurements)
    milder = load_paper_fields({**FIELDS, "claims": [CLAIM]}, "example")
    assert report.build(milder, content.measurements).changed


def test_cost(paper: PaperSpec) -> None:
    entries = plan.entries(paper, "cpu", {})
    first, *_ = estimates = cost.estimate(entries, lambda spec: spec.seed == 0)
    assert [item.arm for item in estimates] == ["rnn", "rnn-8", "lstm"]
    assert first.runs == 2 and first.left == 1 and first.updates == 4
    assert first.seconds is not None and 0 < first.seconds < 60


def test_draws() -> None:
    spec = {
        "space": {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "model.hidden_size": {"low": 2, "high": 4}}
    }
    arms = {"rnn": {"draws": spec}, "lstm": {"set": {"cell": "lstm"}, "draws": spec}}
    claim = {**CLAIM, "relation": {**CLAIM["relation"]}}
    paper = load_paper_fields(
        {**FIELDS, "arms": arms, "scales": {"paper": {"seeds": 40}, "cpu": {"seeds": 2}}, "claims": [claim]}, "example"
    )
    entries = plan.entries(paper, "paper", {})
    rates = [entry.spec.optimizer.lr for entry in entries if entry.arm == "rnn"]
    assert rates == [entry.spec.optimizer.lr for entry in entries if entry.arm == "lstm"], "the same for both"
    assert len(set(rates)) == 40 and 1e-4 <= min(rates) < 3e-4 and 3e-3 < max(rates) <= 1e-2
    assert {entry.spec.model.hidden_size for entry in entries} == {2, 3, 4}
    assert len({entry.name for entry in entries}) == 80


def test_diverged_runs_are_infinitely_bad_in_the_record(tmp_path: Path, done: Any) -> None:
    _, content, _ = done
    stored = content.measurements
    bad = stored.runs[0].model_copy(
        update={"outcome": "diverged", "values": {"score": math.inf, "updates to score 0.5": math.inf}}
    )
    changed = stored.model_copy(update={"runs": [bad, *stored.runs[1:]]})
    changed.write(tmp_path / "x.json")
    assert measurements.read(tmp_path / "x.json").runs[0].values["score"] == math.inf
    rebuilt = report.build(content.paper, measurements.read(tmp_path / "x.json"))
    row = next(row for row in rebuilt.rows if row.claim.id == "C1")
    assert "∞" in next(item.text for item in row.arms if item.arm == "rnn")
    pages.write(rebuilt, tmp_path)


def test_a_folder_that_cannot_be_written_to(done: Done, tmp_path: Path) -> None:
    _, content, _ = done
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the report cannot be written to"):
        pages.write(content, tmp_path / "file" / "kept")


@pytest.mark.slow
def test_command(longlag: Any, tmp_path: Path, done: Done) -> None:
    workspace, _, _ = done
    study = tmp_path / "example.yaml"
    study.write_text(yaml.safe_dump(FIELDS))
    place = ["--home", str(workspace.home.root)]
    plan_only = longlag("reproduce", str(study), "--plan", *place)
    assert (
        plan_only.code == 0 and "everything has been run before" in plan_only.out and "judges 2 of 3" in plan_only.out
    )
    shown = longlag("reproduce", str(study), "--workers", "1", "--write", str(tmp_path / "kept"), *place)
    assert shown.code == 0, shown.err
    assert "inconclusive" in shown.out and "rnn: score" in shown.out and (tmp_path / "kept/example-2000.md").exists()
    told = json.loads(longlag("reproduce", str(study), "--workers", "1", "--json", *place).out)
    assert [claim["id"] for claim in told["claims"]] == ["C1", "C2", "C3"] and Path(told["report"]).exists()
    listed = longlag("reproduce", "--list")
    assert "arjovsky-2016" in listed.out and listed.code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "which paper?"),
        (["arjovski-2016"], "did you mean 'arjovsky-2016'"),
        (["arjovsky-2016", "--scale", "cpuu"], "did you mean 'cpu'"),
        (["--summary", "nothing.md"], "cannot read nothing.md"),
        (["nothing.yaml"], "cannot read nothing.yaml"),
        (["chung-2014", "--workers", "0"], "--workers: should be a number from 1 to 1024, or auto"),
    ],
)
def test_mistakes(longlag: Any, arguments: list[str], sentence: str) -> None:
    answer = longlag("reproduce", *arguments)
    assert answer.code == 2 and sentence in answer.err and "Traceback" not in answer.err


def test_a_sample_of_kept_runs_comes_out_again(done: Done) -> None:
    _, content, _ = done
    stored = content.measurements
    runs = check.sample(stored, 4)
    assert {run.arm for run in runs[:3]} == {"rnn", "rnn-8", "lstm"}, "one of each arm before a second"
    assert runs == check.sample(stored, 4) and len(check.sample(stored, 99)) == len(stored.runs)
    found = list(check.repeat(content.paper, stored, runs))
    assert [one.agreement for one in found] == ["equal"] * 4
    assert all({"score", "updates"} <= one.values.keys() for one in found)


def test_a_number_that_was_changed_is_found(done: Done) -> None:
    _, content, _ = done
    run = check.sample(content.measurements, 1)[0]
    for change, word in ((1e-5, "within rounding"), (0.1, "differs")):
        changed = run.model_copy(update={"values": {**run.values, "score": run.values["score"] + change}})
        (one,) = check.repeat(content.paper, content.measurements, [changed])
        assert one.agreement == word and list(one.differing) == (["score"] if word == "differs" else [])
    other = run.model_copy(update={"run_key": "0" * 64})
    with pytest.raises(UserError, match="is another run than the one that was kept"):
        list(check.repeat(content.paper, content.measurements, [other]))


def test_agreement_of_numbers_that_are_none() -> None:
    assert check.agreement(math.inf, math.inf) == "equal" == check.agreement(math.nan, math.nan)
    assert check.agreement(math.inf, 3.0) == "differs" == check.agreement(math.nan, 3.0)
    assert check.agreement(2000.0, 2001.0) == "within rounding" and check.agreement(0.0, 0.002) == "differs"


def test_the_command_that_checks_a_report(longlag: Any, done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    _, content, written = done
    monkeypatch.setattr("longlag.cli.paper_check.load_paper", lambda name: content.paper)
    answer = longlag("reproduce", "--check", str(written.data), "--sample", "2")
    assert answer.code == 0 and "2 equal, 0 within rounding, 0 differs" in answer.out + answer.err
    fields = json.loads(longlag("reproduce", "--check", str(written.data), "--sample", "1", "--json").out)
    assert fields["equal"] == 1 and fields["runs"][0]["agreement"] == "equal"
    answer = longlag("reproduce", "--check", "no-such-paper")
    assert answer.code == 2 and "cannot read docs/papers/no-such-paper.json" in answer.err
