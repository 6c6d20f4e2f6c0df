"""Cells: one recurrence each, behind one contract."""

from harness.cells.base import Cell, GatedCell, GatedLayer, Layer, Options
from harness.cells.compose import Composition
from harness.cells.stack import Stack, layer
from harness.kernels import Gate, StateGradients

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
