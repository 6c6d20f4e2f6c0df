"""Vocabularies made from training texts: subwords by the library tokenizers, words, or characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from longlag.task import DataError
from longlag_tasks._packages import TOKENIZERS
from longlag_tasks._pairs import UNKNOWN, Join

Units = Literal["subwords", "words", "characters"]
SPACE = "▁"
"""What subwords have for the space before a word."""

Cut = Callable[[str], list[str]]


def vocabulary(texts: Sequence[str], unit: Units, size: int, first: Sequence[str]) -> tuple[list[str], Cut, Join]:
    """At most `size` symbols, those of `first` (with `UNKNOWN`) leading; how to cut text into them, and to join them.

    Args:
        texts: to learn from.
        unit: what a symbol is: subwords by byte-pair encoding (Sennrich et al. 2016), or the most frequent words
            between spaces, or the most frequent characters.
        size: the most symbols.
        first: symbols that are no text.
    """
    if unit == "subwords":
        return _subwords(texts, size, first)
    cut: Cut = str.split if unit == "words" else list
    counts = Counter(symbol for text in texts for symbol in cut(text))
    for symbol in first:
        counts.pop(symbol, None)
    frequent = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))[: max(size - len(first), 0)]
    return [*first, *frequent], cut, (" " if unit == "words" else "").join


def _subwords(texts: Sequence[str], size: int, first: Sequence[str]) -> tuple[list[str], Cut, Join]:
    library = TOKENIZERS.load()
    alphabet = len({letter for text in texts for letter in text} | {SPACE}) + len(first)
    if alphabet > size:
        raise DataError(f"vocabulary: the texts have {alphabet} characters alone; take more than {size} subwords")
    tokenizer = library.Tokenizer(library.models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace(replacement=SPACE)
    trainer = library.trainers.BpeTrainer(vocab_size=size, special_tokens=list(first), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    numbered: dict[str, int] = tokenizer.get_vocab()

    def cut(text: str) -> list[str]:
        pieces: list[str] = tokenizer.encode(text).tokens
        return pieces

    def join(symbols: Sequence[str]) -> str:
        return "".join(symbols).replace(SPACE, " ").strip()

    return sorted(numbered, key=lambda symbol: numbered[symbol]), cut, join
