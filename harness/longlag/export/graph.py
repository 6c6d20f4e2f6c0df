"""A trained network as an ONNX graph, held against the harness before anybody gets it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from longlag.cells import Stack
from longlag.cells.base import Layer
from longlag.cells.compose import Bidirectional
from longlag.errors import UserError
from longlag.export.operators import NoOperator, Operator, of_layer
from longlag.models.labeller import Labeller
from longlag.task import Array, Batch, MappingKind, Mixed, Tokens
from longlag.training.trained import Trained

OPSET, IR = 17, 8
"""Of the graph: layer normalisation came with opset 17; runtimes since 2022 know both."""
TOLERANCE = 1e-4
"""How far an output may be off: this much, and this share of it. Both sides compute in float32."""
AXES = {"inputs": ("steps", "batch"), "tokens": ("steps", "batch"), "lengths": ("batch",)}
READOUT = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid"}


@dataclass(frozen=True)
class Onnx:
    """A graph that was checked.

    Args:
        data: the model file.
        difference: the largest between an output of ONNX Runtime and of the harness.
        sequences: how many of them were compared.
    """

    data: bytes
    difference: float
    sequences: int


def convert(trained: Trained, batch: Batch) -> Onnx:
    """The graph of a network, in float32, after ONNX Runtime gave the harness's outputs for a batch.

    Args:
        trained: the network; computed in float32, whatever it was trained in.
        batch: sequences to compare on.

    Raises:
        NoOperator: when ONNX has no operator for it, or its runtime comes to other outputs.
        UserError: without the packages of the extra ``onnx``.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError("model.onnx needs two packages more: pip install 'longlag[onnx]'") from error

    data = _Graph(trained).model()
    onnx.checker.check_model(data)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    given = trained.fed(batch)
    (got,) = session.run(["outputs"], given)
    wanted = trained.predict(given)["outputs"]
    exists = batch.exists()
    if trained.signature.mapping is MappingKind.LABELLING and exists is not None:
        got, wanted = got[exists], wanted[exists]
    off = np.abs(got - wanted)
    if got.shape != wanted.shape or not (off <= TOLERANCE + TOLERANCE * np.abs(wanted)).all():
        raise NoOperator(
            f"ONNX Runtime's outputs were off by up to {off.max():.2g}, more than {TOLERANCE:g} and that share of them"
        )
    return Onnx(data, float(off.max()), batch.size)


