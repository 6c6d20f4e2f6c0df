"""``longlag probe``: the known picture at initialisation, and what it says of mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.conftest import Done, Longlag


def parsed(done: Done) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_the_known_picture(longlag: Longlag, tmp_path: Path) -> None:
    command = ["probe", "copy-memory", "--cell", "rnn,urnn", "--set", "task.length=500", "--seeds", "0"]
    picture = tmp_path / "flow.png"
    report = parsed(longlag(*command, "--plot", str(picture), "--json"))
    assert picture.read_bytes().startswith(b"\x89PNG") and report["kind"] == "lag"
    decades = {row["cell"]: row["states"][0]["median"]["log10_ratio"] for row in report["rows"]}
    steps = {row["cell"]: row["states"][0]["lag"][-1] for row in report["rows"]}
    assert min(steps.values()) >= 500
    assert decades["rnn"] < -5 and abs(decades["urnn"]) < 1


def test_axes_formats_and_a_finished_run(longlag: Longlag, tmp_path: Path) -> None:
    picture, home = str(tmp_path / "flow.png"), str(tmp_path / "home")
    axes = ["--cell", "rnn", "--depth", "1,2", "--length", "40", "--dtype", "float32,float16", "--seeds", "0,1"]
    rows = parsed(longlag("probe", "adding", *axes, "--plot", picture, "--json", "--dynamics"))["rows"]
    assert [(row["depth"], row["dtype"]) for row in rows] == [
        (1, "float32"),
        (1, "float16"),
        (2, "float32"),
        (2, "float16"),
    ]
    assert [state["state"] for state in rows[2]["states"]] == ["layer1.h", "layer2.h"]
    assert rows[1]["states"][0]["median"]["underflow"] < 40
    assert "lyapunov/layer2/exponent_1" in rows[2]["dynamics"][0]
    small = ["--updates", "2", "--set", "task.length=6", "--set", "data={validation: 8, test: 8}"]
    run = parsed(longlag("run", "adding", "--cell", "rnn", *small, "--home", home, "--json"))["run_id"]
    told = longlag("probe", "--run", run, "--home", home, "--plot", picture)
    assert told.code == 0 and "initially" in told.out and "trained" in told.out


def test_an_option_of_the_one_cell_counts(longlag: Longlag) -> None:
    words = ["probe", "copy-memory", "--cell", "mamba2", "--length", "200", "--seeds", "0", "--json"]
    (first,), (second,) = (parsed(longlag(*words, *more))["rows"] for more in ([], ["--set", "cell.half_life=200"]))
    assert second["cell"] == "mamba2 half_life=200" and first["cell"] == "mamba2"
    assert second["states"][0]["median"]["log10_ratio"] > first["states"][0]["median"]["log10_ratio"]


def test_blocks_are_an_axis(longlag: Longlag) -> None:
    words = [
        "probe",
        "copy-memory",
        "--cell",
        "gru",
        "--block",
        "plain,mamba",
        "--length",
        "5",
        "--seeds",
        "0",
        "--json",
    ]
    plain, mamba = parsed(longlag(*words))["rows"]
    assert (plain["block"], mamba["block"]) == ("plain", "mamba") and plain["states"] != mamba["states"]


def test_mistakes(longlag: Longlag, tmp_path: Path) -> None:
    for command, said in {
        ("probe",): "which task?",
        ("probe", "adding"): "which cells?",
        ("probe", "adding", "--cell", "lstn"): "lstm",
        ("probe", "adding", "--cell", "rnn", "--dtype", "int8"): "float64, float32, bfloat16, float16",
        ("probe", "adding", "--cell", "lstm", "--init", "wrong"): "init",
        ("probe", "adding", "--cell", "rnn", "--plot", "x.doc"): ".png, .pdf, .svg",
        ("probe", "adding", "--cell", "rnn", "--plot", "nowhere/x.png"): "a folder that is there",
        ("probe", "adding", "--cell", "mamba2,gla", "--set", "cell.half_life=9"): "--cell has several values",
        ("probe", "--run", "abc", "--home", str(tmp_path)): "no longlag home",
    }.items():
        told = longlag(*command)
        assert told.code == 2 and said in told.err, (command, told.err)
