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

ROOT = Path(__file__).resolve().parents[1]
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def install(page: str, folder: Path) -> dict[str, str]:
    """Write the files of a page, install its package apart from everything else; the environment that sees it."""
    files = dict(FILE.findall((ROOT / "docs" / page).read_text()))
    assert files
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    package = folder / next(iter(files)).split("/")[0]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(package)], check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "LONGLAG_HOME": str(folder / "home")}


def longlag(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-c", "from longlag.cli import main; main()", *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


SHORT = ["--set", "training.updates=20", "--set", "training.eval_every=10", "--set", "data.test=50"]


def test_adding_a_cell(tmp_path: Path) -> None:
    environment = install("adding-a-cell.md", tmp_path)
    assert "ugrnn" in [row["name"] for row in json.loads(longlag(environment, "list", "cells", "--json"))]
    task = ["--set", "task.length=12", "--set", "cell.update_bias=2"]
    result = json.loads(longlag(environment, "run", "adding", "--cell", "ugrnn", *task, *SHORT, "--json"))
    assert result["spec"]["cell"] == {"name": "ugrnn", "update_bias": 2.0} and result["updates"] == 20
    compiled = kernels.refusal(LSTM()) is None
    assert result["environment"]["kernel"] == ("compiled" if compiled else "plain")
    assert compiled == ("flags" in result["environment"])  # which stands on the run as a tag, as all of it does
    longlag(environment, "sweep", "adding", "--cell", "gru,ugrnn", "--trials", "2", "--workers", "1", *task[:2], *SHORT)
    plot = ["--plot", str(tmp_path / "flow.png")]
    probed = json.loads(longlag(environment, "probe", "adding", "--cell", "ugrnn", *task[:2], *plot, "--json"))
    assert "ugrnn" in json.dumps(probed)
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "cell/test_ugrnn.py")]
    done = subprocess.run(suite, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:]


def test_adding_a_task(tmp_path: Path) -> None:
    environment = install("adding-a-task.md", tmp_path)
    assert "parity" in [row["name"] for row in json.loads(longlag(environment, "list", "tasks", "--json"))]
    assert "accuracy above 0.99" in longlag(environment, "show", "parity")
    task = ["--set", "task.length=6"]
    result = json.loads(longlag(environment, "run", "parity", "--cell", "gru", *task, *SHORT, "--json"))
    assert result["baseline"] == pytest.approx(0.6931, abs=1e-4) and 0 <= result["test"]["accuracy"] <= 1


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
