"""What `import longlag` gives: every name, lazily, with its type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import longlag

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "scipy", "pydantic", "mlflow", "optuna", "datasets", "matplotlib", "yaml", "rich", "typer")
TYPES = """
import longlag

reveal_type(longlag.run({}))
reveal_type(longlag.sweep({}))
reveal_type(longlag.report("quickstart"))
reveal_type(longlag.probe({}))
reveal_type(longlag.horizon({}))
reveal_type(longlag.reproduce("arjovsky-2016"))
reveal_type(longlag.layer("lstm", input_size=2, hidden_size=4))
reveal_type(longlag.RunSpec.model_validate({}))
longlag.typo
"""
REVEALED = ["RunResult", "StudyResult", "StudyResult", "ProbeResult", "Record", "Report", "Stack", "RunSpec"]


def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import sys, longlag; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_is_there() -> None:
    assert set(longlag.__all__) == set(longlag._HOMES) and set(longlag.__all__) <= set(dir(longlag))
    for name in longlag.__all__:
        found = getattr(longlag, name)
        assert found.__name__ == name and found.__doc__, name


def test_a_type_checker_knows_what_it_returns(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(TYPES)
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--config-file", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*command, str(script)], cwd=ROOT, capture_output=True, text=True, check=False)
    notes = [line.rpartition('"')[0].rpartition(".")[2] for line in done.stdout.splitlines() if "Revealed type" in line]
    assert notes == REVEALED, done.stdout
    assert 'Module has no attribute "typo"' in done.stdout
