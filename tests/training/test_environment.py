"""What a run finds and leaves: torch's switches, and the record of what its bits depend on."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from longlag.spec import load_run
from longlag.training import environment as environments
from longlag.training import train
from longlag.training.checkpoint import Checkpoint, Checkpoints
from longlag.training.environment import environment, numerics
from longlag.training.resume import Resumable, fits
from tests.training.test_checkpoint import Dies, Killed
from tests.training.test_loop import TINY, Notes, numbers

DECIDING = ("torch", "torch_build", "numpy", "machine", "cpu", "threads", "kernel", "compiler", "flags", "blas")


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
@pytest.mark.parametrize("flushed", [True, False])
def test_a_run_leaves_torchs_switches_as_it_found_them(mode: str, flushed: bool) -> None:
    smallest = torch.tensor([sys.float_info.min], dtype=torch.float64)
    try:
        torch.set_deterministic_debug_mode(mode)
        found = torch.get_deterministic_debug_mode()
        torch.set_flush_denormal(flushed)
        with numerics():
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.is_deterministic_algorithms_warn_only_enabled()
            assert float(smallest / 2) == 0
        assert torch.get_deterministic_debug_mode() == found
        assert (float(smallest / 2) == 0) == flushed
    finally:
        torch.set_deterministic_debug_mode("default")
        torch.set_flush_denormal(False)


def test_everything_that_a_runs_bits_depend_on_is_recorded_with_it() -> None:
    recorded = environment("compiled", torch.device("cpu"))
    assert set(DECIDING) <= set(recorded) and all(recorded[key] for key in DECIDING)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and "model name" in cpuinfo.read_text():
        assert recorded["cpu"].rpartition(" (")[0] in cpuinfo.read_text()
    if (Path(__file__).resolve().parents[2] / ".git").exists():
        assert len(recorded["git_commit"].removesuffix("-dirty")) == 40


@pytest.mark.parametrize("key", [*DECIDING, "a tag of another target"])
def test_whatever_decides_bits_decides_whether_a_checkpoint_is_continued(key: str) -> None:
    spec, here = load_run(TINY), environment("compiled", torch.device("cpu"))
    run = cast(Resumable, SimpleNamespace(spec=spec, environment=here))
    for harmless, other in ((True, {"cores": "another"}), (False, {key: "another"})):
        body = {"run_key": spec.run_key, "environment": {**here, **other}}
        assert fits(run, Checkpoint(3, body, {})) == harmless


@pytest.mark.parametrize("key", ["flags", "a tag of another target"])
def test_a_checkpoint_of_another_environment_is_not_continued_and_a_line_says_why(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec, saved = load_run(TINY), Checkpoints(tmp_path / "run", 0)
    with pytest.raises(Killed):
        train(spec, [Dies(38)], checkpoints=saved)
    here = environment("compiled", torch.device("cpu"))
    there = {**here, key: "another"}
    monkeypatch.setattr("longlag.training.loop.environment", lambda kernel, device: there)
    notes = Notes()
    with caplog.at_level(logging.WARNING, logger="longlag"):
        result = train(spec, [notes], checkpoints=saved)
    assert min(update for update, _, _ in notes.values) == 0
    (line,) = [record.getMessage() for record in caplog.records if "starts again" in record.getMessage()]
    assert f"{key} was {here.get(key, 'not recorded')}, is another" in line and "checkpoint at update" in line
    assert numbers(result) == numbers(train(spec))


def test_the_same_environment_continues(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec, saved = load_run(TINY), Checkpoints(tmp_path / "run", 0)
    with pytest.raises(Killed):
        train(spec, [Dies(38)], checkpoints=saved)
    notes = Notes()
    train(spec, [notes], checkpoints=saved)
    assert min(update for update, _, _ in notes.values) > 30
    assert not caplog.records


def test_a_processor_that_names_no_model_is_told_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Arm, where Linux gives numbers."""
    text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n\nprocessor\t: 1\nCPU part\t: 0xd41\n"
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)
    assert environments.cpu.__wrapped__().startswith("CPU implementer 0x41 CPU part 0xd40 (")
