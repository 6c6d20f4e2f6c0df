"""A network as a run would begin with it, and its gradient flow, without training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from longlag.models import Model, Tensors, build, loss
from longlag.probes import Curve, curves, layers
from longlag.probes.lag import applies, lag_curves, outputs
from longlag.spec import RunSpec
from longlag.task import Batch
from longlag.training.environment import numerics
from longlag.training.seeding import numpy_generator, torch_generator

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class NetworkFlow:
    """The gradient flow of one network.

    Args:
        total: curves of the whole loss.
        lag: curves of the loss at single steps; empty where the task has no loss at every step.
        main_part: the layer whose output stands for the network.
        seconds: how long it took.
    """

    total: list[Curve]
    lag: list[Curve]
    main_part: str
    seconds: float

    @property
    def curves(self) -> list[Curve]:
        """Those that show vanishing: over the lag where there is a loss at every step."""
        return self.lag or self.total

    def of(self, state: str = "", part: str = "") -> Curve | None:
        """The curve of a state in a layer; by default of the output of the layer that stands for the network."""
        part = part or self.main_part
        return next((c for c in self.curves if c.part == part and (not state or c.state == state)), None)


def network(spec: RunSpec, dtype: torch.dtype, weights: Mapping[str, Tensor] | None = None) -> Model:
    """The run's network before its first update, or with other weights."""
    task = spec.task.build()
    generator = torch_generator(spec.seed, "initialisation")
    model = build(task.signature, spec.cell.build(), spec.model, generator)
    if weights is not None:
        model.load_state_dict(dict(weights))
    model.to(dtype).run_on(spec.training.kernel, spec.training.checkpoint_steps)
    return model.eval()


def sequences(spec: RunSpec, size: int) -> Batch:
    """The first sequences that the run trains on."""
    batch: Batch = spec.task.build().sample(numpy_generator(spec.seed, "training data"), size)
    return batch


def network_flow(spec: RunSpec, dtype: str, size: int, weights: Mapping[str, Tensor] | None = None) -> NetworkFlow:
    """Gradient flow of a network that is not trained.

    Args:
        spec: says which network and task.
        dtype: of parameters, states and gradients; norms are accumulated in float64 in any case.
        size: sequences.
        weights: in place of the initial ones.
    """
    begin = time.perf_counter()
    with numerics():
        model = network(spec, DTYPES[dtype], weights)
        batch = sequences(spec, size)
        tensors = Tensors.of(batch, DTYPES[dtype], torch.device("cpu"))
        total, lag = measure(model, tensors, batch)
    return NetworkFlow(total, lag, model.main_part, time.perf_counter() - begin)


def measure(model: Model, tensors: Tensors, batch: Batch) -> tuple[list[Curve], list[Curve]]:
    """Total and lag curves of a model in evaluation mode; ``.grad`` is left alone."""
    records = model.records()
    value = loss(model.signature, model(tensors, records), tensors)
    parameters = [p for p in model.parameters() if p.requires_grad]
    torch.autograd.grad(value, parameters, allow_unused=True)
    total = curves(records, model.lengths(batch), outputs(model))
    return total, lag_curves(model, tensors) if applies(model.signature) else []


def dynamics(spec: RunSpec, weights: Mapping[str, Tensor] | None, size: int) -> dict[str, float]:
    """The numbers of every installed probe of layers, of a network that is not trained; in float64."""
    with numerics():
        model = network(spec, torch.float64, weights)
        tensors = Tensors.of(sequences(spec, size), torch.float64, torch.device("cpu"))
        return layers.measure(model, tensors, layers.installed())
