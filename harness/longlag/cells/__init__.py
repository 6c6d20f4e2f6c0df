"""Cells: one recurrence each, behind one contract."""

from longlag.cells.base import Cell, Compilable, GatedCell, GatedLayer, Layer, Looped
from longlag.cells.compose import Composition
from longlag.cells.heads import HeadsCell, HeadsLayer, HeadsOptions
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.cells.stack import Stack, layer
from longlag.kernels import Gate, Named, State, StateGradients
from longlag.options import Options

__all__ = [
    "Cell",
    "Compilable",
    "Composition",
    "Gate",
    "GatedCell",
    "GatedLayer",
    "HeadsCell",
    "HeadsLayer",
    "HeadsOptions",
    "Layer",
    "Looped",
    "Named",
    "Options",
    "ScanCell",
    "ScanLayer",
    "Stack",
    "State",
    "StateGradients",
    "layer",
]
