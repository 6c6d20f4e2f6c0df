"""Training a model that reads its own outputs back: on the true history, on its own, or on a mixture by example."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from longlag.cells import Layer, StateGradients
from longlag.cells.stack import StackState
from longlag.models.base import Model, Records, Tensors
from longlag.models.decoder import Decoder, Memory
from longlag.spec import DecoderSpec
from longlag.task import Signature


class AutoregressiveModel(Model):
    """A model with a decoder: what the three kinds share.

    Args:
        signature: the task's.
        spec: how it is taught and how it answers.
    """

    def __init__(self, signature: Signature, spec: DecoderSpec) -> None:
        super().__init__(signature)
        self.spec = spec
        self.fraction = spec.teacher_forcing
        self.sampling = torch.Generator()

    def seed_sampling(self, generator: torch.Generator) -> None:
        """Seed what decides which examples are shown the true history; after the parameters were drawn."""
        self.sampling.manual_seed(int(torch.randint(2**62, (), generator=generator)))

    def set_progress(self, progress: float) -> None:
        end = self.spec.teacher_forcing if self.spec.teacher_forcing_end is None else self.spec.teacher_forcing_end
        self.fraction = self.spec.teacher_forcing + progress * (end - self.spec.teacher_forcing)

    @property
    def forcing(self) -> float:
        """Fraction of examples shown the true history now: all of them outside of training."""
        return self.fraction if self.training else 1.0


def outputs_of(
    decoder: Decoder,
    batch: Tensors,
    memory: Memory,
    state: StackState | None,
    fraction: float,
    sampling: torch.Generator,
    records: Records | None,
) -> Tensor:
    """The decoder's values for every target step, ``[U, B, N]``.

    Args:
        decoder: what answers.
        batch: its targets are the true history.
        memory: what the decoder looks at.
        state: its initial state.
        fraction: of examples that are shown the true history (teacher forcing); the others read back the likeliest
            outputs of their own, through which no gradient flows.
        sampling: decides which examples those are.
        records: one for each layer of the decoder, in order.
    """
    like = next(decoder.parameters())
    start = decoder.start(batch.batch, like)
    in_order = list(records.values()) if records is not None else None
    if fraction >= 1 and not decoder.early:
        history = torch.cat([start.unsqueeze(0), decoder.encode(batch.targets[:-1], like.dtype)])
        return decoder.whole(history, memory, state, batch.answered, in_order)
    taught = (torch.rand(batch.batch, generator=sampling) < fraction).to(start.device).unsqueeze(-1)
    if not decoder.early and not decoder.stack.composition.dropout:
        history = mixed(decoder, batch, memory, state, taught)
        return decoder.whole(history, memory, state, batch.answered, in_order)
    previous, output, values = start, None, []
    names = [layer.state_names for layer in decoder.stack.layers if isinstance(layer, Layer)]
    for record, states in zip(in_order or [], names, strict=False):
        record.allocate(states, len(batch.targets), batch.batch)
    for step, target in enumerate(batch.targets):
        now, state, output = decoder.step(previous, memory, state, output)
        for states, layer, record in zip(names, state, in_order or [], strict=False):
            record_states({name: layer[name] for name in states}, record, step)
        values.append(now)
        true = decoder.encode(target, like.dtype)
        own = decoder.encode(decoder.likeliest(now.detach()), like.dtype)
        previous = torch.where(taught, true, own)
    return torch.stack(values)


@torch.no_grad()
def mixed(decoder: Decoder, batch: Tensors, memory: Memory, state: StackState | None, taught: Tensor) -> Tensor:
    """The encoded outputs before each step, ``[U, B, O]``: the true ones, or where not `taught` the model's likeliest.

    No gradient flows through them, so that the pass that has one can take them as known, all steps at once.
    """
    like = next(decoder.parameters())
    true = decoder.encode(batch.targets[:-1], like.dtype)
    previous, output = decoder.start(batch.batch, like), None
    if bool(taught.all()):
        return torch.cat([previous.unsqueeze(0), true])
    history = [previous]
    for target in true:
        values, state, output = decoder.step(previous, memory, state, output)
        previous = torch.where(taught, target, decoder.encode(decoder.likeliest(values), like.dtype))
        history.append(previous)
    return torch.stack(history)


def record_states(state: dict[str, Tensor], record: StateGradients, step: int) -> None:
    """Fill `record` with the gradient norms of one layer's states after one step."""

    def put(name: str, gradient: Tensor | None) -> None:
        if gradient is not None:  # a compiled loop's final state that nothing reads has none
            record.put(name, step, gradient)

    for name, value in state.items():
        if value.requires_grad:
            value.register_hook(partial(put, name))
