"""A run that is killed at any update ends with the numbers of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longlag.spec import load_run
from longlag.training import RunCallback, train
from longlag.training.checkpoint import Checkpoint, Checkpoints, claimed, forget
from tests.damage import DAMAGES, damage
from tests.training.test_loop import TINY, Notes, numbers

VARIANTS: dict[str, dict[str, Any]] = {
    "lstm, adam, clipped": {},
    "dropout, norm, learned state, sgd with momentum": {
        "model": {"hidden_size": 6, "depth": 2, "dropout": 0.3, "layer_norm": True, "initial_state": "learned"},
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
    },
    "orthogonal, rmsprop, two rates, schedule": {
        "cell": "exprnn",
        "optimizer": {"name": "rmsprop", "momentum": 0.5, "centered": True, "constrained_lr": 1e-4},
        "schedule": {"name": "cosine", "warmup": 5},
    },
    "unitary, with buffers, plain sgd": {"cell": "urnn", "optimizer": "sgd"},
    "recurrent matrices kept orthogonal": {"model": {"hidden_size": 6, "recurrent": "orthogonal"}},
    "transformer with dropout, adamw": {"cell": {"name": "transformer", "dropout": 0.2}, "optimizer": "adamw"},
    "a block with dropout, adamw on weights alone, cosine to a floor": {
        "model": {"hidden_size": 6, "depth": 2, "dropout": 0.2, "block": "mamba"},
        "optimizer": {"name": "adamw", "weight_decay": 0.1, "decayed": "weights"},
        "schedule": {"name": "cosine", "warmup": 5, "floor": 0.01},
    },
    "teacher forcing by coin": {
        "task": {"name": "number-names"},
        "model": {"hidden_size": 6, "decoder": {"teacher_forcing": 0.8, "teacher_forcing_end": 0.2}},
        "data": {"validation": 10, "test": 10},
    },
    "curriculum": {"data": {"validation": 50, "test": 50, "curriculum": [{"until": 0.5, "task": {"length": 6}}]}},
    "any of several lengths": {"data": {"validation": 50, "test": 50, "curriculum": {"name": "uniform", "low": 4}}},
    "growing when solved": {
        "task": {"name": "parity", "length": 6, "solved_accuracy": 0.4},
        "data": {"validation": 50, "test": 50, "curriculum": {"name": "growing", "low": 2}},
        "training": {"updates": 60, "eval_every": 10, "batch_size": 10, "stop_when_solved": False},
    },
}


class Killed(Exception):
    pass


class Dies(Notes):
    """Forgets everything at an update, as a process does that is killed; keeps what a store would hold."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        super().measured(update, values)
        if update >= self.at:
            raise Killed


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_in_three_pieces_is_the_same_run(variant: str, tmp_path: Path) -> None:
    spec = load_run({**TINY, **VARIANTS[variant]})
    whole = Notes()
    undisturbed = train(spec, [whole])
    for at, seconds in ((13, 0), (38, 0)):
        pieces = Checkpoints(tmp_path / "run", seconds)
        with pytest.raises(Killed):
            train(spec, [Dies(at)], checkpoints=pieces)
    last = Notes()
    resumed = train(spec, [last], checkpoints=Checkpoints(tmp_path / "run"))
    assert numbers(resumed) == numbers(undisturbed)
    tail = {(update, name): value for update, name, value in last.values}
    assert min(update for update, _ in tail) > 30
    assert tail == {(u, n): v for u, n, v in whole.values if (u, n) in tail}


KILL = """
import json, os, signal, sys
from pathlib import Path
from longlag.spec import load_run
from longlag.training import RunCallback, train
from longlag.training.checkpoint import Checkpoints

class Dies(RunCallback):
    def measured(self, update, values):
        if update >= int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

train(load_run(json.loads(sys.argv[1])), [Dies()], checkpoints=Checkpoints(Path(sys.argv[2]), 0))
"""


@pytest.mark.slow
def test_sigkill_at_random_updates(tmp_path: Path) -> None:
    fields = {**TINY, "probe": {"log_every": 1, "batch_size": 10}}
    for at in sorted(np.random.default_rng().integers(2, 60, size=2)):
        command = [sys.executable, "-c", KILL, json.dumps(fields), str(tmp_path / "run"), str(at)]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    resumed = train(load_run(fields), checkpoints=Checkpoints(tmp_path / "run"))
    assert numbers(resumed) == numbers(train(load_run(fields)))


def test_a_run_stopped_by_hand_is_saved_at_once(tmp_path: Path) -> None:
    spec, saved = load_run(TINY), Checkpoints(tmp_path / "run")
    first = train(spec, interrupted=lambda: True, checkpoints=saved)
    assert (first.outcome, first.updates) == ("interrupted", 1)
    assert numbers(train(spec, checkpoints=saved)) == numbers(train(spec))


# -- the files --------------------------------------------------------------------------------------------------------


def some(update: int) -> Checkpoint:
    return Checkpoint(update, {"loss": 0.1}, {"w": torch.arange(update, dtype=torch.float32)})


