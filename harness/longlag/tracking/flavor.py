"""The pyfunc flavour of longlag's models: spec and safetensors in a folder, no pickle.

MLflow imports this module when it loads such a model (``loader_module`` in the file ``MLmodel``), so longlag has to be
installed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longlag.task import Array
    from longlag.training.trained import Trained


class Pyfunc:
    """What ``mlflow.pyfunc.load_model(...)`` wraps.

    Args:
        trained: the network.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    def predict(self, model_input: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> dict[str, Array]:
        """See `longlag.training.trained.Trained.predict`; `params` is MLflow's, and not used."""
        return self.trained.predict(model_input)


def _load_pyfunc(path: str) -> Pyfunc:
    """What MLflow calls with the folder of spec and weights."""
    from longlag.training.trained import load

    return Pyfunc(load(path))
