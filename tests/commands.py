"""Several command lines of longlag in one process: importing torch and MLflow takes seconds, commands do not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SCRIPT = """
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.abc import MetaPathFinder
from io import StringIO

blocked, watched, commands = json.loads(sys.stdin.read())

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from longlag.cli.app import app
from longlag.cli.errors import invoke

outcomes = []
for command in commands:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = invoke(app, command)
    outcomes.append([code, out.getvalue(), err.getvalue()])
print(json.dumps([outcomes, [name for name in watched if name in sys.modules]]))
"""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def run(
    commands: Sequence[Sequence[str]],
    folder: Path,
    environment: Mapping[str, str],
    *,
    python: str = sys.executable,
    safe_path: bool = True,
    blocked: Sequence[str] = (),
    watched: Sequence[str] = (),
) -> tuple[list[Outcome], list[str]]:
    """What each command does where the packages `blocked` are absent; which of `watched` were imported.

    Without `safe_path` the folder is the first on the import path.
    """
    done = subprocess.run(
        [python, *(["-P"] if safe_path else []), "-c", SCRIPT],
        input=json.dumps([blocked, watched, commands]),
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes, imported = json.loads(done.stdout)
    return [Outcome(*outcome) for outcome in outcomes], imported


def outputs(commands: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str]) -> list[str]:
    """What each command prints; all of them succeed."""
    outcomes, _ = run(commands, folder, environment)
    for command, outcome in zip(commands, outcomes, strict=True):
        assert outcome.code == 0, f"{' '.join(command)}: {outcome.err}"
    return [outcome.out for outcome in outcomes]
