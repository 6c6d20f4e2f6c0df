"""Running freely: greedy, sampled, and beam search over symbols; means and samples of reals."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from longlag.cells.stack import StackState
from longlag.models.decoder import Decoder, Memory
from longlag.models.losses import mixture
from longlag.spec import DecoderSpec
from longlag.task import Answer

Pick = Callable[[Tensor], Tensor]
"""From the numbers of one step to the output that is fed back."""


def picker(decoder: Decoder, spec: DecoderSpec, generator: torch.Generator) -> Pick:
    """How an output is chosen from its numbers: the likeliest, or a sample at the spec's temperature."""
    kind = decoder.signature.loss
    if spec.decoding != "sample" or kind == "mse":
        return decoder.likeliest
    if kind == "mixture-density":
        return lambda numbers: sample_pen(numbers, spec.temperature, generator)
    if kind == "bernoulli":
        return lambda numbers: _less(torch.sigmoid(numbers / spec.temperature), generator)
    return lambda numbers: _symbol(numbers / spec.temperature, generator)


def _symbol(logits: Tensor, generator: torch.Generator) -> Tensor:
    probability = logits.double().softmax(-1).cpu()
    return torch.multinomial(probability, 1, generator=generator).squeeze(-1).to(logits.device)


def _less(probability: Tensor, generator: torch.Generator) -> Tensor:
    draws = torch.rand(probability.shape, generator=generator, dtype=torch.float64).to(probability.device)
    return (draws < probability).to(probability.dtype)


def sample_pen(numbers: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """A pen offset and lifting ``[B, 3]`` (Graves 2013); variances are multiplied by the temperature."""
    log_weights, mean, log_std, correlation, lift = mixture(numbers)
    chosen = _symbol(log_weights / temperature, generator)
    rows = torch.arange(len(mean))
    std, rho = log_std[rows, chosen].exp() * temperature**0.5, correlation[rows, chosen]
    noise = torch.randn(len(mean), 2, generator=generator).to(numbers)
    second = rho * noise[:, 0] + (1 - rho.square()).sqrt() * noise[:, 1]
    point = mean[rows, chosen] + std * torch.stack([noise[:, 0], second], -1)
    return torch.cat([point, _less(torch.sigmoid(lift), generator).unsqueeze(-1)], -1)


@torch.no_grad()
def run_freely(
    decoder: Decoder, memory: Memory, state: StackState | None, batch: int, like: Tensor, spec: DecoderSpec,
    generator: torch.Generator,
) -> Answer:  # fmt: skip
    """Answer until every example has ended, or to the signature's most steps."""
    signature = decoder.signature
    if spec.decoding == "beam" and decoder.symbols:
        return beam(decoder, memory, state, batch, like, spec.beam)
    pick = picker(decoder, spec, generator)
    previous, output = decoder.start(batch, like), None
    going = torch.ones(batch, dtype=torch.bool, device=like.device)
    lengths = torch.zeros(batch, dtype=torch.long, device=like.device)
    values = []
    for _ in range(signature.max_steps):
        numbers, state, output = decoder.step(previous, memory, state, output)
        value = pick(numbers)
        values.append(value)
        if decoder.symbols and signature.end is not None:
            going = going & (value != signature.end)
        lengths += going
        if not going.any():
            break
        previous = decoder.encode(value, like.dtype)
    stacked = torch.stack(values)
    return Answer((stacked if decoder.symbols else stacked.float()).cpu().numpy(), lengths.cpu().numpy())


@torch.no_grad()
def beam(decoder: Decoder, memory: Memory, state: StackState | None, batch: int, like: Tensor, width: int) -> Answer:
    """Beam search for the likeliest answer, all examples at once; scores are sums of log-probabilities, in nats.

    A hypothesis that has ended stays as it is; the search stops when the best of every example has ended. Scores are
    not divided by the length, so that width 1 is greedy decoding.
    """
    signature, classes = decoder.signature, decoder.signature.outputs
    end = signature.end
    memory = memory.repeat(width)
    state = select(decoder.stack.initial_state(batch) if state is None else state, _rows(batch, width, like.device))
    previous, output = decoder.start(batch * width, like), None
    scores = like.new_full((batch, width), -torch.inf, dtype=torch.float64)
    scores[:, 0] = 0.0  # all start alike: one of them counts
    ended = torch.zeros(batch, width, dtype=torch.bool, device=like.device)
    history = torch.zeros(0, batch, width, dtype=torch.long, device=like.device)
    for _ in range(signature.max_steps):
        numbers, state, output = decoder.step(previous, memory, state, output)
        following = numbers.double().log_softmax(-1).view(batch, width, classes)
        if end is not None:
            stay = torch.full_like(following, -torch.inf)
            stay[..., end] = 0.0
            following = torch.where(ended.unsqueeze(-1), stay, following)
        best, index = (scores.unsqueeze(-1) + following).flatten(1).topk(width, -1)
        parent, symbol = index // classes, index % classes
        scores = best
        history = torch.cat([history.gather(2, parent.expand_as(history)), symbol.unsqueeze(0)])
        ended = ended.gather(1, parent) | ((symbol == end) if end is not None else torch.zeros_like(ended))
        flat = (parent + width * torch.arange(batch, device=like.device).unsqueeze(1)).flatten()
        state, output = select(state, flat), output[flat]
        previous = decoder.encode(symbol.flatten(), like.dtype)
        if bool(ended[:, 0].all()):
            break
    values = history[:, :, 0]
    over = (values == end).cumsum(0) > 0 if end is not None else torch.zeros_like(values, dtype=torch.bool)
    return Answer(values.cpu().numpy(), (~over).sum(0).cpu().numpy())


def _rows(batch: int, width: int, device: torch.device) -> Tensor:
    return torch.arange(batch, device=device).repeat_interleave(width)


def select(state: StackState, rows: Tensor) -> StackState:
    """The state of some examples, in a new order."""
    return tuple({name: value[rows] for name, value in layer.items()} for layer in state)
