"""The losses a signature can name. Each is a mean over everything that counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.models.base import Tensors
from longlag.task import MappingKind, Signature


def loss(signature: Signature, outputs: Tensor, batch: Tensors) -> Tensor:
    """The loss of a model's outputs against the targets of the batch.

    Args:
        signature: says which loss.
        outputs: ``[..., N]``, what the model gave.
        batch: targets and what of them counts.
    """
    if signature.loss == "ctc":
        return ctc(outputs, batch)
    each = per_output(signature, outputs, batch.targets)
    counted = counts(signature, batch)
    return each.mean() if counted is None else each.mul(counted).sum() / counted.sum()


def counts(signature: Signature, batch: Tensors) -> Tensor | None:
    """Which outputs count, in the shape of the losses; None when all do."""
    match signature.mapping:
        case MappingKind.CLASSIFICATION:
            return None
        case MappingKind.LABELLING:
            return batch.exists if batch.counted is None else batch.counted
        case _:
            return batch.answered


def per_output(signature: Signature, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of every single output, without its last axis."""
    match signature.loss:
        case "mse":
            squares = F.mse_loss(outputs, targets, reduction="none")
            return squares.squeeze(-1) if squares.shape[-1] == 1 else squares.mean(-1)
        case "bernoulli":
            return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(-1)
        case "mixture-density":
            return mixture_density(outputs, targets)
        case _:
            return F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)


def ctc(outputs: Tensor, batch: Tensors) -> Tensor:
    """Mean over the batch of -ln P(target sequence), summed over all alignments; class 0 is the blank."""
    steps = outputs.new_full((batch.batch,), len(outputs), dtype=torch.long)
    lengths = steps if batch.exists is None else batch.exists.sum(0)
    wanted = torch.full_like(steps, len(batch.targets)) if batch.answered is None else batch.answered.sum(0)
    return F.ctc_loss(
        outputs.log_softmax(-1), batch.targets.T, lengths, wanted, reduction="none", zero_infinity=False
    ).mean()


def mixture(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The parameters of Graves (2013), equations 18 to 22, from the raw numbers ``[..., 6 M + 1]``.

    Returns:
        log weights ``[..., M]``; means and log standard deviations ``[..., M, 2]``; correlations ``[..., M]``; the
        logit of the pen's lifting ``[...]``.
    """
    pen, rest = outputs[..., 0], outputs[..., 1:]
    weights, x, y, log_x, log_y, correlation = rest.chunk(6, -1)
    return (
        weights.log_softmax(-1),
        torch.stack([x, y], -1),
        torch.stack([log_x, log_y], -1),
        0.999 * torch.tanh(correlation),  # away from a singular covariance
        pen,
    )


def mixture_density(outputs: Tensor, targets: Tensor) -> Tensor:
    """-ln p of pen offsets and lifting ``targets [..., 3]`` (Graves 2013, equations 23 to 26)."""
    log_weights, mean, log_std, correlation, pen = mixture(outputs)
    z = (targets[..., None, :2] - mean) * torch.exp(-log_std)
    rest = 1 - correlation.square()
    square = z.square().sum(-1) - 2 * correlation * z[..., 0] * z[..., 1]
    log_normal = -square / (2 * rest) - math.log(2 * math.pi) - log_std.sum(-1) - 0.5 * torch.log(rest)
    point = -torch.logsumexp(log_weights + log_normal, -1)
    return point + F.binary_cross_entropy_with_logits(pen, targets[..., 2], reduction="none")
