"""The cache of built libraries: shared, private, and never trusted blindly."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from longlag import files
from longlag.cli import file_checks
from longlag.cli.finding import Finding
from longlag.kernels import loads
from longlag.kernels.targets.c import build, cache, cc
from tests.damage import DAMAGES, damage

SMALL = "long longlag_call_size(void) { return 8; }"
ROOT = Path(__file__).parents[2]
SCRIPT = """
import torch
from tests.damage import DAMAGES, damage
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


def test_built_once_and_found_again(folder, monkeypatch):
    announced: list[Path] = []
    with loads.on_load(announced.append):
        build.load(SMALL)
    path = build.library_path(SMALL)
    assert announced == [path]
    assert path.parent == folder and path.exists() and path.with_suffix(".c").read_text() == SMALL
    assert folder.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(build, "compile_to", lambda *_: pytest.fail("built again"))
    build.load(SMALL)
    assert build.library_path(SMALL + " ") != path


def faked(monkeypatch, folder, **lines):
    """A machine of another processor."""
    description = folder / "cpuinfo"
    description.write_text("".join(f"{key}\t: {value}\n" for key, value in lines.items()))
    monkeypatch.setattr(cc, "CPUINFO", description)
    cc.processor.cache_clear()
    cc.accepted_flags.cache_clear()


@pytest.fixture
def undo():
    yield
    cc.processor.cache_clear()
    cc.accepted_flags.cache_clear()


@pytest.mark.parametrize(
    "other", [{"model name": "Xeon", "flags": "fpu sse2 avx2"}, {"model name": "EPYC", "flags": "fpu sse2"}]
)
def test_another_processor_gets_a_library_of_its_own(folder, tmp_path, monkeypatch, undo, other):
    faked(monkeypatch, tmp_path, **{"model name": "Xeon", "flags": "fpu sse2", "cpu MHz": "2100.000"})
    build.load(SMALL)
    path = build.library_path(SMALL)
    faked(monkeypatch, tmp_path, **{"model name": "Xeon", "flags": "fpu sse2", "cpu MHz": "2812.345"})
    assert build.library_path(SMALL) == path  # the same, at another clock rate
    faked(monkeypatch, tmp_path, **other)
    built = []
    monkeypatch.setattr(build, "compile_to", lambda source, path: built.append(path))
    with pytest.raises(build.BuildError):
        build.load(SMALL)
    assert built == [build.library_path(SMALL)] and built != [path]


