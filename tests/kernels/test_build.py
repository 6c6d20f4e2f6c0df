"""The cache of built libraries: shared, private, and never trusted blindly."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from longlag.kernels.compiler.plan import make_plan
from longlag.kernels.targets.c import build
from longlag.kernels.targets.c.source import source

from tests.kernels.zoo import CELLS

ROOT = Path(__file__).parents[2]
SCRIPT = """
import torch
from tests.kernels.zoo import CELLS, compiled
cell = CELLS["rnn"]
layer = cell.layer(2, 4, torch.Generator().manual_seed(0))
outputs, _ = compiled(cell, layer.weights(), torch.ones(5, 3, 2), {"h": torch.zeros(3, 4)})
print(outputs.sum().item())
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "longlag"


@pytest.fixture
def text():
    return source(make_plan(CELLS["rnn"]), "float")


def test_built_once_and_found_again(folder, text, monkeypatch):
    build.load(text)
    path = build.library_path(text)
    assert path.parent == folder and path.exists() and path.with_suffix(".c").read_text() == text
    assert folder.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(build, "compile_to", lambda *_: pytest.fail("built again"))
    build.load(text)
    assert build.library_path(text + " ") != path


def test_a_damaged_library_is_built_again(folder, text):
    build.load(text)
    path = build.library_path(text)
    path.unlink()
    path.write_bytes(b"\x7fELF and then nothing")
    path.chmod(0o700)
    assert build.load(text).longlag_call_size() > 0


def test_what_others_could_write_is_not_loaded(folder, text):
    build.load(text)
    path = build.library_path(text)
    path.chmod(0o777)
    assert not build.trusted(path)
    path.chmod(0o700)
    assert build.trusted(path)
    folder.chmod(0o777)
    assert not build.trusted(path)
    assert build.cache_folder() != folder  # a private temporary folder serves
    target = folder / "elsewhere.so"
    path.replace(target)
    path.symlink_to(target)
    folder.chmod(0o700)
    assert not build.trusted(path)


def test_without_a_writable_cache_a_private_folder_serves(tmp_path, monkeypatch, text):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    path = build.library_path(text)
    assert tmp_path not in path.parents and build.private(path.parent)
    assert build.load(text).longlag_call_size() > 0


def test_many_processes_at_once(folder):
    command = [sys.executable, "-c", SCRIPT]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=120)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 3
    assert len(answers) == 1
    assert sorted(p.suffix for p in folder.iterdir()) == [".c", ".c", ".so", ".so"]  # the cell and its products


def test_a_compiler_error_says_what_the_compiler_said(folder):
    with pytest.raises(build.BuildError, match="nonsense"):
        build.load("int nonsense = ;")
    assert list(folder.iterdir()) == []


def test_of_many_who_want_it_one_builds(folder, text, monkeypatch):
    builds, build_it = [], build.compile_to

    def slow(source, path):
        builds.append(path)
        time.sleep(0.2)  # so that the others come while it lasts
        build_it(source, path)

    monkeypatch.setattr(build, "compile_to", slow)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(build.load, [text] * 4))
    assert len(builds) == 1
    assert all(library.longlag_call_size() > 0 for library in found)
    assert sorted(p.suffix for p in folder.iterdir()) == [".c", ".so"]


def test_a_builder_that_hangs_holds_nobody_up_for_ever(folder, text, monkeypatch):
    path = build.library_path(text)
    monkeypatch.setattr(build, "WAIT_SECONDS", 0.1)
    with build.turn(path):  # somebody else's, who does not come to an end
        assert build.load(text).longlag_call_size() > 0
