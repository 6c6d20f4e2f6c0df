"""A linear teacher: noise goes through a linear recurrence whose slowest mode is set; predict what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task

STATES = 10


class LinearTeacherOptions(Options):
    """Options of `LinearTeacher`."""

    length: int = Field(300, ge=1, le=10**5, description="T, steps")
    memory: float = Field(0.9, ge=0, lt=1, description="nu_0, the least modulus of the teacher's eigenvalues")
    teacher: int = Field(42, ge=0, description="seed of the teacher, the same for every seed of a run")
    solved_share: float = Field(1e-3, gt=0, le=1, description="solved when the error is at most this share of baseline")


class LinearTeacher(Task[LinearTeacherOptions]):
    """Predict what a fixed linear recurrence of ten states makes of noise, step by step.

    h_t = A h_{t-1} + B x_t, y_t = C h_t + D x_t, h_{-1} = 0, x_t normal. A is drawn N(0, 1/10) and its eigenvalues l
    become ``(nu_0 + (1 - nu_0) tanh|l|) exp(i arg l)``: none forgets faster than nu_0. B and D are N(0, 1), C is
    N(0, 1/10). The nearer nu_0 is to 1, the longer the memory, and the steeper the loss around the teacher's weights,
    although the task stays linear. Zucchet and Orvieto (2024), who have T = 300 and nu_0 from 0.36 to 0.99.

    Shapes: inputs and targets float32 ``[T, B, 1]``. The loss is the mean squared error.
    """

    metrics = (
        Metric("mse", "min", "squared units", "mean over the steps"),
        Metric("relative_mse", "min", "share", "of what the predictor has that always says 0"),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Reals(1), 1, MappingKind.LABELLING, "mse")

    @property
    def criterion(self) -> str:
        return f"relative_mse of at most {self.options.solved_share:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["relative_mse"] <= self.options.solved_share)

    @cached_property
    def _teacher(self) -> tuple[Array, Array, Array, float]:
        """A, B, C and D."""
        rng = np.random.default_rng(self.options.teacher)
        eigenvalues, vectors = np.linalg.eig(rng.normal(size=(STATES, STATES)) / np.sqrt(STATES))
        least = self.options.memory
        moduli = least + (1 - least) * np.tanh(np.abs(eigenvalues))
        moved = moduli * np.exp(1j * np.angle(eigenvalues))
        transition = ((vectors * moved) @ np.linalg.inv(vectors)).real
        written = rng.normal(size=STATES)
        return transition, written, rng.normal(size=STATES) / np.sqrt(STATES), float(rng.normal())

    @cached_property
    def _response(self) -> Array:
        """What one unit of input gives in this and in later steps: C B + D, C A B, C A^2 B ..., ``[T]``."""
        transition, state, read, direct = self._teacher
        response = np.empty(self.options.length)
        for step in range(self.options.length):
            response[step] = read @ state
            state = transition @ state
        response[0] += direct
        return response

    @cached_property
    def _filter(self) -> Array:
        """The map from all inputs to all outputs, float32 ``[T, T]``, lower triangular."""
        lag = np.arange(self.options.length)[:, None] - np.arange(self.options.length)
        found: Array = np.where(lag >= 0, self._response[np.maximum(lag, 0)], 0).astype(np.float32)
        return found

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        inputs = rng.standard_normal((self.options.length, size), dtype=np.float32)
        return Batch(inputs[..., None], (self._filter @ inputs)[..., None])

    def baseline(self) -> Baseline:
        steps = np.arange(self.options.length, 0, -1)
        return Baseline(
            float((self._response**2 * steps).sum() / self.options.length),
            "always 0",
            "mean over t of (CB + D)^2 + sum over i = 1 ... t of (C A^i B)^2",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.zeros((batch.steps, batch.size, 1), dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        """The recurrence itself, step by step."""
        transition, written, read, direct = self._teacher
        state, outputs = np.zeros((batch.size, STATES)), np.empty(batch.inputs.shape)
        for step, inputs in enumerate(batch.inputs[..., 0].astype(np.float64)):
            state = state @ transition.T + inputs[:, None] * written
            outputs[step, :, 0] = state @ read + direct * inputs
        return outputs

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        error = float(np.mean((outputs - batch.targets) ** 2))
        return {"mse": error, "relative_mse": error / self.baseline().value}

    def describe(self, batch: Batch, index: int) -> str:
        """The first steps of a sequence."""
        shown = [
            np.array2string(v[:10, index, 0], precision=2, suppress_small=True) for v in (batch.inputs, batch.targets)
        ]
        return "\n".join([f"first inputs   {shown[0]}", f"first targets  {shown[1]}"])
