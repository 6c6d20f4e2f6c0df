"""What `longlag doctor` says of the compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

SCRIPT = """
from longlag.cli.checks import _compiler
print(_compiler().model_dump_json())
"""


def finding(tmp_path, body):
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\n{body}\n")
    compiler.chmod(0o755)
    environment = {**os.environ, "CC": str(compiler), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize(
    ("body", "state", "words"),
    [
        pytest.param('exec gcc "$@"', "ok", "an LSTM was built and run", marks=pytest.mark.slow),
        pytest.param(
            '[ "$1" = --version ] && echo "shy 1.0" && exit; echo "I would rather not" >&2; exit 1',
            "wrong",
            "rather not",
            marks=pytest.mark.slow,
        ),
        ('[ -f cell.c ] && sed -i "s/= ll_tanh(/= ll_exp(/" cell.c; exec gcc "$@"', "wrong", "gives wrong numbers"),
    ],
    ids=["works", "refuses", "miscompiles"],
)
def test_a_compiler_is_ok_only_if_a_cell_built_with_it_runs_right(tmp_path, body, state, words):
    found = finding(tmp_path, body)
    assert (found["state"], words in found["about"]) == (state, True), found
