"""The losses a signature can name. Each is a mean over all outputs that count."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the field's name for it

from harness.task import Signature


def loss(signature: Signature, outputs: Tensor, targets: Tensor, counted: Tensor | None = None) -> Tensor:
    """The loss of outputs ``[..., O]`` against targets ``[..., O]`` (mse) or ``[...]`` (cross-entropy, in nats).

    Args:
        signature: says which loss.
        outputs: the model's outputs or logits.
        targets: what they should have been.
        counted: ``[...]``, true where an output counts; None when all do.
    """
    if signature.loss == "mse":
        each = F.mse_loss(outputs, targets, reduction="none").mean(-1)
    else:
        each = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)
    if counted is None:
        return each.mean()
    return each.mul(counted).sum() / counted.sum()
