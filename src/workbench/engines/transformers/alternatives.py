"""The likeliest tokens at each step of an answer, as text.

A token's text is what it adds to the text before it: mT5's tokens lose their spaces when decoded alone, and a byte-level token may
hold only a part of a character. The text of such a part is empty, and the token that completes the character has it whole; among
the alternatives it is shown by its bytes, "⟨e4 b8⟩".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode

from workbench.engines.transformers.encoding import Encoded
from workbench.models.requests import TokenAlternatives

_INCOMPLETE = "\ufffd"  # stands for bytes that are no character yet
_CONTEXT = 8  # tokens before a step that its text is decoded with; a character has at most four bytes


def read_alternatives(
    batches: Iterable[Mapping[int, Sequence[Sequence[float]]]], tokenizer: Any, encoded: Sequence[Encoded]
) -> Iterator[tuple[list[int], list[TokenAlternatives]]]:
    """Yield (positions, steps) for batches of rows by number: a token's log-probability, those of the likeliest tokens, their ids."""
    pieces = _Pieces(tokenizer)
    for found in batches:
        yield (
            list(found),
            [_steps(pieces, encoded[number].text.tolist(), rows) for number, rows in found.items()],
        )


def _steps(pieces: "_Pieces", ids: list[int], rows: Sequence[Sequence[float]]) -> TokenAlternatives:
    """Return the steps of one answer; its first token has no row if nothing precedes it."""
    missing = len(ids) - len(rows)
    logprobs: list[float | None] = [*[None] * missing, *(float(row[0]) for row in rows)]
    top: list[list[list[Any]]] = [[] for _ in range(missing)]
    for place, row in enumerate(rows, start=missing):
        half = 1 + len(row) // 2
        likely = zip(row[half:], row[1:half], strict=True)
        top.append([[pieces.shown(ids[:place], int(token)), float(value)] for token, value in likely])
    texts = [pieces.added(ids[:place], token) for place, token in enumerate(ids)]
    return TokenAlternatives(texts, logprobs, top)


class _Pieces:
    """What tokens add to a text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._bytes = {sign: byte for byte, sign in bytes_to_unicode().items()}

    def added(self, before: Sequence[int], token: int) -> str:
        """Return the characters that a token completes; none inside a character."""
        if token in self._special:
            return self._name(token)
        context = [one for one in before[-_CONTEXT:] if one not in self._special]
        start, end = self._decoded(context), self._decoded([*context, token])
        whole = len(start.rstrip(_INCOMPLETE))
        return end.rstrip(_INCOMPLETE)[whole:].lstrip(_INCOMPLETE)  # it may break off a character

    def shown(self, before: Sequence[int], token: int) -> str:
        """Return the text that a token would add; for a part of a character its bytes, for nothing its name in the vocabulary."""
        if text := self.added(before, token):
            return text
        name = self._name(token)
        raw = [self._bytes.get(sign) for sign in name]
        return (
            name
            if None in raw or name.startswith("<0x")
            else "⟨" + " ".join(f"{byte:02x}" for byte in raw) + "⟩"
        )

    def _name(self, token: int) -> str:
        return str(self._tokenizer.convert_ids_to_tokens(token))

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))
