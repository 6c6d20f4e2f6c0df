"""The dtypes that the C kernels run in."""

from __future__ import annotations

import torch

REAL = {torch.float32: "float", torch.float64: "double"}
"""The C types of the dtypes."""
