"""Randomness: one integer seed a run, independent generators derived from it by name."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive(seed: int, stream: str) -> int:
    """A 63-bit seed for one named stream of a run; streams of one seed, and of different seeds, are independent."""
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_generator(seed: int, stream: str) -> np.random.Generator:
    """A NumPy generator (PCG64) of its own for one stream; its state is plain numbers and can be saved as JSON."""
    return np.random.default_rng(derive(seed, stream))


def torch_generator(seed: int, stream: str) -> torch.Generator:
    """A torch CPU generator of its own for one stream. Parameters are drawn on the CPU, the same on every device."""
    return torch.Generator().manual_seed(derive(seed, stream))
