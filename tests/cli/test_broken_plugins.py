"""Plug-ins that fail to import, or raise, take nothing down: their row says why, and everything else works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = {
    "absent": "import a_package_that_nobody_has",
    "raises": "raise RuntimeError('no licence\\nfound')",
    "syntax": "def (",
    "exits": "import sys; sys.exit(3)",
    "empty": "",
    "constructor": "from longlag.task import Options\n"
    "class Plugin:\n    'What it asks.'\n    version, Options = 1, Options\n"
    "    def __init__(self): raise OSError('no data')\n",
}
SAID = {
    "absent": "a_package_that_nobody_has",
    "raises": "RuntimeError: no licence found",
    "syntax": "SyntaxError",
    "exits": "SystemExit: 3",
    "empty": "Plugin",
    "constructor": "no data",
    "twice": "two packages register",
}
COMMANDS = [["list", "tasks"], ["list", "tasks", "--json"], ["list", "cells", "--json"], ["show", "lstm"]]
COMMANDS += [["show", "adding"], ["schema", "run"], ["show", "raises"], ["list", "probes", "--json"]]
CODE = f"""
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from longlag.cli import options
from longlag.cli.app import app
from longlag.cli.errors import invoke

told = []
for command in {COMMANDS!r}:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = invoke(app, command)
    told.append([code, out.getvalue(), err.getvalue()])
print(json.dumps([told, options.complete_task("addi") + options.complete_cell("lst")]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of plug-ins, as pip would have installed them."""
    folder = tmp_path_factory.mktemp("site")
    for name, code in MODULES.items():
        (folder / f"{name}_plugin.py").write_text(code)
    probe = "[longlag.probes]\nlag = constructor_plugin:Plugin\n"
    lines = "".join(f"{name} = {name}_plugin:Plugin\n" for name in MODULES)
    for distribution, more in {"one": "twice = one:Plugin\n", "other": "twice = other:Plugin\n"}.items():
        info = folder / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[longlag.tasks]\n{lines}{more}\n[longlag.cells]\n{lines}{more}\n{probe}"
        )
    return folder


def told(site: Path, **environment: str) -> tuple[list[tuple[int, str, str]], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONPATH": str(site), **environment},
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results, completed = json.loads(done.stdout)
    return [(code, out, err) for code, out, err in results], completed


@pytest.fixture(scope="module")
def usual(site: Path) -> tuple[list[tuple[int, str, str]], list[str]]:
    """The results of the commands without debugging."""
    return told(site)


def test_they_take_nothing_down(usual: tuple[list[tuple[int, str, str]], list[str]]) -> None:
    results, completed = usual
    assert [code for code, _, _ in results] == [0, 0, 0, 0, 0, 0, 2, 0]
    tasks, cells = ({row["name"]: row for row in json.loads(out)} for _, out, _ in results[1:3])
    assert "error" not in cells.pop("constructor")  # a cell is listed without being made
    for rows in (tasks, cells):
        for name, why in SAID.items():
            if name in rows:
                assert why in rows[name]["error"] and "\n" not in rows[name]["error"], rows[name]
        assert len([row for row in rows.values() if "error" not in row]) > 25
    assert "RuntimeError: no licence found" in results[6][2]
    assert not any("Traceback" in err for _, _, err in results)
    assert completed[0] == "adding" and "lstm" in completed


def test_a_probe_with_a_name_of_longlags_own_is_refused_beside_the_one_it_would_hide(
    usual: tuple[list[tuple[int, str, str]], list[str]],
) -> None:
    results, _ = usual
    own, refused = (row for row in json.loads(results[7][1]) if row["name"] == "lag")
    assert own["when"] and "error" not in own
    assert "has the name of one of longlag's own (total, lag, update_ratio)" in refused["error"]


def test_debugging_shows_their_tracebacks(site: Path) -> None:
    results, _ = told(site, LONGLAG_DEBUG="1")
    for listing in (results[0], results[2], results[6]):
        assert "Traceback" in listing[2] and "raises_plugin.py" in listing[2]