@pytest.mark.fault
def test_two_are_kept_and_the_older_one_serves_when_the_newer_is_damaged(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "run")
    assert kept.read() is None
    for update in (1, 2, 3):
        kept.write(some(update))
    names = {f"0000000{update}.{kind}" for update in (2, 3) for kind in ("json", "safetensors")}
    assert {path.name for path in kept.folder.iterdir()} == names
    newest = kept.read()
    assert newest is not None and (newest.update, newest.body["loss"], len(newest.tensors["w"])) == (3, 0.1, 3)
    for name, content in (("00000003.safetensors", b""), ("00000002.json", b'{"update": 2}')):
        path = kept.folder / name
        path.write_bytes(content)
        found = kept.read()
        assert (found.update if found else None) == (2 if name.startswith("00000003") else None)


@pytest.mark.fault
@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_with_one_line(
    name: str, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Checkpoints(tmp_path / "run")
    for update in (1, 2):
        kept.write(some(update))
    damage(kept.folder / f"00000002.{suffix}", name)
    found = kept.read()
    assert found is not None and found.update == 1
    (line,) = caplog.messages
    assert line.startswith(f"checkpoint {kept.folder / '00000002.json'} cannot be used: ")
    assert ("the checksum of 00000002.safetensors differs" in line) == (suffix == "safetensors")
    assert "LONGLAG_BOMB" not in os.environ


@pytest.mark.fault
@pytest.mark.parametrize("flipped", range(0, 200, 23))
def test_one_flipped_bit_is_noticed(flipped: int, tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "run")
    kept.write(some(50))
    for name in ("00000050.safetensors", "00000050.json"):
        path = kept.folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:flipped] + bytes([whole[flipped] ^ 1]) + whole[flipped + 1 :])
        assert kept.read() is None
        path.write_bytes(whole)
    assert kept.read() is not None


@pytest.mark.fault
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoints(tmp_path / "run")
    kept.write(some(1))

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        kept.write(some(2))
    found = kept.read()
    assert found is not None and found.update == 1


@pytest.mark.slow
def test_a_claim_excludes_others_and_dies_with_its_process(tmp_path: Path) -> None:
    hold = "import signal, sys; from pathlib import Path; from longlag.training.checkpoint import claimed\n"
    hold += "with claimed(Path(sys.argv[1]), 'key'):\n    print('held', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        other.kill()
    with claimed(tmp_path, "key") as mine:
        assert mine is not None
        mine.write(some(1))
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    forget(tmp_path, "key")
    assert list(tmp_path.iterdir()) == []


class Remembers(RunCallback):
    """A callback with a state of its own."""

    def __init__(self) -> None:
        self.count, self.norms = 0, np.zeros(0)

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.count += 1
        self.norms = np.append(self.norms, score)

    def saved(self) -> Mapping[str, Any]:
        return {"count": self.count, "norms": self.norms}

    def restored(self, state: Mapping[str, Any]) -> None:
        self.count, self.norms = state["count"], state["norms"]


def test_a_callback_goes_on_from_its_own_state(tmp_path: Path) -> None:
    spec, whole, resumed = load_run(TINY), Remembers(), Remembers()
    train(spec, [whole])
    with pytest.raises(Killed):
        train(spec, [Remembers(), Dies(47)], checkpoints=Checkpoints(tmp_path / "run", 0))
    train(spec, [resumed], checkpoints=Checkpoints(tmp_path / "run"))
    assert resumed.count == whole.count == 3
    assert np.array_equal(resumed.norms, whole.norms)


class Sibling(Remembers):
    """Another class with the same methods."""


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["as before", "with another class between"])
def test_two_callbacks_of_one_class_get_their_own_state_each(order: tuple[int, int], tmp_path: Path) -> None:
    class Counts(Remembers):
        """Counts in steps of its own."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

        def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
            self.count += self.step

    spec = load_run(TINY)
    with pytest.raises(Killed):
        train(spec, [Counts(1), Counts(10), Dies(47)], checkpoints=Checkpoints(tmp_path / "run", 0))
    ones, tens = Counts(1), Counts(10)
    between = [Sibling()] if order == (1, 0) else []
    train(spec, [ones, *between, tens], checkpoints=Checkpoints(tmp_path / "run"))
    assert (ones.count, tens.count) == (3, 30)


def test_where_the_callbacks_of_a_class_are_not_as_many_as_before_none_gets_a_state_and_a_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = load_run(TINY)
    with pytest.raises(Killed):
        train(spec, [Remembers(), Remembers(), Sibling(), Dies(47)], checkpoints=Checkpoints(tmp_path / "run", 0))
    one, sibling = Remembers(), Sibling()
    result = train(spec, [one, sibling], checkpoints=Checkpoints(tmp_path / "run"))
    assert (one.count, sibling.count) == (1, 3), "only the last of three evaluations is seen by who starts anew"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "2 callbacks of the class" in line and "Remembers" in line and "1 are there now" in line
    assert numbers(result) == numbers(train(spec))
