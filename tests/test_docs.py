"""The documentation's examples, exactly as printed: plug-ins are installed and trained, code blocks run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from longlag import kernels, registry
from longlag.cells.lstm import LSTM
from tests.commands import Outcome, outputs, run

ROOT = Path(__file__).resolve().parents[1]
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def install(folder: Path, *pages: str) -> dict[str, str]:
    """Write the files of pages, install their packages apart from everything else; the environment that sees them."""
    packages = []
    for page in pages:
        files = dict(FILE.findall((ROOT / "docs" / page).read_text()))
        assert files
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        packages.append(str(folder / next(iter(files)).split("/")[0]))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "site"), *packages], check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "LONGLAG_HOME": str(folder / "home")}


SHORT = ["--set", "training.updates=20", "--set", "training.eval_every=10", "--set", "data.test=50"]


@pytest.mark.slow
def test_adding_a_cell(tmp_path: Path) -> None:
    environment = install(tmp_path, "adding-a-cell.md")
    task = ["--set", "task.length=12", "--set", "cell.update_bias=2"]
    listed, ran, _, probed = outputs(
        [
            ["list", "cells", "--json"],
            ["run", "adding", "--cell", "ugrnn", *task, *SHORT, "--json"],
            ["sweep", "adding", "--cell", "gru,ugrnn", "--trials", "2", "--workers", "1", *task[:2], *SHORT],
            ["probe", "adding", "--cell", "ugrnn", *task[:2], "--plot", str(tmp_path / "flow.png"), "--json"],
        ],
        ROOT,
        environment,
    )
    assert "ugrnn" in [row["name"] for row in json.loads(listed)]
    result = json.loads(ran)
    assert result["spec"]["cell"] == {"name": "ugrnn", "update_bias": 2.0} and result["updates"] == 20
    compiled = kernels.refusal(LSTM()) is None
    assert result["environment"]["kernel"] == ("compiled" if compiled else "plain")
    assert compiled == ("flags" in result["environment"])  # which is a tag of the run, as all of it is
    assert "ugrnn" in json.dumps(json.loads(probed))
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "cell/test_ugrnn.py")]
    done = subprocess.run(suite, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:]


@pytest.mark.slow
def test_adding_a_matrix_cell(tmp_path: Path) -> None:
    environment = install(tmp_path, "adding-a-matrix-cell.md")
    length = ["--set", "task.length=12"]
    ran, _, probed = outputs(
        [
            ["run", "adding", "--cell", "gated-memory", *length, *SHORT, "--json"],
            ["sweep", "adding", "--cell", "gated-memory", "--trials", "2", "--workers", "1", *length, *SHORT],
            ["probe", "adding", "--cell", "gated-memory", *length, "--json"],
        ],
        ROOT,
        environment,
    )
    compiled = kernels.refusal(LSTM()) is None
    assert json.loads(ran)["environment"]["kernel"] == ("compiled" if compiled else "plain")
    assert "layer1.S" in json.dumps(json.loads(probed))


@pytest.mark.slow
def test_adding_a_task(tmp_path: Path) -> None:
    environment = install(tmp_path, "adding-a-task.md")
    run = ["run", "digit-sum", "--cell", "gru", "--set", "task.length=6", *SHORT, "--json"]
    listed, shown, ran = outputs([["list", "tasks", "--json"], ["show", "digit-sum"], run], ROOT, environment)
    assert "digit-sum" in [row["name"] for row in json.loads(listed)]
    assert "accuracy above 0.99" in shown
    result = json.loads(ran)
    assert result["baseline"] == pytest.approx(1.0986, abs=1e-4) and 0 <= result["test"]["accuracy"] <= 1


EXTENSIONS = {"optimizer": "lion", "sampler": "neighbour", "objective": "reach", "probe": "dimension"}


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What commands do where the packages of the pages on optimizers, samplers, objectives and probes are installed."""
    folder = tmp_path_factory.mktemp("extensions")
    environment = install(folder, *(f"adding-{'an' if kind[0] in 'o' else 'a'}-{kind}.md" for kind in EXTENSIONS))
    settings = ["task.length=8", "optimizer.betas=[0.8, 0.9]", "sampler.explore=0.4", "probe.when.dimension=[end]"]
    fields = [word for setting in settings for word in ("--set", setting)]
    search = ["--sampler", "neighbour", "--objectives", "reach", "--trials", "3", "--workers", "1"]
    given = ["--cell", "gru,rnn", "--optimizer", "lion", "--hidden-size", "8", *fields, *SHORT, *search]
    commands = {
        **{kind: ["list", f"{kind}s", "--json"] for kind in EXTENSIONS},
        "sweep": ["sweep", "adding", *given, "--json"],
        "schema": ["schema", "study"],
        "wrong": ["run", "adding", "--cell", "gru", "--optimizer", "lion", "--set", "optimizer.beta=[0.1, 0.2]"],
        "probed": ["probe", "adding", "--cell", "lstm", "--seeds", "0", "--dynamics", "--json"],
    }
    outcomes, _ = run(list(commands.values()), ROOT, environment)
    return dict(zip(commands, outcomes, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXTENSIONS)
def test_an_extension_is_listed_with_where_it_comes_from(kind: str, extended: dict[str, Outcome]) -> None:
    rows = {row["name"]: row for row in json.loads(extended[kind].out)}
    row = rows[EXTENSIONS[kind]]
    assert row["from"] == f"longlag-{EXTENSIONS[kind]} 1.0" and row["about"] and "error" not in row


@pytest.mark.slow
def test_a_study_with_an_optimizer_sampler_objective_and_probe_of_third_parties(extended: dict[str, Outcome]) -> None:
    found = json.loads(extended["sweep"].out)
    assert found["spec"]["sampler"] == {"name": "neighbour", "seed": 0, "explore": 0.4}
    values = [trial["objective"] for trial in found["trials"]]
    assert len(values) == 3 and values == sorted(values, reverse=True), "the best is the largest"
    for trial in found["trials"]:
        (run,) = trial["runs"]
        assert run["spec"]["optimizer"]["betas"] == [0.8, 0.9] and run["spec"]["optimizer"]["name"] == "lion"
        assert run["spec"]["probe"]["when"]["dimension"] == ["end"]
        assert trial["objective"] == run["gradient"]["final_horizon"]


@pytest.mark.slow
def test_the_schema_and_the_refusals_know_them(extended: dict[str, Outcome]) -> None:
    schema = json.loads(extended["schema"].out)["$defs"]
    assert "lion" in schema["OptimizerSpec"]["oneOf"][0]["enum"] and "dimension" in schema["WhenSpec"]["properties"]
    assert "neighbour" in schema["SamplerSpec"]["oneOf"][0]["enum"]
    wrong = extended["wrong"]
    assert wrong.code == 2 and "no field 'beta'; did you mean 'betas'?" in wrong.err


@pytest.mark.slow
def test_the_numbers_of_a_probe_are_recorded_by_layer(extended: dict[str, Outcome]) -> None:
    (values,) = json.loads(extended["probed"].out)["rows"][0]["dynamics"]
    assert {"dimension/layer1/h", "dimension/layer1/c", "lyapunov/layer1/exponent_1"} <= values.keys()
    assert all(1 <= values[f"dimension/layer1/{state}"] <= 64 for state in "hc")


@pytest.mark.slow
def test_adding_a_target(tmp_path: Path) -> None:
    environment = install(tmp_path, "adding-a-target.md")
    (listed,) = outputs([["list", "targets", "--json"]], ROOT, environment)
    rows = {row["name"]: row for row in json.loads(listed)}
    assert rows["exact"]["from"] == "longlag-exact 1.0" and rows["c"]["devices"] == ["cpu"]
    (block,) = [text for text in PYTHON.findall((ROOT / "docs/adding-a-target.md").read_text()) if "Stack(" in text]
    subprocess.run([sys.executable, "-c", block], env=environment, cwd=tmp_path, check=True)
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "target/test_exact.py")]
    done = subprocess.run(suite, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-3000:]


