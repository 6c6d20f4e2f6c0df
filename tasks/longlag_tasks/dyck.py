"""Dyck languages of bounded depth: a stream of nested brackets of several kinds; which symbol comes next?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from math import log

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Signature, Task, Tokens
from longlag_tasks._classes import CERTAIN
from longlag_tasks._recall import rows

STEPS = 8
"""Symbols of a block: one random byte, a bit a symbol, decides them all."""

END, OPEN, CLOSE = range(3)
CONFIDENT = 0.8


class DyckOptions(Options):
    """Options of `Dyck`."""

    length: int = Field(100, ge=2, le=10**6, description="T, steps of the stream")
    kinds: int = Field(8, ge=1, le=10_000, description="k, kinds of brackets")
    depth: int = Field(3, ge=1, le=1000, description="m, the most brackets that are open at once")
    solved_share: float = Field(0.99, gt=0, le=1, description="solved when so many brackets are closed right")


@dataclass(frozen=True)
class Walk:
    """The walk of the depth in blocks of eight steps.

    Args:
        levels: int16 ``[(m + 1) 256, 8]``, which of the open brackets opens or closes there, 0 at an end, by the depth
            before the block and a random byte.
        closes: bool, likewise, whether one closes.
        jump: ``[(m + 1) 256]``, 256 times the depth after it.
    """

    levels: Array
    closes: Array
    jump: Array


@cache
def walk(deepest: int) -> Walk:
    depth, byte = np.repeat(np.arange(deepest + 1), 256), np.tile(np.arange(256), deepest + 1)
    levels, closes = np.empty((len(depth), STEPS), np.int16), np.empty((len(depth), STEPS), bool)
    for place in range(STEPS):
        opens = (byte >> place & 1).astype(bool) & (depth < deepest)
        closes[:, place] = ~opens & (depth > 0)
        levels[:, place] = depth + opens  # 0 where nothing is open and nothing opens
        depth = depth + opens - closes[:, place]
    return Walk(levels, closes, 256 * depth)


def _close(stream: Array, level: Array, closes: Array, kinds: int) -> None:
    """Write the brackets that close, each of the kind of the one that it closes, into the stream ``[T, B]``.

    At one level brackets open and close in turn: sorted by level, a bracket stands right behind its opening one.
    """
    # short whole numbers are sorted by their digits
    order = np.argsort(level.T, axis=1, kind="stable") * level.shape[1]
    order += np.arange(level.shape[1])[:, None]
    sorted_places, symbols = order.ravel(), stream.ravel()
    shut = np.flatnonzero(closes.ravel().take(sorted_places))
    symbols[sorted_places.take(shut)] = symbols.take(sorted_places.take(shut - 1)) + kinds


class Dyck(Task[DyckOptions]):
    """A stream of well-nested brackets of k kinds, at most m open at once; at every step, which symbol comes next?

    With none open the string ends or a bracket opens, half of the time each, and after an end the next string begins;
    with some open, one opens or the last one closes, half of the time each; with m open, the last one closes. The kind
    of a bracket that opens is uniform. Which kind closes follows from what is open, and from nothing else: the state
    is a stack of up to m kinds. Hewitt et al. (2020), Dyck-(k, m), there as strings of bounded length.

    Symbols: 0 the end, ``1 ... k`` open, ``k + 1 ... 2 k`` close. Shapes: inputs and targets int64 ``[T, B]``, the
    stream and its next symbols. The loss is the cross-entropy in nats; the score is its excess over the least one.
    """

    metrics = (
        Metric("divergence", "min", "nats", "mean over the steps, from the true chances of the next symbol"),
        Metric(
            "closing",
            "max",
            "share",
            "with brackets open: steps where the right kind has 0.8 of all closing chance",
            1.0,
        ),
    )

    @property
    def signature(self) -> Signature:
        symbols = 2 * self.options.kinds + 1
        return Signature(Tokens(symbols), symbols, MappingKind.LABELLING, "cross-entropy")

    @property
    def criterion(self) -> str:
        return f"closing of at least {self.options.solved_share:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["closing"] >= self.options.solved_share)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        steps, kinds, found = self.options.length + 1, self.options.kinds, walk(self.options.depth)
        codes = rng.integers(0, 256, (-(-steps // STEPS), size))
        depth = np.zeros(size, dtype=np.int64)
        for code in codes:
            code += depth
            depth = found.jump.take(code)
        levels, closes = (
            np.ascontiguousarray(table.take(codes, axis=0).swapaxes(1, 2)).reshape(-1, size)[:steps]
            for table in (found.levels, found.closes)
        )
        stream = rng.integers(1, kinds + 1, levels.shape)
        stream *= levels > 0
        _close(stream, levels, closes, kinds)
        return Batch(stream[:-1], stream[1:])

    @cached_property
    def _chances(self) -> tuple[Array, Array]:
        """By depth: chances of ending, of opening and of closing, ``[m + 1, 3]``; nats of the next symbol."""
        deepest, kinds = self.options.depth, self.options.kinds
        chances = np.full((deepest + 1, 3), 0.5)
        chances[0, CLOSE] = 0
        chances[1:, END] = 0
        chances[deepest] = [0, 0, 1]
        nats = np.full(deepest + 1, log(2) + log(kinds) / 2)
        nats[deepest] = 0
        return chances, nats

    @cached_property
    def _visits(self) -> Array:
        """Share of the steps at each depth, after the symbol that is read there."""
        chances, _ = self._chances
        now, visits = np.zeros(self.options.depth + 1), np.zeros(self.options.depth + 1)
        now[0] = 1
        for _ in range(self.options.length):
            after = now * chances[:, END]
            after[1:] += now[:-1] * chances[:-1, OPEN]
            after[:-1] += now[1:] * chances[1:, CLOSE]
            now = after
            visits += now
        visits /= visits.sum()
        return visits

    @cached_property
    def _frequencies(self) -> Array:
        """How often each symbol is the next one."""
        moves = self._visits @ self._chances[0]
        kinds = self.options.kinds
        return np.concatenate([moves[:1], np.repeat(moves[1:] / kinds, kinds)])

    def baseline(self) -> Baseline:
        frequencies = self._frequencies
        return Baseline(
            float(-(frequencies * np.log(frequencies)).sum() - self._visits @ self._chances[1]),
            "no memory: each symbol as likely as it is frequent",
            "entropy of the symbols' frequencies less the mean entropy of the next symbol, from the law of the depth",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = np.log(self._frequencies).astype(np.float32)
        return np.broadcast_to(logits, (batch.steps, batch.size, len(logits))).copy()

    def _open(self, inputs: Array) -> tuple[Array, Array]:
        """After each step: brackets open ``[T, B]``, and the kind of the last of them, 0 for none; with a stack."""
        kinds, columns = self.options.kinds, np.arange(inputs.shape[1])
        stack = np.zeros((self.options.depth + 2, inputs.shape[1]), dtype=np.int64)
        depth = np.zeros(inputs.shape[1], dtype=np.int64)
        depths, tops = np.empty_like(inputs), np.empty_like(inputs)
        for step, symbol in enumerate(inputs):
            opens = (symbol > 0) & (symbol <= kinds)
            depth = depth + opens - (symbol > kinds)
            stack[depth[opens], columns[opens]] = symbol[opens]
            depths[step], tops[step] = depth, stack[depth, columns]
        return depths, tops

    def _law(self, inputs: Array) -> tuple[Array, Array, Array]:
        """True chances of the next symbol ``[T, B, 2 k + 1]``, their nats ``[T, B]``, and the kind that closes."""
        kinds, (chances, nats) = self.options.kinds, self._chances
        depths, tops = self._open(inputs)
        by_depth = chances[depths]
        law = np.zeros((*inputs.shape, 2 * kinds + 1))
        law[..., END] = by_depth[..., END]
        law[..., 1 : kinds + 1] = by_depth[..., OPEN, None] / kinds
        closing = np.where(depths > 0, kinds + tops, 0)
        step, column = np.nonzero(depths)
        law[step, column, closing[step, column]] = by_depth[step, column, CLOSE]
        return law, nats[depths], closing

    def oracle(self, batch: Batch) -> Array:
        law, _, _ = self._law(batch.inputs)
        logits: Array = np.where(law > 0, np.log(np.where(law > 0, law, 1)), -CERTAIN).astype(np.float32)
        return logits

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        law, nats, closing = self._law(batch.inputs)
        shifted = outputs.astype(np.float64) - outputs.max(-1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        there = closing > 0
        close = np.exp(shifted[there][:, self.options.kinds + 1 :])
        right = close[np.arange(len(close)), closing[there] - self.options.kinds - 1]
        return {
            "divergence": float((-(law * logs).sum(-1) - nats).mean()),
            "closing": float(np.mean(right > CONFIDENT * close.sum(-1))) if len(close) else 1.0,
        }

    def describe(self, batch: Batch, index: int) -> str:
        """The stream, ``3(`` opens kind 3 and ``)3`` closes it, ``.`` is the end of a string; and the next symbol."""
        kinds = self.options.kinds
        names = [".", *(f"{kind}(" for kind in range(1, kinds + 1)), *(f"){kind}" for kind in range(1, kinds + 1))]
        read = [names[symbol] for symbol in batch.inputs[:, index]]
        return "\n".join([*rows("stream", read), f"next    {names[batch.targets[-1, index]]}"])
