"""An ordinary user on an installation that only root may write: the commands of the first hour work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from longlag import __file__ as harness_file

pytestmark = [pytest.mark.slow, pytest.mark.fault]

NOBODY = 65534
SECONDS = 900
STUDY = """
name: first
base:
  task: {name: adding, length: 10}
  cell: lstm
  model: {hidden_size: 8}
  training: {updates: 20, eval_every: 10, batch_size: 8}
  data: {validation: 20, test: 20}
space:
  cell: [lstm, gru]
sampler: {name: grid}
"""


def as_ordinary_user() -> list[str]:
    """What goes before a command so that an ordinary user runs it.

    For root, a user without any of root's rights except to read: an interpreter below root's home can be executed, and
    nothing but the user's own files can be written.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv (util-linux) to run a command as another user")
    only = "-all,+dac_read_search"
    who = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", f"--inh-caps={only}"]
    command = [*who, f"--ambient-caps={only}", f"--bounding-set={only}", "--no-new-privs"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("root may not give its rights up here")
    return command


@pytest.fixture
def folder() -> Iterator[Path]:
    """The only folder that the user may write; it is the home as well. Below pytest's folders only root may go."""
    with TemporaryDirectory(prefix="ordinary-user-") as name:
        place = Path(name)
        (place / "first.yaml").write_text(STUDY)
        if os.geteuid() == 0:
            for path in (place, place / "first.yaml"):
                os.chown(path, NOBODY, NOBODY)
        yield place


def test_an_ordinary_user_on_a_read_only_installation(folder: Path) -> None:
    """Each command ends well, whatever is written lies below the user's folder, and no temporary folder is left."""
    user = as_ordinary_user()
    given = {name: value for name, value in os.environ.items() if not name.startswith(("LONGLAG_", "XDG_", "PYTEST_"))}
    environment = {**given, "HOME": str(folder), "USER": "ordinary", "LOGNAME": "ordinary", "TMPDIR": str(folder)}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*user, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
        )

    def longlag(*arguments: str) -> str:
        done = run(str(Path(sys.executable).with_name("longlag")), *arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr
        return done.stdout

    if user:  # otherwise this would be a test of root
        inside = Path(harness_file).with_name("written")
        assert "PermissionError" in run(sys.executable, "-c", f"open({str(inside)!r}, 'w')").stderr
    settings = ("--set", "task.length=10", "--hidden-size", "8", "--updates", "20", "--json")
    assert json.loads(longlag("run", "adding", "--cell", "gru", *settings))["updates"] == 20
    assert "gru" in longlag("sweep", "first.yaml", "--workers", "2")
    assert "lstm" in longlag("report", "first")
    assert (folder / "longlag-home" / "mlflow.db").is_file()
    assert list((folder / ".cache").rglob("*.so")), "kernels are cached below the user's home"
    assert [path.name for path in folder.glob("longlag-*")] == ["longlag-home"]
    if user:
        assert {path.stat().st_uid for path in folder.rglob("*")} == {NOBODY}
