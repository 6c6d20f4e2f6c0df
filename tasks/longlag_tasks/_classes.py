"""Logits and likelihoods of classes, for the tasks that are trained by cross-entropy."""

from __future__ import annotations

import numpy as np

from longlag.task import Array

CERTAIN = 100.0
"""The logit of what is sure, beside zeros: its cross-entropy, about exp(-100), vanishes without an infinity."""


def certain(classes: Array, outputs: int) -> Array:
    """Logits ``[..., outputs]``, float32, that are sure of the given classes ``[...]``."""
    logits = np.zeros((*classes.shape, outputs), dtype=np.float32)
    np.put_along_axis(logits, classes[..., None], CERTAIN, axis=-1)
    return logits


def log_likelihood(outputs: Array, targets: Array) -> Array:
    """Log probabilities in nats, float64 ``[...]``, that logits ``[..., C]`` give to the classes ``[...]``."""
    largest = outputs.max(-1)
    normaliser = np.log(np.exp(outputs - largest[..., None], dtype=np.float64).sum(-1))
    chosen = np.take_along_axis(outputs, targets[..., None], axis=-1)[..., 0]
    likelihood: Array = chosen - largest - normaliser
    return likelihood
