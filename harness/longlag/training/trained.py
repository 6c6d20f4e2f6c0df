"""A finished run's network, built again from its spec and weights, and what it says of new sequences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longlag.errors import UserError, suggestion
from longlag.models import Model, Tensors, build
from longlag.spec import RunSpec, load_run
from longlag.task import Array, Batch, MappingKind, NoInput
from longlag.training.environment import numerics
from longlag.training.loop import DTYPES
from longlag.training.seeding import numpy_generator, torch_generator
from longlag.training.weights import WEIGHTS, unpacked

SPEC = "spec.json"
FREE = (MappingKind.GENERATION, MappingKind.TRANSLATION)
"""Mappings whose model answers in sequences of its own length."""


class Trained:
    """A network with the weights that a run ended with; it runs on the CPU.

    Args:
        spec: the run.
        weights: its parameters and buffers by name, as ``weights.safetensors`` holds them.
        dtype: of the computation; the run's own when not given.

    Attributes:
        network: in evaluation mode.
        signature: the task's.
        inputs: the names of the arrays that `predict` wants, with an array of each that has two sequences: of
            ``inputs`` (float32 ``[T, B, I]``, or int64 ``[T, B]`` where the input is symbols), ``tokens`` (int64
            ``[T, B]``), ``context`` (float32 ``[B, C]``) and ``lengths`` (int64 ``[B]``) those that the task has.
    """

    def __init__(self, spec: RunSpec, weights: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> None:
        self.spec = spec
        task = spec.task.build()
        self.signature = task.signature
        self.dtype = DTYPES[spec.training.dtype] if dtype is None else dtype
        network: Model = build(
            self.signature, spec.cell.build(), spec.model, torch_generator(spec.seed, "initialisation")
        )
        self.network = network.to(DTYPES[spec.training.dtype])  # in the precision of the weights, before any other
        self.network.load_state_dict(dict(weights))
        self.network.to(self.dtype).eval()
        self.network.run_on(spec.training.kernel if self.dtype == DTYPES[spec.training.dtype] else "auto", None)
        self.inputs = self.fed(task.sample(numpy_generator(spec.seed, "example"), 2))

    def fed(self, batch: Batch) -> dict[str, Array]:
        """What of a batch goes into the network, by name."""
        values = {"inputs": batch.inputs, "tokens": batch.tokens, "context": batch.context, "lengths": batch.lengths}
        if isinstance(self.signature.input, NoInput):
            del values["inputs"]
        return {name: value for name, value in values.items() if value is not None}

    def predict(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """What the network says of sequences, time-major.

        Args:
            given: the arrays that `inputs` names.

        Returns:
            ``outputs``: for classification ``[B, O]``, for labelling ``[T, B, O]`` (logits, or the values of a
            regression; behind the end of a sequence they mean nothing). For generation and translation instead
            ``answers`` ``[U, B]`` symbols or ``[U, B, O]`` reals, and ``lengths`` ``[B]``.

        Raises:
            UserError: when an array is missing, is none of them, or has another shape.
        """
        batch = self._batch(given)
        with numerics(), torch.no_grad():
            tensors = Tensors.of(batch, self.dtype, torch.device("cpu"))
            if self.signature.mapping not in FREE:
                return {"outputs": self.network(tensors).to(torch.promote_types(self.dtype, torch.float32)).numpy()}
            answer = self.network.answer(tensors, torch_generator(self.spec.seed, "answers/test"))
        assert answer is not None
        return {"answers": answer.values, "lengths": answer.lengths}

    def _batch(self, given: Mapping[str, Array]) -> Batch:
        names = list(self.inputs)
        for name in given:
            if name not in names:
                raise UserError(f"there is no input {name!r}{suggestion(name, names)}; it takes {', '.join(names)}")
        values: dict[str, Array] = {}
        size = 0
        for name, like in self.inputs.items():
            if name not in given:
                raise UserError(f"the input {name!r} is missing; it takes {', '.join(names)}")
            value = np.asarray(given[name])
            loose = 2 if name in ("inputs", "tokens") else 1  # time and batch, or batch, are as long as one likes
            if value.ndim != like.ndim or value.shape[loose:] != like.shape[loose:]:
                wanted = ", ".join([*("T", "B")[2 - loose :], *(str(n) for n in like.shape[loose:])])
                raise UserError(f"the input {name!r} should have the shape [{wanted}], not {list(value.shape)}")
            if value.dtype.kind != like.dtype.kind:
                raise UserError(f"the input {name!r} should be {like.dtype}, not {value.dtype}")
            values[name] = value.astype(like.dtype)
            size = value.shape[loose - 1]
        inputs = values.pop("inputs", np.zeros((0, size, 0), np.float32))
        return Batch(inputs=inputs, targets=np.zeros(size, np.float32), **values)


def load(folder: Path | str) -> Trained:
    """The network of a run that `longlag export` wrote, from the spec and the weights in its folder.

    Raises:
        UserError: when one of the files is missing or damaged.
    """
    spec_file, weights_file = Path(folder, SPEC), Path(folder, WEIGHTS)
    path = spec_file
    try:
        spec = load_run(json.loads(spec_file.read_bytes()), str(spec_file))
        path = weights_file
        return Trained(spec, unpacked(spec, weights_file.read_bytes()))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} cannot be used: {error}") from error
