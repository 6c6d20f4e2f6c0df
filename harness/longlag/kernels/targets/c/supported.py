"""What compiled code takes: dtypes, and kinds of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

REAL = {torch.float32: "float", torch.float64: "double"}
"""The C types of the dtypes."""
PLAIN = (Tensor, torch.nn.Parameter)
"""The types of tensors that are nothing but memory; others have a meaning of their own for every operation."""
