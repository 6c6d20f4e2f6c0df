"""The maps from parameters to weights that a target may bring in a faster version than torch's operations.

`longlag.kernels.skew` and `longlag.kernels.embedded` state the equations and use these where a target has them. All
tensors are contiguous, of one dtype and on one device, except the gradients: they may have any strides.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Maps(Protocol):
    """S = A - A^T is given by the entries of A above its diagonal, ``above [n (n - 1) / 2]``, row by row.

    An adjoint takes the gradient by the weight and returns those by what the weight was computed from.
    """

    def damped(self, above: Tensor, size: int, diffusion: float) -> Tensor:
        """S - diffusion 1."""

    def damped_adjoint(self, gradient: Tensor) -> Tensor: ...

    def cayley(self, above: Tensor, size: int, negative_ones: int) -> tuple[Tensor, Tensor]:
        """(1 + S)^{-1} (1 - S) D, with that many -1 at the end of the diagonal D, and (1 + S)^{-1}."""

    def cayley_adjoint(self, inverse: Tensor, negative_ones: int, gradient: Tensor) -> Tensor: ...

    def exponential(self, above: Tensor, size: int, scheme: Tensor, limit: float) -> tuple[Tensor, Tensor, int]:
        """exp(S), what the adjoint reads of the forward pass, and how often S was halved to get below `limit`."""

    def exponential_adjoint(self, saved: Tensor, halvings: int, scheme: Tensor, gradient: Tensor) -> Tensor: ...

    def embedded(self, packed: Tensor, embedding: Tensor, before: int) -> Tensor:
        """The rows of packed E, and E itself from row `before` on; packed ``[m, H]``, E ``[H, I]``."""

    def embedded_adjoint(
        self, packed: Tensor, embedding: Tensor, before: int, gradient: Tensor
    ) -> tuple[Tensor, Tensor]: ...
