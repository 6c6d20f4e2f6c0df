"""The weights that a run ended with, as a file that has its checksum and that of the run's spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from longlag import files
from longlag.spec import RunSpec

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "weights.safetensors"
SPEC = "spec"
"""The entry of the metadata that says which run the weights are of."""


def packed(spec: RunSpec, weights: Mapping[str, Tensor]) -> bytes:
    """The content of the file."""
    from safetensors.torch import save

    return files.sealed_tensors(save(dict(weights), metadata={SPEC: _mark(spec)}))


def unpacked(spec: RunSpec, data: bytes) -> dict[str, Tensor]:
    """Undo `packed`. A file of an older longlag has no checksum.

    Raises:
        Damaged: when it is not what was written, or the weights are of another run.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    about = files.metadata(data)
    if about.get(SPEC, _mark(spec)) != _mark(spec):
        raise files.Damaged("it holds the weights of another run")
    try:
        return load(data)
    except SafetensorError as error:
        raise files.Damaged(f"it is not safetensors ({error})") from error


def _mark(spec: RunSpec) -> str:
    return files.digest(spec.canonical().encode())
