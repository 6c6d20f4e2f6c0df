"""Densities of pen offsets in numpy: mixtures of bivariate Gaussians and the pen's lifting (Graves 2013, sec. 4)."""

from __future__ import annotations

from math import log, pi

import numpy as np

from longlag.task import Array

LIMIT = 0.999
"""The largest correlation: that of the raw numbers is ``LIMIT * tanh``."""

SURE = 40.0
"""The logit of a lifting that is sure."""


def unpacked(outputs: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Log weights ``[..., M]``, means and log standard deviations ``[..., M, 2]``, correlations ``[..., M]`` and the
    logit of lifting ``[...]`` from raw numbers ``[..., 6 M + 1]``: lifting, weights, x, y, deviations of x, of y,
    correlations."""
    lift, rest = outputs[..., 0], outputs[..., 1:]
    weights, x, y, deviation_x, deviation_y, correlation = np.split(rest.astype(np.float64), 6, axis=-1)
    return (
        weights - np.logaddexp.reduce(weights, axis=-1, keepdims=True),
        np.stack([x, y], -1),
        np.stack([deviation_x, deviation_y], -1),
        LIMIT * np.tanh(correlation),
        lift.astype(np.float64),
    )


def nats(outputs: Array, targets: Array) -> Array:
    """-ln of the density of offsets and of the probability of lifting ``targets [..., 3]``, float64 ``[...]``."""
    log_weights, means, deviations, rho, lift = unpacked(outputs)
    z = (targets[..., None, :2] - means) * np.exp(-deviations)
    rest = 1 - rho**2
    square = (z**2).sum(-1) - 2 * rho * z[..., 0] * z[..., 1]
    point = -square / (2 * rest) - log(2 * pi) - deviations.sum(-1) - np.log(rest) / 2
    lifted = np.logaddexp(0, np.where(targets[..., 2] > 0.5, -lift, lift))
    return np.asarray(lifted - np.logaddexp.reduce(log_weights + point, axis=-1))


def expected(outputs: Array) -> Array:
    """The mean of the offsets, ``[..., 2]``."""
    log_weights, means, *_ = unpacked(outputs)
    return np.asarray((np.exp(log_weights)[..., None] * means).sum(-2))


def gaussian(means: Array, log_deviations: Array, correlation: float, lift: Array, mixtures: int) -> Array:
    """Raw numbers ``[..., 6 M + 1]``, float32, of one Gaussian, M times the same.

    Args:
        means: ``[..., 2]``.
        log_deviations: ``[2]``, natural logarithms.
        correlation: of both axes.
        lift: logits ``[...]``.
        mixtures: M.
    """
    outputs = np.zeros((*means.shape[:-1], 6 * mixtures + 1), np.float32)
    outputs[..., 0] = lift
    parts = outputs[..., 1:].reshape(*means.shape[:-1], 6, mixtures)
    parts[..., 1:3, :] = means[..., None]
    parts[..., 3:5, :] = np.asarray(log_deviations)[:, None]
    parts[..., 5, :] = np.arctanh(correlation / LIMIT)
    outputs[..., 1:] = parts.reshape(*means.shape[:-1], -1)
    return outputs