def test_where_the_system_describes_no_processor_the_compiler_does(tmp_path, monkeypatch, undo):
    monkeypatch.setattr(cc, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(cc, "from_sysctl", lambda: "")
    cc.processor.cache_clear()
    assert "#define __STDC__ 1" in cc.processor()


def test_macos_describes_its_processor_by_sysctl(tmp_path, monkeypatch, undo):
    monkeypatch.setattr(cc, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr("sys.platform", "darwin")
    found = []
    for name in ("Apple M1", "Apple M3"):
        monkeypatch.setattr(cc, "output_of", lambda *_, name=name: f"machdep.cpu.brand_string: {name}")
        cc.processor.cache_clear()
        found.append(cc.processor())
    assert "Apple M1" in found[0] and "Apple M3" in found[1]


def script(path, *lines):
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return cc.Compiler(str(path), path.name)


def test_a_flag_that_a_compiler_does_not_know_is_left_out_and_the_answer_kept(tmp_path, monkeypatch):
    real, asked = cc.compiler(), tmp_path / "asked"
    refuses = 'for flag; do case "$flag" in -fvect-cost-model*|-march=*) exit 1;; esac; done'
    narrow = script(tmp_path / "narrow-cc", f"echo >> {asked}", refuses, f'exec {real.path} "$@"')
    found = cc.accepted_flags(narrow, tmp_path)
    assert "-O2" in found and "-fopenmp-simd" in found and "-fvect-cost-model=dynamic" not in found
    assert not any(flag.startswith("-march") for flag in found)
    asked.unlink()
    cc.accepted_flags.cache_clear()
    assert cc.accepted_flags(narrow, tmp_path) == found and not asked.exists()


@pytest.mark.fault
@pytest.mark.parametrize("name", [*DAMAGES, "another library"])
def test_a_damaged_library_is_built_again_with_one_line(name, folder, caplog):
    """Loading it would end the process: one that is cut off by SIGBUS, one that was changed by whatever it does."""
    build.load(SMALL)
    path = build.library_path(SMALL)
    if name == "another library":
        build.load("int another;")
        other = build.library_path("int another;")
        shutil.copy(other, path.with_name("copied"))
        path.with_name("copied").replace(path)
        files.beside(path).write_bytes(files.beside(other).read_bytes())
    else:
        damage(path, name)
    assert not caplog.messages
    assert build.load(SMALL).longlag_call_size() == 8
    assert caplog.messages == [f"kernel library {path} is built again: its checksum differs"]
    files.read_with_checksum(path)


@pytest.mark.fault
def test_a_library_whose_builder_was_killed_is_built_again(folder, caplog):
    build.load(SMALL)
    path = build.library_path(SMALL)
    files.beside(path).unlink()
    damage(path, "cut off")
    assert build.load(SMALL).longlag_call_size() == 8 and files.read_with_checksum(path) and not caplog.messages


@pytest.mark.fault
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_flags_are_found_again_with_one_line(name, tmp_path, caplog):
    compiler = cc.compiler()
    found = cc.accepted_flags(compiler, tmp_path)
    (path,) = tmp_path.glob("*.flags")
    damage(path, name)
    cc.accepted_flags.cache_clear()
    assert cc.accepted_flags(compiler, tmp_path) == found
    assert caplog.messages == [f"the compiler's flags in {path} are found again: its checksum differs"]
    cc.accepted_flags.cache_clear()


@pytest.mark.fault
def test_the_doctor_names_the_cache_and_what_is_damaged_in_it(folder):
    build.load(SMALL)
    path = build.library_path(SMALL)
    files.beside(damaged := path.with_name("0.so")).write_bytes(files.beside(path).read_bytes())
    damaged.write_bytes(path.read_bytes())
    path.with_name("1.so").write_bytes(b"half")
    more = ", 1 without a checksum, which are not used"
    whole = Finding(what="kernels of c", state="ok", about=f"{folder}: 2 files whole{more}")
    about = f"{damaged}: its checksum differs; it is built again when it is needed"
    assert list(file_checks.kernels(repair=False)) == [Finding(what="kernels of c", state="wrong", about=about), whole]
    about = f"{damaged}: its checksum differs; removed"
    assert list(file_checks.kernels(repair=True)) == [
        Finding(what="kernels of c", state="repaired", about=about),
        whole,
    ]
    assert list(file_checks.kernels(repair=False)) == [whole]


def test_what_others_could_write_is_not_loaded(folder):
    build.load(SMALL)
    path = build.library_path(SMALL)
    path.chmod(0o777)
    assert not cache.trusted(path)
    path.chmod(0o700)
    assert cache.trusted(path)
    folder.chmod(0o777)
    assert not cache.trusted(path)
    assert cache.cache_folder() != folder  # a private temporary folder serves
    target = folder / "elsewhere.so"
    path.replace(target)
    path.symlink_to(target)
    folder.chmod(0o700)
    assert not cache.trusted(path)


def test_without_a_writable_cache_a_private_folder_serves(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    path = build.library_path(SMALL)
    assert tmp_path not in path.parents and cache.private(path.parent)
    assert build.load(SMALL).longlag_call_size() > 0


@pytest.mark.slow
def test_many_processes_at_once(folder):
    command = [sys.executable, "-c", SCRIPT]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=300)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 3
    assert len(answers) == 1
    assert sorted(p.suffix for p in folder.iterdir()) == [
        ".c",
        ".c",
        ".flags",
        *[".sha256"] * 3,
        ".so",
        ".so",
    ]  # the cell, its products


def test_a_compiler_error_says_what_the_compiler_said(folder):
    with pytest.raises(build.BuildError, match="nonsense"):
        build.load("int nonsense = ;")
    assert sorted(p.suffix for p in folder.iterdir()) == [".flags", ".sha256"]


def test_of_many_threads_that_need_it_one_builds(folder, monkeypatch):
    builds, build_it = [], build.compile_to

    def slow(source, path):
        builds.append(path)
        time.sleep(0.2)  # so that the others come while it lasts
        build_it(source, path)

    monkeypatch.setattr(build, "compile_to", slow)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(build.load, [SMALL] * 4))
    assert len(builds) == 1
    assert all(library.longlag_call_size() > 0 for library in found)
    assert sorted(p.suffix for p in folder.iterdir()) == [".c", ".flags", ".sha256", ".sha256", ".so"]


def test_a_builder_that_hangs_delays_others_only_for_a_while(folder, monkeypatch):
    path = build.library_path(SMALL)
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.1)
    with cache.build_lock(path):  # held by a builder that never ends
        assert build.load(SMALL).longlag_call_size() > 0
