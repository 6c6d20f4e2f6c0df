"""Every command: what it prints, and what it prints for programs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from longlag import specfile
from longlag.spec import load_study, points
from tests.cli.conftest import Done, Longlag

GRID = ["adding", "--cell", "rnn,gru", "--depth", "1,2", "--seeds", "0"]


@pytest.fixture
def grid(tiny_options: list[str]) -> list[str]:
    return [word for word in [*GRID, *tiny_options] if word]


def parsed(done: Done) -> Any:
    assert done.code == 0, done.err
    return json.loads(done.out)


# -- help -------------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "optuna", "datasets", "numpy", "pandas", "pydantic", "matplotlib", "yaml", "sqlalchemy")
    code = (
        "import sys; from longlag.cli.errors import invoke; from longlag.cli import app\n"
        f"assert invoke(app, ['--help']) == 0\nprint([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for command in ("run", "sweep", "list", "show", "report", "reproduce", "ui", "schema"):
        assert command in done.stdout


def test_import_harness_imports_nothing_heavy() -> None:
    code = "import sys, longlag; print([m for m in ('torch', 'mlflow', 'optuna', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["run", "sweep", "show", "report", "reproduce", "ui", "schema"])
def test_every_commands_help_teaches_by_example(command: str, longlag: Longlag) -> None:
    done = longlag(command, "--help")
    assert done.code == 0
    assert f"longlag {command}" in done.out


def test_alone_it_shows_its_help_and_version_its_version(longlag: Longlag) -> None:
    assert "sweep quickstart" in longlag().out
    assert longlag("--version").out.startswith("longlag ")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("longlag run ad", "adding"),
        ("longlag run adding --cell l", "lstm"),
        ("longlag sweep adding --cell rnn,l", "rnn,lstm"),
        ("longlag sweep quick", "quickstart"),
        ("longlag show copy", "copy-memory"),
        ("longlag rep", "report"),
    ],
)
def test_the_shell_completes_names(words: str, completed: str) -> None:
    environment = {
        **os.environ,
        "_LONGLAG_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    code = "import sys; sys.argv = ['longlag']; from longlag.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert completed in done.stdout.split(), done.stdout + done.stderr


# -- list, show, schema -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "names"),
    [("tasks", {"adding", "copy-memory"}), ("cells", {"rnn", "irnn", "lstm", "gru"}), ("studies", {"quickstart"})],
)
def test_lists_for_readers_and_programs(kind: str, names: set[str], longlag: Longlag) -> None:
    rows = parsed(longlag("list", kind, "--json"))
    assert names <= {row["name"] for row in rows}
    table = longlag("list", kind).out
    assert all(name in table for name in names)


def test_lists_make_no_home(longlag: Longlag, tmp_path: Path) -> None:
    longlag("list", "studies")
    longlag("show", "quickstart")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_plug_in_is_shown_and_does_no_harm(
    longlag: Longlag, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "site" / "broken-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[longlag.cells]\nbroken = nowhere.at_all:Cell\n")
    code = "from longlag.cli import main; main()"
    command = [sys.executable, "-c", code, "list", "cells", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert "cannot be imported: No module named 'nowhere'" in rows["broken"]["error"]
    assert "about" in rows["lstm"]


def test_show_a_task(longlag: Longlag) -> None:
    shown = parsed(longlag("show", "adding", "--json"))
    assert shown["baseline"]["value"] == pytest.approx(1 / 6)
    assert shown["options"]["length"]["default"] == 100
    text = longlag("show", "adding").out
    for part in ("length = 100", "0.166667", "mse below 0.005", "A sample"):
        assert part in text


def test_show_a_cell(longlag: Longlag) -> None:
    shown = parsed(longlag("show", "lstm", "--json"))
    assert shown["states"] == ["h", "c"]
    assert shown["parameters"]["count"] == 4 * 64 * (2 + 64 + 1)
    text = longlag("show", "lstm").out
    for part in ("c_t = f_t * c_{t-1}", "forget_bias = 1.0", "17,152"):
        assert part in text


def test_the_built_in_study_is_valid_and_shown(longlag: Longlag) -> None:
    from longlag.spec import load_study

    shown = parsed(longlag("show", "quickstart", "--json"))
    spec = load_study(yaml.safe_load(shown["yaml"]))
    assert points.size(spec.space) == 12
    assert {run.cell.name for run in (spec.run(point, 0) for point in points.points(spec.space))} == {
        "rnn",
        "lstm",
        "gru",
    }
    assert "trials: not begun" in longlag("show", "quickstart").out


def valid(schema: dict[str, Any], root: dict[str, Any], value: Any) -> bool:
    """As much of JSON schema as the test needs."""
    if "$ref" in schema:
        return valid(root["$defs"][schema["$ref"].rpartition("/")[2]], root, value)
    if "oneOf" in schema:
        return sum(valid(inner, root, value) for inner in schema["oneOf"]) == 1
    if "anyOf" in schema:
        return any(valid(inner, root, value) for inner in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds = {
        "object": dict,
        "array": list | tuple,
        "string": str,
        "integer": int,
        "number": int | float,
        "boolean": bool,
    }
    if "type" in schema and schema["type"] != "null" and not isinstance(value, kinds[schema["type"]]):
        return False
    if schema.get("type") == "null":
        return value is None
    if isinstance(value, dict):
        fields, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        for key, inner in value.items():
            if key in fields or isinstance(rest, dict):
                if not valid(fields.get(key, rest), root, inner):
                    return False
            elif not rest:
                return False
        return all(key in value for key in schema.get("required", []))
    return (
        all(valid(schema["items"], root, item) for item in value)
        if isinstance(value, list) and "items" in schema
        else True
    )


def test_the_schema_knows_the_options_of_every_task_and_cell(longlag: Longlag) -> None:
    schema = parsed(longlag("schema", "run"))
    assert valid(schema, schema, {"task": {"name": "adding", "length": 50}, "cell": "lstm", "optimizer": "sgd"})
    assert valid(schema, schema, {"task": "copy-memory", "cell": {"name": "gru", "reset": "before"}})
    for block in ("mamba", {"name": "xlstm", "conv": False}, {"norm": "rms"}):
        assert valid(schema, schema, {"task": "adding", "cell": "gru", "model": {"block": block}})
    for wrong in (
        {"task": "addin"},
        {"model": {"block": "manba"}},
        {"model": {"block": {"name": "mamba", "conv4": True}}},
        {"cell": {"name": "gru", "forget_bias": 1}},
        {"optimizer": {"name": "adam", "momentum": 1}},
    ):
        assert not valid(schema, schema, {"task": "adding", "cell": "lstm", **wrong})


def test_the_schema_describes_the_built_in_study(longlag: Longlag) -> None:
    schema = parsed(longlag("schema"))
    study = yaml.safe_load(json.loads(longlag("show", "quickstart", "--json").out)["yaml"])
    assert valid(schema, schema, study)
    assert not valid(schema, schema, {**study, "space": {"cell": ["lstmm"]}})
    assert not valid(schema, schema, {**study, "base": {**study["base"], "modle": {}}})
    assert "optimizer.lr" not in schema["properties"]["base"]["properties"]
    assert "model.depth" in schema["properties"]["space"]["properties"]


def test_the_studies_in_the_documentation_are_valid_and_the_schema_knows_their_fields(longlag: Longlag) -> None:
    schema = parsed(longlag("schema"))
    page = (Path(__file__).resolve().parents[2] / "docs" / "sweeps.md").read_text()
    texts = re.findall(r"```yaml\n(name: .*?)```", page, re.DOTALL)
    specs = []
    for text in texts:
        fields = specfile.parse(text, "docs/sweeps.md")
        specs.append(load_study(fields))
        assert valid(schema, schema, fields), fields["name"]
        assert not valid(schema, schema, {**fields, "objectives": ["speed"]})
        assert not valid(schema, schema, {**fields, "hours": "ten"})
    by_name = {spec.name: spec for spec in specs}
    assert points.size(by_name["forget-bias"].space) == 40
    assert len(by_name) == len(texts) == 6
    wrong = {"cell.forget_bias": {"when": {"cell": "lstm"}, "value": [0]}}
    assert not valid(schema, schema, {"name": "x", "base": {}, "space": wrong})


@pytest.mark.slow
def test_the_sweep_over_blocks_in_the_documentation(
    longlag: Longlag, shared_home: Path, tiny_options: list[str]
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    (command,) = re.findall(r"^longlag (sweep .*?[^\\\\])$", page, re.MULTILINE | re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    options = ["--seeds", "0", *tiny_options, "--workers", "1", "--home", str(shared_home), "--json"]
    trials = parsed(longlag(*words, *options))["trials"]
    found = {(t["point"]["cell"], t["point"]["model.block"], t["point"].get("model.block.conv")) for t in trials}
    blocks = [("plain", None), ("pre-norm", None), ("mamba", True), ("mamba", False)]
    assert found == {(cell, *block) for cell in ("gru", "gated-deltanet") for block in blocks}
    assert all(trial["state"] == "complete" for trial in trials)


# -- run, sweep, report -----------------------------------------------------------------------------------------------


def test_run_says_how_it_went_and_finds_it_again(longlag: Longlag, shared_home: Path, tiny_options: list[str]) -> None:
    command = ["run", "adding", "--cell", "gru", "--seed", "11", *tiny_options, "--home", str(shared_home)]
    command += ["--set", "probe.curves=true"]
    first = longlag(*command)
    assert first.code == 0, first.err
    for part in (
        "budget: ",
        "of the trivial predictor's 0.167",
        "gradient horizon",
        f"longlag ui --home {shared_home}",
    ):
        assert part in first.out
    result = parsed(longlag(*command, "--json"))
    assert not result["trained"]
    assert result["spec"]["seed"] == 11
    again = parsed(longlag(*command, "--json", "--force"))
    assert again["trained"]
    assert again["test"] == result["test"]
    assert again["run_id"] != result["run_id"]


def test_options_files_and_settings_give_the_same_run(
    longlag: Longlag, shared_home: Path, tiny_options: list[str], tmp_path: Path
) -> None:
    options = ["--cell", "rnn", "--depth", "2", "--optimizer", "sgd", "--lr", "0.1", "--seed", "12"]
    home = ["--home", str(shared_home), "--json"]
    by_options = parsed(longlag("run", "adding", *options, *tiny_options, *home))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(by_options["spec"]))
    by_file = parsed(longlag("run", "--spec", "run.yaml", *home))
    assert by_file["run_key"] == by_options["run_key"]
    assert not by_file["trained"]
    assert parsed(longlag("run", "--spec", "run.yaml", "--seed", "13", *home))["spec"]["seed"] == 13


def test_sweep_report_and_show_tell_the_same(longlag: Longlag, shared_home: Path, grid: list[str]) -> None:
    command = ["sweep", *grid, "--name", "told", "--home", str(shared_home)]
    done = longlag(*command)
    assert done.code == 0, done.err
    assert "told: 4 of 4 trials" in done.out
    assert f"longlag ui told --home {shared_home}" in done.out
    assert "[4/4] trial " in done.err
    assert longlag("report", "told", "--no-importance", "--home", str(shared_home)).out == done.out
    importance = "importance of the axes: not told (4 trials; fANOVA needs 12; 4 trials; PED-ANOVA needs 30)"
    assert importance in longlag("report", "told", "--home", str(shared_home)).out
    report = parsed(longlag("report", "told", "--home", str(shared_home), "--json"))
    told = report.pop("importance")
    assert {(each["share"], each["axis"]) for each in told} == {(None, "cell"), (None, "model.depth")}
    assert parsed(longlag(*command, "--json")) == report
    assert len(report["trials"]) == 4 and report["remaining"] == 0
    lines = [line for line in done.out.splitlines() if "adam" in line]
    for line, trial in zip(lines, report["trials"], strict=True):
        assert trial["point"]["cell"] in line
        assert f"{trial['runs'][0]['test']['mse']:.3g}" in line
        assert f"{100 * trial['runs'][0]['score']:.3g} %" in line
    rows = {row["name"]: row for row in parsed(longlag("list", "studies", "--json", "--home", str(shared_home)))}
    assert rows["told"]["trials"] == "4 of 4"
    assert "model.depth" in longlag("show", "told", "--home", str(shared_home)).out
    assert "told: 4 of 4 trials" in longlag("sweep", "told", "--home", str(shared_home)).out


def test_the_same_options_continue_the_same_study(longlag: Longlag, shared_home: Path, grid: list[str]) -> None:
    command = ["sweep", *grid, "--home", str(shared_home), "--json", "--set", "data.seed=5"]
    first = parsed(longlag(*command, "--trials", "2"))
    assert (len(first["trials"]), first["remaining"]) == (2, 0)
    second = parsed(longlag(*command))
    assert second["spec"]["name"] == first["spec"]["name"]
    assert len(second["trials"]) == 4
    other = parsed(longlag(*command, "--set", "task.length=7"))
    assert other["spec"]["name"] != first["spec"]["name"]


def test_a_study_from_a_file_with_settings(
    longlag: Longlag, shared_home: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    fields = {"name": "from-file", "base": tiny, "space": {"model.depth": [1]}, "sampler": {"name": "grid"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(fields))
    settings = ["--set", "space.model.depth=[2, 3]", "--set", "task.length=8", "--set", "seeds=[4]"]
    result = parsed(longlag("sweep", "study.yaml", *settings, "--home", str(shared_home), "--json"))
    assert [trial["point"]["model.depth"] for trial in sorted(result["trials"], key=str)]
    runs = [run for trial in result["trials"] for run in trial["runs"]]
    assert {(run["spec"]["model"]["depth"], run["spec"]["task"]["length"], run["spec"]["seed"]) for run in runs} == {
        (2, 8, 4),
        (3, 8, 4),
    }


def test_a_trial_that_fails_is_told_and_exits_with_one(
    longlag: Longlag, shared_home: Path, grid: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from longlag.workers import runner

    def broken(*arguments: Any, **named: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(runner, "train", broken)
    done = longlag("sweep", *grid, "--home", str(shared_home), "--set", "data.seed=6")
    assert done.code == 1
    assert "OSError: disk full (traceback in " in done.out
    assert "Traceback" not in done.out + done.err


def test_ctrl_c_says_how_to_continue(
    longlag: Longlag, shared_home: Path, grid: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from longlag.workers import runner

    def stopped(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "train", stopped)
    done = longlag("sweep", *grid, "--name", "stopped", "--home", str(shared_home), "--set", "data.seed=7")
    assert done.code == 130
    assert "interrupted; what is finished is kept" in done.err
    assert "the same command continues the study" in done.err
    assert "Traceback" not in done.err


def test_an_unexpected_error_is_one_sentence_and_a_file_that_only_its_owner_may_read(
    longlag: Longlag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longlag.cli import studies

    def broken() -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(studies, "names", broken)
    done = longlag("list", "studies", "--home", "longlag-home")
    assert done.code == 1
    assert done.err.startswith("error: unexpected ZeroDivisionError: by zero (traceback in ")
    assert len(done.err.splitlines()) == 1
    path = Path(done.err.strip().rpartition(" in ")[2].rstrip(")"))
    assert "raise ZeroDivisionError" in path.read_text()
    assert path.parent == tmp_path / "longlag-home" / "logs" and path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("longlag list studies --home longlag-home\n")
    monkeypatch.setenv("LONGLAG_DEBUG", "1")
    assert "raise ZeroDivisionError" in longlag("list", "studies").err
