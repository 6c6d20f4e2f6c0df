"""Paper studies as data: every shipped one validates, and what is wrong is said in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from longlag.cli.schema import paper_schema
from longlag.errors import UserError
from longlag.papers.plan import entries
from longlag.papers.spec import PaperSpec, load_paper, load_paper_fields, names


def fields(**changes: Any) -> dict[str, Any]:
    """A small study that is right."""
    claim = {
        "id": "C1",
        "statement": "the LSTM is better",
        "source": "Table 1",
        "certainty": "read",
        "published": "0.1 and 0.2",
        "relation": {"kind": "lower", "order": ["lstm", "rnn"], "quantity": "score"},
    }
    return {
        "name": "example-2000",
        "citation": {"authors": "A and B", "year": 2000, "title": "T", "venue": "V"},
        "summary": "s",
        "base": {"task": {"name": "adding", "length": 6}, "cell": "rnn", "training": {"updates": 9}},
        "arms": {"rnn": {}, "lstm": {"set": {"cell": "lstm", "training.updates": 8}}},
        "scales": {"paper": {"seeds": 3}, "smoke": {"seeds": 2, "set": {"training": {"updates": 4}}}},
        "claims": [claim],
        **changes,
    }


@pytest.mark.parametrize("name", names())
def test_shipped(name: str) -> None:
    spec = load_paper(name)
    assert spec.name == name
    assert {"paper", "cpu", "smoke"} <= spec.scales.keys()
    assert spec.judged("paper"), "the paper's own scale judges claims"
    assert spec.scales["cpu"].reduced and spec.scales["cpu"].meaning, "what was reduced, and what it means"
    assert not spec.judged("smoke")
    for scale in spec.scales:
        assert entries(spec, scale, {}), "and no two arms are the same runs, which this would refuse"


def test_an_arm_is_not_compared_with_itself() -> None:
    arms = {"rnn": {}, "lstm": {"set": {"cell": "lstm"}}}
    scales = {"paper": {"seeds": 3}, "smoke": {"seeds": 2, "set": {"cell": "gru"}}}
    spec = load_paper_fields(fields(arms=arms, scales=scales), "example")
    assert len(entries(spec, "paper", {})) == 6
    with pytest.raises(UserError, match="the arms rnn and lstm are the same runs at scale smoke"):
        entries(spec, "smoke", {})


def test_later_layers_win() -> None:
    """A scale's mapping overrides an arm's field below it, and an arm what it is like."""
    spec = load_paper_fields(fields(), "example")
    assert spec.run("lstm", spec.scales["smoke"], 0).training.updates == 4
    assert spec.run("lstm", spec.scales["paper"], 0).training.updates == 8
    again = {"rnn": {}, "lstm": {"set": {"cell": {"name": "lstm", "forget_bias": 2}}}}
    arms = {**again, "gru": {"like": "lstm", "set": {"cell": "gru"}}}
    spec = load_paper_fields(fields(arms=arms), "example")
    assert spec.run("gru", spec.scales["paper"], 3).cell.name == "gru"
    assert spec.run("gru", spec.scales["paper"], 3).seed == 3


def test_a_mapping_sets_only_what_it_names() -> None:
    """What an arm sets beside it stays; a choice by name takes the place of the one before."""
    arms = {
        "rnn": {},
        "lstm": {"set": {"model.decoder.reverse_source": True, "cell": {"name": "lstm", "forget_bias": 2}}},
    }
    smoke = {"seeds": 2, "set": {"model": {"hidden_size": 5}, "cell": {"name": "gru"}}}
    spec = load_paper_fields(fields(arms=arms, scales={"paper": {"seeds": 3}, "smoke": smoke}), "example")
    run = spec.run("lstm", spec.scales["smoke"], 0)
    assert (run.model.decoder.reverse_source, run.model.hidden_size, run.cell.name) == (True, 5, "gru")


def test_a_claim_is_judged_where_its_arms_are_run() -> None:
    scales = {"paper": {"seeds": 3}, "cpu": {"seeds": 3, "leave_out": ["ls*"]}}
    spec = load_paper_fields(fields(scales=scales), "example")
    assert [claim.id for claim in spec.judged("paper")] == ["C1"] and spec.judged("cpu") == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"clams": []}, "no field 'clams'; did you mean 'claims'?"),
        ({"arms": {"rnn": {}, "lstm": {"sets": {}}}}, "no field 'arms.lstm.sets'; did you mean 'set'?"),
        ({"arms": {"rnn": {}, "lstn": {}}}, "no arm 'lstm'; did you mean 'lstn'?"),
        ({"arms": {"rnn": {"like": "lstm"}, "lstm": {"like": "rnn"}}}, "goes round in a circle"),
        ({"arms": {"rnn": {}, "lstm": {"set": {"cell": "lstmm"}}}}, "there is no cell named 'lstmm'; did you mean"),
        ({"scales": {"paper": {"seeds": 3, "leave_out": ["gru"]}}}, "no arm matches 'gru'"),
        ({"arms": {"rnn": {}, "lstm": {"set": {"cell": "lstm", "seed": 3}}}}, "seeds are counted from 0"),
        ({"scales": {"papr": {"seeds": 3}}}, "scales.papr"),
        ({"scales": {"cpu": {"seeds": 10**11}}}, "scales.cpu.seeds: Input should be less than or equal to 10000"),
        ({"arms": {"rnn": {"search": {"space": {"optimizer.lr": [1]}}}, "lstm": {}}}, "at least 2 items"),
        ({"scales": {"cpu": {"seeds": True}}}, "scales.cpu.seeds: should be a whole number, not true"),
        (
            {"arms": {"rnn": {"search": {"space": {f"clip.{n}": [1, 2, 3] for n in range(30)}}}, "lstm": {}}},
            "scales.paper: 205,891,132,094,655 runs are more than 100,000",
        ),
    ],
)
def test_mistakes(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        load_paper_fields(fields(**changes), "example")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("relation", "sentence"),
    [
        ({"kind": "lower", "order": ["rnn", "lstm"], "quantity": "speed"}, "there is no quantity 'speed'"),
        ({"kind": "most-runs", "all_of": [{"arms": ["rnn"], "quantity": "score"}]}, "should have a bound"),
        ({"kind": "most-runs", "all_of": [{"arms": ["rnn"], "quantity": "solved", "below": 1}]}, "yes or no"),
        ({"kind": "within", "arm": "rnn", "quantity": "score", "low": 2, "high": 1}, "below high"),
    ],
)
def test_mistakes_in_relations(relation: dict[str, Any], sentence: str) -> None:
    claim = {**fields()["claims"][0], "relation": relation}
    with pytest.raises(UserError) as caught:
        load_paper_fields(fields(claims=[claim]), "example")
    assert sentence in str(caught.value)


def test_the_schema_knows_every_field() -> None:
    """For editors: what the shipped files have stands in it, and quantities are text."""
    made = paper_schema()
    assert set(fields()) <= set(made["properties"]) and "task" in made["properties"]["base"]["properties"]
    assert made["$defs"]["Order"]["properties"]["quantity"]["type"] == "string"
    assert not made["additionalProperties"]


def test_unknown_name_and_scale() -> None:
    with pytest.raises(UserError, match="did you mean 'arjovsky-2016'"):
        load_paper("arjovski-2016")
    spec: PaperSpec = load_paper("arjovsky-2016")
    with pytest.raises(UserError, match="has no scale 'cpus'; did you mean 'cpu'"):
        spec.scale("cpus")
