"""Cells: one recurrence each, behind one contract."""

from longlag.cells.base import Cell, GatedCell, GatedLayer, Layer
from longlag.cells.compose import Composition
from longlag.cells.stack import Stack, layer
from longlag.kernels import Gate, Named, State, StateGradients
from longlag.options import Options

__all__ = [
    "Cell",
    "Composition",
    "Gate",
    "GatedCell",
    "GatedLayer",
    "Layer",
    "Named",
    "Options",
    "Stack",
    "State",
    "StateGradients",
    "layer",
]
