"""Work space that is used again."""

from __future__ import annotations

import gc

import pytest
import torch

from longlag.kernels import memory
from tests.kernels.test_compiled import problem
from tests.kernels.zoo import CELLS, compiled

LARGE = (memory.SMALLEST // 4 + 1,)


@pytest.fixture(autouse=True)
def nothing_kept():
    memory.release()
    yield
    memory.release()


def kept() -> int:
    gc.collect()
    return sum(len(block) for block in memory._free)


def test_a_block_is_free_after_its_last_view_and_used_again():
    tensor = memory.empty(LARGE, torch.float32).fill_(3)
    place, view = tensor.data_ptr(), tensor[5:]
    del tensor
    assert kept() == 0 and view.eq(3).all()
    del view
    assert kept() >= memory.SMALLEST
    again = memory.empty(LARGE, torch.float32)
    assert again.data_ptr() == place and kept() == 0
    assert memory.empty(LARGE, torch.float32).data_ptr() != place


def test_small_ones_are_torchs_own():
    memory.empty((10, 10), torch.float64)
    assert kept() == 0


def test_no_more_is_kept_than_allowed(monkeypatch):
    monkeypatch.setattr(memory, "POOL_BYTES", 3 * memory.SMALLEST)
    tensors = [memory.empty(LARGE, torch.float32) for _ in range(5)]
    del tensors
    assert 0 < kept() <= 3 * memory.SMALLEST


def test_two_passes_at_once_share_nothing():
    cell = CELLS["lstm"]
    layer, x, state = problem(cell, 300, 20, 64, dtype=torch.float32)

    def gradients(loss):
        return torch.autograd.grad(loss, list(layer.parameters()))

    alone = gradients(compiled(cell, layer.weights(), x, state)[0].sum())
    first = compiled(cell, layer.weights(), x, state)[0]
    second = compiled(cell, layer.weights(), -x, state)[0]
    gradients(second.sum())
    for a, b in zip(gradients(first.sum()), alone, strict=True):
        assert torch.equal(a, b)
