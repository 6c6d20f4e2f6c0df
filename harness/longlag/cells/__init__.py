"""Cells: one recurrence each, behind one contract."""

from longlag.cells.base import Cell, GatedCell, GatedLayer, Layer, Options
from longlag.cells.compose import Composition
from longlag.cells.stack import Stack, layer
from longlag.kernels import Gate, StateGradients

__all__ = [
    "Cell",
    "Composition",
    "Gate",
    "GatedCell",
    "GatedLayer",
    "Layer",
    "Options",
    "Stack",
    "StateGradients",
    "layer",
]
