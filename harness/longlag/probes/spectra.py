"""Singular values and eigenvalues of matrices that may hold anything, such as those of a run that diverged."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def singular_values(matrices: Tensor) -> Tensor:
    """Of ``[..., n, n]``, the largest first; NaN for a matrix with a number that is not finite."""
    return _of_finite(matrices, torch.linalg.svdvals)


def spectral_radius(matrices: Tensor) -> Tensor:
    """The largest modulus of an eigenvalue of ``[..., n, n]``; NaN for a matrix with a number that is not finite."""
    return _of_finite(matrices, lambda values: torch.linalg.eigvals(values).abs().amax(-1, keepdim=True)).squeeze(-1)


def _of_finite(matrices: Tensor, spectrum: Callable[[Tensor], Tensor]) -> Tensor:
    """LAPACK raises an exception for infinities and NaN."""
    finite = matrices.isfinite().all(-1).all(-1)
    found = spectrum(torch.where(finite[..., None, None], matrices, 0.0))
    return torch.where(finite[..., None], found, torch.nan)
