"""The probes of one run, by their schedule. Nothing here changes a number of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median_low
from typing import Any

import torch
from torch import nn

from longlag.models import Model, Tensors, loss
from longlag.models.base import Records
from longlag.probes import Curve, curves, layers
from longlag.probes.flow import finite, top
from longlag.probes.lag import lag_curves, outputs
from longlag.registry import NETWORK_PROBES
from longlag.spec import Moment, RunSpec
from longlag.task import Batch
from longlag.training.result import RunCallback

REPORTED = ("horizon", "horizon10", "slope", "log10_ratio", "tiny", "underflow")


class ProbeSchedule:
    """Measures what is due, and reports it to the callbacks.

    Args:
        spec: its probe fields say what is due when.
        network: what is probed.
        batch: the sequences that probes look at.
        tensors: the same.
        callbacks: receive what was found.

    Attributes:
        gradient: scalars for the run's result, see `RunResult.gradient`.
    """

    def __init__(
        self, spec: RunSpec, network: Model, batch: Batch, tensors: Tensors, callbacks: Sequence[RunCallback]
    ) -> None:
        self.spec, self.network, self.batch, self.tensors = spec.probe, network, batch, tensors
        self.updates, self.eval_every = spec.training.updates, spec.training.eval_every
        self.callbacks = callbacks
        self.gradient: dict[str, float] = {}
        self._trained: list[tuple[float, float]] = []
        self._unreported = 0  # index of the first entry not yet reported
        self._lags: list[float] = []
        self._before: dict[str, torch.Tensor] = {}
        self._done: set[tuple[str, int]] = set()
        self._outputs = outputs(network)
        self._moments = spec.probe.when.moments()
        of_layers = [name for name, moments in self._moments.items() if moments and name not in NETWORK_PROBES]
        self._layers = dict(zip(of_layers, layers.load(of_layers), strict=True))

    # -- at certain moments -----------------------------------------------------------------------------------------

    def look(self, update: int, *moments: Moment, batch: tuple[Batch, Tensors] | None = None) -> None:
        """Measure every probe that is due at one of the moments, in passes of their own.

        Args:
            update: how many were made.
            moments: what it is now.
            batch: what to look at in place of the validation sequences.
        """
        if {"evaluation", "divergence"} & set(moments) and len(self._trained) > self._unreported:
            self.tell(update, finite(_medians("gradient_flow/training_", self._trained[self._unreported :])))
            self._unreported = len(self._trained)
        due = [name for name in ("total", "lag", *self._layers) if self._due(name, update, moments)]
        if not due:
            return
        sequences, tensors = (self.batch, self.tensors) if batch is None else batch
        self.network.eval()
        prefix = "divergence" if "divergence" in moments else "initial" if update == 0 else "final"
        if self.spec.curves and "total" in due:
            self._total(update, prefix, sequences, tensors)
        if self.spec.curves and "lag" in due:
            self._lag(update, prefix, tensors)
        found = layers.measure(self.network, tensors, [self._layers[name] for name in due if name in self._layers])
        self.network.train()
        self.tell(update, finite(found))

    def _due(self, name: str, update: int, moments: Sequence[Moment]) -> bool:
        if (name, update) in self._done or not set(self._moments[name]) & set(moments):
            return False
        self._done.add((name, update))
        return True

    def _total(self, update: int, prefix: str, batch: Batch, tensors: Tensors) -> None:
        records = self.network.records()
        value = loss(self.network.signature, self.network(tensors, records), tensors)
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        torch.autograd.grad(value, parameters, allow_unused=True)
        measured = curves(records, self.network.lengths(batch), self._outputs)
        self._keep(update, f"{prefix}_", "", measured)
        for callback in self.callbacks:
            callback.flow(update, measured)

    def _lag(self, update: int, prefix: str, tensors: Tensors) -> None:
        measured = lag_curves(self.network, tensors)
        if measured:
            self._keep(update, f"{prefix}_lag_", "lag_", measured)
            if prefix == "final":
                self._lags.append(self.gradient["final_lag_horizon"])
            for callback in self.callbacks:
                callback.lag(update, measured)

    def _keep(self, update: int, prefix: str, told: str, measured: Sequence[Curve]) -> None:
        """The scalars of the output of the main part, for the result and the callbacks."""
        curve = top(measured, self.network.main_part)
        found = asdict(curve.scalars) | {"steps": float(len(curve.by_lag) - 1)}
        self.gradient |= {f"{prefix}{name}": value for name, value in found.items() if not math.isnan(value)}
        self.tell(update, finite({f"gradient_flow/{told}{name}": found[name] for name in REPORTED}))

    def tell(self, update: int, values: Mapping[str, float]) -> None:
        for callback in self.callbacks:
            if values:
                callback.measured(update, values)

    # -- at every logged update -------------------------------------------------------------------------------------

    def records(self) -> Records | None:
        """What the forward pass of a logged update is handed; None where nobody wants it."""
        return self.network.records() if self.spec.curves and self.spec.training else None

    def trained(self, update: int, records: Records, batch: Batch) -> None:
        """Read the records that the backward pass of a logged update has filled; `update` counts it.

        Callbacks receive every curve and, at the next evaluation or divergence, the medians of their scalars.
        """
        measured = curves(records, self.network.lengths(batch), self._outputs)
        curve = top(measured, self.network.main_part)
        self._trained.append((float(curve.horizon), curve.log10_ratio))
        for callback in self.callbacks:
            callback.training_flow(update, measured)

    # -- around an update -------------------------------------------------------------------------------------------

    def before(self, update: int) -> None:
        """Before the weights change for the `update`-th time (counted from 1)."""
        moments: set[Moment] = {update}
        if update == 1:
            moments.add("start")
        if update % self.eval_every == 0 or update == self.updates:
            moments.add("evaluation")
        if update == self.updates:
            moments.add("end")
        if moments & set(self.spec.when.update_ratio):
            self._before = {name: p.detach().clone() for name, p in self._trainable()}

    def after(self, update: int) -> None:
        """After it: norm of the change over that of the weights before it, by parameter; where that was 0, nothing."""
        if not self._before:
            return
        ratios = {
            f"update_ratio/{name}": float((p.detach() - self._before[name]).double().norm())
            / (float(self._before[name].double().norm()) or math.nan)
            for name, p in self._trainable()
        }
        self._before = {}
        self.tell(update, finite(ratios))

    def _trainable(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]

    # -- at the end -------------------------------------------------------------------------------------------------

    def summary(self) -> dict[str, float]:
        """The scalars of the run."""
        if self._trained:
            self.gradient |= _medians("training_", self._trained)
        if self._lags:
            self.gradient["training_lag_horizon"] = median_low(self._lags)
        return self.gradient

    def saved(self) -> dict[str, Any]:
        """What a run that is taken up again has to know, as JSON values."""
        return {
            "gradient": dict(self.gradient),
            "trained": [list(pair) for pair in self._trained],
            "untold": self._unreported,
            "lags": list(self._lags),
            "done": [list(pair) for pair in sorted(self._done)],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `saved`."""
        self.gradient, self._lags = dict(state["gradient"]), list(state["lags"])
        self._trained = [(horizon, ratio) for horizon, ratio in state["trained"]]
        self._unreported = state.get("untold", len(self._trained))  # checkpoints of before had told of each at once
        self._done = {(name, update) for name, update in state["done"]}


def _medians(prefix: str, trained: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Of the horizons and log10 ratios of training batches, the latter where they are numbers."""
    horizons, ratios = zip(*trained, strict=True)
    usable = [ratio for ratio in ratios if not math.isnan(ratio)]
    medians = {f"{prefix}horizon": median_low(horizons)}
    return medians | ({f"{prefix}log10_ratio": median_low(usable)} if usable else {})
