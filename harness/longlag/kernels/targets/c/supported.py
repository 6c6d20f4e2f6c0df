"""The dtypes that the C kernels run in."""

from __future__ import annotations

import numpy as np
import torch

REAL = {torch.float32: "float", torch.float64: "double"}
"""The C types of the dtypes."""
NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
"""The same of numpy."""