@pytest.mark.slow
def test_adding_a_launcher(tmp_path: Path) -> None:
    environment = install(tmp_path, "adding-a-launcher.md")
    small = ["--set", "task.length=6", *SHORT, "--workers", "2", "--executor", "{name: pinned, nice: 7}", "--json"]
    sweep = ["sweep", "adding", "--cell", "rnn,gru", "--name", "pinned", *small]
    listed, swept = outputs([["list", "executors", "--json"], sweep], ROOT, environment)
    assert "pinned" in [row["name"] for row in json.loads(listed)]
    assert [trial["state"] for trial in json.loads(swept)["trials"]] == ["complete", "complete"]


def test_readme_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGLAG_HOME", str(tmp_path / "home"))
    blocks = PYTHON.findall((ROOT / "README.md").read_text())
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("kind", ["task", "cell"])
def test_every_task_and_cell_stands_in_the_readme_and_has_a_page(kind: registry.Kind) -> None:
    readme = (ROOT / "README.md").read_text()
    pages = "".join(path.read_text() for path in (ROOT / "docs" / f"{kind}s").glob("*.md"))
    for name in registry.names(kind):
        assert f"`{name}`" in readme, name
        assert f"`{name}`" in pages or f"--cell {name}" in pages or f"run {name} " in pages, name


@pytest.mark.parametrize("page", ["README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_pictures_of_the_readme_show_on_the_package_index() -> None:
    source = "https://raw.githubusercontent.com/longlag/longlag/main/"
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(pictures) >= 3
    for picture in pictures:
        assert picture.startswith(source) and (ROOT / picture.removeprefix(source)).is_file(), picture
