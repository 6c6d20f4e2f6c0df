"""ONNX Runtime as an independent oracle: a model of one recurrent node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor


def run(kind: str, x: Tensor, hidden: int, weights: Sequence[Tensor | None], **attributes: Any) -> Tensor:
    """Outputs ``[T, B, H]`` of an ONNX ``LSTM`` or ``GRU`` node over ``x [T, B, I]``.

    Args:
        kind: the operator.
        x: inputs; computed in float32.
        hidden: units.
        weights: W, R, B, and the further inputs of the operator in its order, without the leading direction axis for
            matrices and vectors of weights; None leaves one out.
        attributes: of the node.
    """
    initial, names = [], ["x"]
    for k, tensor in enumerate(weights):
        names.append("" if tensor is None else f"w{k}")
        if tensor is not None:
            values = tensor.detach().unsqueeze(0).to(torch.float32).contiguous().numpy()
            initial.append(numpy_helper.from_array(values, f"w{k}"))
    given = {name: value for name, value in attributes.items() if value != []}
    node = helper.make_node(kind, names, ["y"], hidden_size=hidden, **given)
    steps, batch, size = x.shape
    graph = helper.make_graph(
        [node],
        "oracle",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, batch, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [steps, 1, batch, hidden])],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(["y"], {"x": x.to(torch.float32).numpy()})
    return torch.from_numpy(np.asarray(y))[:, 0]