class _Graph:
    """Nodes and constants of one network in the making."""

    def __init__(self, trained: Trained) -> None:
        if not isinstance(trained.network, Labeller):
            raise NoOperator(
                "only networks of classification and labelling are exported: others run in a loop of steps"
            )
        self.trained, self.network = trained, trained.network
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self) -> bytes:
        """The whole model."""
        from onnx import TensorProto, helper

        signature = self.trained.signature
        top = self.stack(self.network.stack, self.features())
        classification = signature.mapping is MappingKind.CLASSIFICATION
        if classification:
            top = self.last(top)
        self.readout(top, classification)
        inputs = []
        for name, like in self.trained.inputs.items():
            kind = TensorProto.FLOAT if like.dtype.kind == "f" else TensorProto.INT64
            shape = [*AXES[name], *like.shape[len(AXES[name]) :]]
            inputs.append(helper.make_tensor_value_info(name, kind, shape))
        shape = ["batch" if classification else "steps", *([] if classification else ["batch"]), signature.values]
        output = helper.make_tensor_value_info("outputs", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "longlag", inputs, [output], self.constants)
        opset = helper.make_opsetid("", OPSET)
        made = helper.make_model(graph, opset_imports=[opset], ir_version=IR, producer_name="longlag")
        helper.set_model_props(made, {"run_key": self.trained.spec.run_key, "spec": self.trained.spec.canonical()})
        return bytes(made.SerializeToString())

    # -- parts of the graph -------------------------------------------------------------------------------------------

    def node(self, kind: str, inputs: Iterable[str], outputs: int = 1, **attributes: Any) -> str:
        """Add a node; the name of its first output."""
        from onnx import helper

        names = [f"{kind.lower()}{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def constant(self, value: Tensor | Array) -> str:
        """Add an array; its name."""
        from onnx import numpy_helper

        array = value.detach().contiguous().numpy() if isinstance(value, Tensor) else np.asarray(value)
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def whole(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def features(self) -> str:
        """The input as the layers see it: symbols one-hot, behind the reals where there are both."""
        kind = self.trained.signature.input
        if isinstance(kind, Tokens):
            return self.one_hot("inputs", kind.size)
        if isinstance(kind, Mixed):
            return self.node("Concat", ["inputs", self.one_hot("tokens", kind.tokens)], axis=-1)
        return "inputs"

    def one_hot(self, name: str, size: int) -> str:
        off_on = self.constant(np.array([0, 1], np.float32))
        return self.node("OneHot", [name, self.constant(np.array(size, np.int64)), off_on], axis=-1)

    def stack(self, stack: Stack, x: str) -> str:
        """The recurrent layers, with what stands between them."""
        how, size = stack.composition, stack.input_size
        if how.block.parts:
            raise NoOperator(f"the block {how.block.name} around the layers has no ONNX form here yet")
        lengths = ""
        if "lengths" in self.trained.inputs:
            lengths = self.node("Cast", ["lengths"], to=6)  # int32, as the operators want it
        for k, layer in enumerate(stack.layers):
            assert isinstance(layer, Layer)
            start = dict(zip(layer.state_names, stack.starts[k], strict=True)) if len(stack.starts) else None  # type: ignore[call-overload]
            y = self.layer(layer, x, lengths, start)
            if how.layer_norm:
                norm = stack.norms[k]
                assert isinstance(norm, nn.LayerNorm)
                weights = [self.constant(norm.weight), self.constant(norm.bias)]
                y = self.node("LayerNormalization", [y, *weights], axis=-1, epsilon=norm.eps)
            if how.residual and layer.output_size == size:
                y = self.node("Add", [y, x])
            x, size = y, layer.output_size
        return x

    def layer(self, layer: Layer, x: str, lengths: str, start: Mapping[str, Tensor] | None) -> str:
        """One recurrent operator over time: ``[T, B, output_size]``."""
        bidirectional = isinstance(layer, Bidirectional)
        parts = [("forward.", layer.ahead), ("backward.", layer.back)] if isinstance(layer, Bidirectional) else []
        forms = [(prefix, of_layer(part)) for prefix, part in parts] or [("", of_layer(layer))]
        first = forms[0][1]
        inputs = [x, *(self.joined(forms, name) for name in "WRB"), lengths]
        if start is not None:
            inputs += [self.start(forms, start, k, x) for k in range(len(first.states))]
        if first.P is not None:
            inputs += [""] * (7 - len(inputs)) + [self.joined(forms, "P")]
        lists: dict[str, Any] = {
            name: [value for _, form in forms for value in getattr(form, field)]
            for name, field in (("activations",) * 2, ("activation_alpha", "alphas"), ("activation_beta", "betas"))
        }
        given = {name: values for name, values in lists.items() if values} | dict(first.attributes)
        given |= {"direction": "bidirectional" if bidirectional else "forward", "hidden_size": layer.hidden_size}
        y = self.node(first.kind, inputs, **given)  # [T, directions, B, H]
        side_by_side = self.node("Transpose", [y], perm=[0, 2, 1, 3])
        return self.node("Reshape", [side_by_side, self.whole(0, 0, layer.output_size)])

    def joined(self, forms: list[tuple[str, Operator]], name: str) -> str:
        return self.constant(torch.stack([getattr(form, name) for _, form in forms]))

    def start(self, forms: list[tuple[str, Operator]], start: Mapping[str, Tensor], k: int, x: str) -> str:
        """A learned initial state for every example: ``[directions, B, H]``."""
        values = torch.stack([start[f"{prefix}{form.states[k]}"] for prefix, form in forms]).unsqueeze(1)
        batch = self.node("Gather", [self.node("Shape", [x]), self.whole(1)])
        shape = self.node("Concat", [self.whole(len(forms)), batch, self.whole(values.shape[-1])], axis=0)
        return self.node("Expand", [self.constant(values), shape])

    def last(self, top: str) -> str:
        """What the stack knows at the end: ``[B, F]``."""
        highest = self.network.stack.layers[-1]
        if isinstance(highest, Bidirectional):
            ahead = self.slice(self.at_end(top), -1, 0, highest.ahead.output_size)
            first = self.node("Gather", [top, self.constant(np.array(0, np.int64))], axis=0)
            back = self.slice(first, -1, highest.ahead.output_size, highest.output_size)
            return self.node("Concat", [ahead, back], axis=-1)
        return self.at_end(top)

    def at_end(self, top: str) -> str:
        """The outputs of the last existing step of each example."""
        if "lengths" not in self.trained.inputs:
            return self.node("Gather", [top, self.constant(np.array(-1, np.int64))], axis=0)
        by_example = self.node("Transpose", [top], perm=[1, 0, 2])
        index = self.node("Sub", ["lengths", self.whole(1)])
        column = self.node("Unsqueeze", [index, self.whole(1)])
        return self.node("GatherND", [by_example, column], batch_dims=1)

    def slice(self, x: str, axis: int, start: int, stop: int) -> str:
        return self.node("Slice", [x, self.whole(start), self.whole(stop), self.whole(axis)])

    def readout(self, x: str, flat: bool) -> None:
        """Affine maps, as Gemm or, over time, MatMul and Add, and what is between them; ends in ``outputs``."""
        for module in self.network.readout:
            if not isinstance(module, nn.Linear):
                x = self.node(READOUT[type(module)], [x])
            elif flat:
                x = self.node("Gemm", [x, self.constant(module.weight), self.constant(module.bias)], transB=1)
            else:
                product = self.node("MatMul", [x, self.constant(module.weight.mT)])
                x = self.node("Add", [product, self.constant(module.bias)])
        self.nodes[-1].output[0] = "outputs"
