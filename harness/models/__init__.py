"""Layers and a readout, assembled for the mappings, and their losses."""

from harness.models.losses import loss
from harness.models.network import Network

__all__ = ["Network", "loss"]
