"""Spike timing: measure the delays of a train of spikes, or generate the train from its delays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task

TOLERANCE = 0.49
"""An output that is further than this from its target is an error."""


class SpikeTimingOptions(Options):
    """Options of `SpikeTiming`."""

    variant: Literal["measure", "generate"] = Field(
        "measure", description="measure: spikes in, delays out (MSD); generate: delays in, spikes out (GTS)"
    )
    interval: int = Field(10, ge=1, description="F, steps, the least from spike to spike")
    delay: int = Field(1, ge=1, description="i, steps, the largest delay")
    delays: Literal["range", "ends"] = Field(
        "range", description="range: delays 0, 1, ..., i, equally likely; ends: 0 or i"
    )
    spikes: int = Field(10, ge=1, description="N, spikes in a sequence; 1: nothing to reset (NMSD)")
    solved_share: float = Field(0.99, gt=0, le=1, description="solved when at least this share has no error")


class SpikeTiming(Task[SpikeTimingOptions]):
    """A train of N spikes, each a fixed interval F and a random delay after the one before.

    ``T(0) = 0`` is the start, where no spike stands; ``T(n) = T(n-1) + F + I(n)``, with i.i.d. delays I(n) uniform on
    ``{0, 1, ..., i}`` (range) or on ``{0, i}`` (ends). The sequence has the steps ``0 ... T(N)``; batches are padded
    to the largest, ``N (F + i) + 1``.

    measure (default)
        Input 1 at every ``T(n)``, else 0; target ``I(n)`` at ``T(n)``. Only outputs at spikes count. Measuring spike
        delays, MSD; N = 1 is NMSD.
    generate
        Input ``I(n)`` at ``T(n-1)``, where the delay begins, else 0; target 1 at every ``T(n)``, else 0. Every
        output counts, and the model must know its own spikes: a delay of 0 is not to be seen. GTS.

    Gers, Schraudolph and Schmidhuber (2002), where F is 10 ... 50 and i is 1, or up to 10 with F = 10.

    Shapes: inputs and targets float32 ``[T, B, 1]``; the loss is the mean squared error over the outputs that count.
    """

    metrics = (
        Metric("mse", "min", "squared steps (measure), squared spikes (generate)", "mean over outputs that count"),
        Metric("perfect", "max", "share", "sequences with every output at most 0.49 from its target", best=1.0),
        Metric("accuracy", "max", "share", "single outputs that are", best=1.0),
    )

    @property
    def steps(self) -> int:
        """Steps of the longest sequence."""
        return int(self.options.spikes * (self.options.interval + self.options.delay) + 1)

    @property
    def signature(self) -> Signature:
        return Signature(Reals(1), 1, MappingKind.LABELLING, "mse")

    @property
    def criterion(self) -> str:
        return f"perfect (no error above {TOLERANCE}) of at least {self.options.solved_share:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["perfect"] >= self.options.solved_share)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        shape, longest = (self.options.spikes, size), self.options.delay
        every = self.options.delays == "range"
        drawn = rng.integers(0, longest + 1, shape) if every else longest * rng.integers(0, 2, shape)
        times, columns = (self.options.interval + drawn).cumsum(0), np.arange(size)
        spikes, values = np.zeros((2, self.steps, size), dtype=np.float32)
        spikes[times, columns] = 1
        lengths = times[-1] + 1
        if self.options.variant == "measure":
            values[times, columns] = drawn
            return Batch(spikes[..., None], values[..., None], lengths, spikes == 1)
        values[0] = drawn[0]
        values[times[:-1], columns] = drawn[1:]
        return Batch(values[..., None], spikes[..., None], lengths)

    def _constant(self) -> float:
        """The best constant: the mean delay, or the share of steps with a spike."""
        mean = self.options.delay / 2
        if self.options.variant == "measure":
            return float(mean)
        spikes = self.options.spikes
        return float(spikes / (spikes * (self.options.interval + mean) + 1))

    def baseline(self) -> Baseline:
        longest, constant = self.options.delay, self._constant()
        if self.options.variant == "generate":
            formula = "p (1 - p), p = N / (N (F + i/2) + 1), spikes per step"
            return Baseline(constant * (1 - constant), f"always {constant:.4f}, the share of spikes", formula)
        words = f"always {constant:g}, the mean delay"
        if self.options.delays == "ends":
            return Baseline(longest**2 / 4, words, "variance of {0, i}: i^2 / 4")
        return Baseline(((longest + 1) ** 2 - 1) / 12, words, "variance of {0 ... i}: ((i + 1)^2 - 1) / 12")

    def trivial(self, batch: Batch) -> Array:
        return np.full((batch.steps, batch.size, 1), self._constant(), dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        seen, interval = batch.inputs[..., 0], self.options.interval
        outputs = np.zeros_like(seen)
        if self.options.variant == "measure":
            places = np.where(seen == 1, np.arange(batch.steps)[:, None], 0)
            before = np.maximum.accumulate(places, axis=0)
            outputs[1:] = np.where(seen[1:] == 1, places[1:] - before[:-1] - interval, 0)
            return outputs[..., None]
        columns, now = np.arange(batch.size), np.zeros(batch.size, dtype=np.int64)
        for _ in range(self.options.spikes):
            now = now + interval + seen[now, columns].astype(np.int64)
            outputs[now, columns] = 1
        return outputs[..., None]

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        counted = batch.exists() if batch.counted is None else batch.counted
        assert counted is not None
        errors = (outputs.astype(np.float64) - batch.targets)[..., 0]
        right = np.abs(errors) <= TOLERANCE
        return {
            "mse": float(np.mean(errors[counted] ** 2)),
            "perfect": float(np.mean((right | ~counted).all(0))),
            "accuracy": float(np.mean(right[counted])),
        }

    def describe(self, batch: Batch, index: int) -> str:
        """Spikes in rows of fifty steps, then the delays before them."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        inputs, targets = batch.inputs[:length, index, 0], batch.targets[:length, index, 0]
        measure = self.options.variant == "measure"
        spikes, delays = (inputs, targets) if measure else (targets, inputs)
        times = np.flatnonzero(spikes)
        line = "".join("|" if spike else "·" for spike in spikes)
        rows = [f"step {start:>6}  {line[start : start + 50]}" for start in range(0, length, 50)]
        delay_texts = [f"{int(delay)}" for delay in delays[times if measure else [0, *times[:-1]]]]
        rows += [
            f"delays       {' '.join(delay_texts[start : start + 20])}" for start in range(0, len(delay_texts), 20)
        ]
        given = "spikes; targets are the delays" if measure else "delays, each at the spike before; targets are spikes"
        return "\n".join([*rows, f"inputs       {given}"])
