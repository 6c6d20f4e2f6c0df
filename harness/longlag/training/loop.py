"""The training loop: fresh batches, gradients read before clipping, evaluation on fixed splits, a typed result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from longlag.errors import UserError
from longlag.kernels import memory
from longlag.models import Tensors, build, loss
from longlag.models.base import Records
from longlag.optimizers import build as build_optimizer
from longlag.probes import by_group
from longlag.spec import RunSpec
from longlag.task import Answer, Array, Batch, Task
from longlag.training import clipping, curriculum, regulariser, resume, schedule
from longlag.training.checkpoint import Checkpoints
from longlag.training.data import Split, part, splits
from longlag.training.environment import environment, numerics
from longlag.training.lengths import AccuracyByLength
from longlag.training.probe_schedule import ProbeSchedule
from longlag.training.result import Outcome, Pruned, RunCallback, RunResult
from longlag.training.seeding import numpy_generator, torch_generator

EVALUATION_BATCH = 500
SHOWN = 8
"""Sequences of the test split whose predictions are shown."""
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


class Run:
    """One run in the making: its task, network, optimizer and splits. `train` is the way in."""

    def __init__(self, spec: RunSpec, callbacks: Sequence[RunCallback], cache: Path | None) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        self.spec = spec
        self.callbacks = callbacks
        self.task: Task = spec.task.build()
        self.signature = self.task.signature
        self.per_step = self.signature.per_step
        self.dtype, self.device = DTYPES[spec.training.dtype], torch.device(spec.training.device)
        self.splits: dict[str, Split] = splits(spec, cache)
        generator = torch_generator(spec.seed, "initialisation")
        network = build(self.signature, spec.cell.build(), spec.model, generator)
        self.network = network.to(self.dtype).to(self.device)
        self.network.run_on(spec.training.kernel, spec.training.checkpoint_steps)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.groups = self.network.groups()
        network = self.network
        self.optimizer = build_optimizer(spec.optimizer, self.parameters, network.constrained(), network.undecayed())
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.data = numpy_generator(spec.seed, "training data")
        self.curriculum = curriculum.build(spec, self.task, cache)
        try:
            self.environment = environment(self.network.kernels(self.device), self.device)
        except ValueError as error:
            raise UserError(f"training.kernel: {error}") from error
        looked_at = part(self.splits["validation"].batch, 0, spec.probe.batch_size, self.per_step)
        self.probes = ProbeSchedule(spec, self.network, looked_at, self.tensors(looked_at), callbacks)
        self.regulariser = regulariser.build(spec.regulariser, self.network)
        self.validation: dict[str, float] = {}
        self.solved_at: int | None = None
        self.update = 0
        self.losses: list[float] = []  # since they were logged last
        self.clipped = 0

    def tensors(self, batch: Batch) -> Tensors:
        return Tensors.of(batch, self.dtype, self.device)

    @property
    def probed(self) -> dict[str, Any]:
        """What the probes remember, as JSON values."""
        return self.probes.saved()

    @probed.setter
    def probed(self, state: Mapping[str, Any]) -> None:
        self.probes.restore(state)

    def tell(self, values: Mapping[str, float]) -> None:
        for callback in self.callbacks:
            callback.measured(self.update, values)

    # -- training ---------------------------------------------------------------------------------------------------

    def backward(self, batch: Tensors, records: Records | None = None) -> torch.Tensor:
        """Loss and gradients of one batch; the gradients stand in ``.grad``."""
        for parameter in self.parameters:
            parameter.grad = None
        if self.regulariser is None:
            value = loss(self.signature, self.network(batch, records), batch)
            value.backward()
            return value.detach()
        with self.regulariser.capturing():
            value = loss(self.signature, self.network(batch, records), batch)
            self.regulariser.backward(value)
        return value.detach()

    def until_stopped(
        self, interrupted: Callable[[], bool], checkpoints: Checkpoints | None = None
    ) -> tuple[Outcome, str]:
        """Train until something ends the run; says what."""
        training, probe = self.spec.training, self.spec.probe
        while self.update < training.updates:
            progress = self.update / training.updates
            self.network.set_progress(progress)
            log = (self.update + 1) % probe.log_every == 0 or self.update == 0
            batch = self.curriculum.task(progress, self.data).sample(self.data, training.batch_size)
            tensors, records = self.tensors(batch), self.probes.records() if log else None
            value = float(self.backward(tensors, records))
            gradients = [p.grad for p in self.parameters if p.grad is not None]
            norm = clipping.total_norm(gradients)
            if not (math.isfinite(value) and math.isfinite(norm)):
                self.tell({"train/diverged": 1.0})
                self.probes.look(self.update, "divergence", batch=(batch, tensors))
                what = f"loss {value}" if not math.isfinite(value) else f"gradient norm {norm}"
                return "diverged", f"{what} at update {self.update + 1}"
            self.losses.append(value)
            norms = by_group(self.groups) if log else {}
            self.clipped += clipping.clip(self.spec.clip, self.parameters, norm)
            factor = schedule.rate(self.spec.schedule, self.update, training.updates)
            for group, lr in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = lr * factor
            self.probes.before(self.update + 1)
            self.optimizer.step()
            self.update += 1
            self.probes.after(self.update)
            if records is not None:
                self.probes.trained(self.update, records, batch)
            if log:
                values = {f"gradient_norm/{name}": number for name, number in norms.items()}
                values["train/loss"] = float(np.mean(self.losses))
                if self.spec.schedule.name != "constant" or self.update == 1:  # a constant rate is reported once
                    values["train/learning_rate"] = self.spec.optimizer.lr * factor
                if self.regulariser is not None:
                    values["train/omega"] = self.regulariser.value
                self.tell(values)
                self.losses = []
            evaluate = self.update % training.eval_every == 0 or self.update == training.updates
            if evaluate:
                try:
                    solved = self.evaluate()
                except Pruned as pruned:
                    return "pruned", str(pruned)
                if solved and training.stop_when_solved:
                    return "solved", f"{self.task.criterion} at update {self.update}"
            else:
                self.probes.look(self.update, self.update)
            if (evaluate or checkpoints) and self.update < training.updates and interrupted():
                if checkpoints:
                    checkpoints.write(resume.snapshot(self))
                return "interrupted", f"stopped by hand at update {self.update}"
            if checkpoints and checkpoints.due():
                checkpoints.write(resume.snapshot(self))
        if self.solved_at is not None:
            return "solved", f"{self.task.criterion} at update {self.solved_at}; trained on to the budget"
        return "budget", f"the budget of {training.updates} updates is used up"

    # -- evaluation -------------------------------------------------------------------------------------------------

    def predict(self, split: Split, most: int | None = None) -> tuple[Array, Answer | None, Batch]:
        """Outputs given the true history, free answers, and the sequences, of a split or of its first few."""
        outputs, answers = [], []
        # answers are sampled with the same draws at every evaluation
        generator = torch_generator(self.spec.seed, f"answers/{split.name}")
        size = split.batch.size if most is None else min(most, split.batch.size)
        self.network.eval()
        with torch.no_grad():
            for start in range(0, size, EVALUATION_BATCH):
                stop = min(start + EVALUATION_BATCH, size)
                batch = self.tensors(part(split.batch, start, stop, self.per_step))
                outputs.append(self.network(batch))
                answers.append(self.network.answer(batch, generator))
        self.network.train()
        joined = torch.cat(outputs, 1 if self.per_step else 0).double().cpu().numpy()
        given = [answer for answer in answers if answer is not None]
        return joined, Answer.join(given) if given else None, part(split.batch, 0, size, self.per_step)

    def measure(self, task: Task, split: Split, accuracy: AccuracyByLength | None = None) -> dict[str, float]:
        """A task's metrics on a whole split: of outputs given the true history, and of what it answers freely.

        Args:
            task: the run's, or one with other options.
            split: of it.
            accuracy: takes the share that is right of every sequence, where the task says it.
        """
        outputs, answer, batch = self.predict(split)
        metrics = dict(task.measure(outputs, batch))
        if answer is not None:
            metrics |= task.judge(answer, batch)
        if accuracy is not None:
            accuracy.add(task, outputs, batch)
        return {name: float(value) for name, value in metrics.items()}  # a task may give NumPy's or torch's numbers

    def validation_score(self, outcome: Outcome) -> float:
        """See `RunResult.validation_score`."""
        if outcome == "diverged" or not self.validation:
            return math.inf
        score = float(self.task.score(self.validation))
        return math.inf if math.isnan(score) else score

    def evaluate(self) -> bool:
        """Measure on the validation split, and the gradient flow; tell both; says whether the task is solved."""
        metrics = self.validation = self.measure(self.task, self.splits["validation"])
        solved = self.task.solved(metrics)
        if solved and self.solved_at is None:
            self.solved_at = self.update
        every = self.spec.training.eval_every
        since = self.update - (self.update - 1) // every * every
        shares = {"train/clipped": self.clipped / since}  # of the updates since the last evaluation
        self.clipped = 0
        varied = self.curriculum.evaluated(self.measure)
        self.tell({f"validation/{name}": value for name, value in metrics.items()} | shares | varied)
        self.probes.look(self.update, "evaluation", self.update)
        for callback in self.callbacks:
            callback.evaluated(self.update, metrics, self.task.score(metrics))
        return solved


def train(
    spec: RunSpec,
    callbacks: Sequence[RunCallback] = (),
    cache: Path | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    checkpoints: Checkpoints | None = None,
) -> RunResult:
    """Train one run to its end, from its last checkpoint if there is one.

    Args:
        spec: what to run.
        callbacks: told what happens; they never change the numbers.
        cache: folder for the evaluation splits' Arrow files; None keeps them in memory.
        interrupted: asked after every evaluation, and with checkpoints after every update; true ends the run there.
        checkpoints: where to keep them; a run that is killed ends with the same numbers when it is trained again.

    Returns:
        The result; a run that diverged, or never solved its task, has one as well.
    """
    memory.keep()
    with numerics():
        run = Run(spec, callbacks, cache)
        saved = checkpoints.read() if checkpoints else None
        if saved is not None and resume.fits(run, saved):
            resume.restore(run, saved)
        count = sum(p.numel() for p in run.parameters)
        for callback in callbacks:
            callback.started(spec, run.splits, count, run.environment)
        if checkpoints:
            checkpoints.begin()
        if not run.update:
            run.probes.look(0, "start")
        outcome, reason = run.until_stopped(interrupted, checkpoints)
        if outcome not in ("diverged", "interrupted"):
            run.probes.look(run.update, "end")
        whole = outcome in ("solved", "budget")
        accuracy = AccuracyByLength()
        test = run.measure(run.task, run.splits["test"], accuracy) if whole else None
        further = {name: spec.task_with(options).build() for name, options in spec.data.beyond.items()} if whole else {}
        beyond = {name: run.measure(task, run.splits[name], accuracy) for name, task in further.items()}
        if whole:
            shown = run.predict(run.splits["test"], SHOWN)
            for callback in callbacks:
                callback.predicted(run.task, *shown)
                callback.weights(run.network.state_dict())
    result = RunResult(
        spec=spec,
        run_key=spec.run_key,
        outcome=outcome,
        reason=reason,
        updates=run.update,
        solved_at=run.solved_at,
        validation=run.validation,
        validation_score=run.validation_score(outcome),
        test=test,
        beyond=beyond,
        baseline=run.task.baseline().value,
        score=math.nan if test is None else run.task.score(test),
        by_length=accuracy.points(),
        parameters=count,
        state_size=run.network.state_size(run.splits["test"].batch.steps),
        wall_seconds=time.perf_counter() - run.wall,
        cpu_seconds=time.process_time() - run.cpu,
        gradient=run.probes.summary(),
        environment=run.environment,
    )
    for callback in callbacks:
        callback.finished(result)
    return result
