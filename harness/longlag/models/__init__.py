"""Layers and a readout, assembled for the four mappings, and their losses."""

from __future__ import annotations

import torch

from longlag.cells import Cell
from longlag.models.base import Model, Tensors
from longlag.models.generator import Generator
from longlag.models.labeller import Labeller
from longlag.models.losses import loss
from longlag.models.translator import Interpreter, Translator
from longlag.spec import ModelSpec
from longlag.task import MappingKind, Signature

__all__ = ["Model", "Tensors", "build", "loss"]


def build(signature: Signature, cell: Cell, model: ModelSpec, generator: torch.Generator) -> Model:
    """The model for a task's mapping.

    Raises:
        UserError: for a composition that the cell or the mapping does not allow.
    """
    match signature.mapping:
        case MappingKind.CLASSIFICATION | MappingKind.LABELLING:
            return Labeller(signature, cell, model, generator)
        case MappingKind.GENERATION:
            return Generator(signature, cell, model, generator)
        case MappingKind.TRANSLATION:
            if model.decoder.network == "one":
                return Interpreter(signature, cell, model, generator)
            return Translator(signature, cell, model, generator)
