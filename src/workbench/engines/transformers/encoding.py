"""Encoding of requests into token ids under a rule: leading space, special tokens, truncation, and refusals.

For a decoder, the special tokens that its tokenizer puts before a prompt are kept (Llama's `<s>`; BLOOM's has none) and those
after it are dropped, since the text continues there. For an encoder, all are kept (mT5's `</s>` after the prompt).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from workbench.errors import BadInput
from workbench.models.identity import Identity
from workbench.models.requests import ScoringRule, ToScore

_TEXTS_AT_ONCE = 1000  # a tokenizer's output takes ten times the memory of its ids


@dataclass(frozen=True)
class Encoded:
    """Token ids (int32) of a prompt and its text, and whether the prompt was truncated."""

    prompt: np.ndarray
    text: np.ndarray
    truncated: bool


class Encoder:
    """A tokenizer with its checks; `end` is the end token and `rows` the number of embeddings."""

    def __init__(self, identity: Identity, tokenizer: Any, *, end: int, rows: int) -> None:
        self.identity, self.tokenizer, self.end, self.rows = identity, tokenizer, end, rows
        self.warned = False

    def ids(self, texts: Sequence[str], *, special_tokens: bool) -> list[np.ndarray]:
        """Return the token ids (int32) of each text; equal texts are encoded once and share their array.

        Raises:
            BadInput: a token id for which the model has no embedding.
        """
        unique = list(dict.fromkeys(texts))
        known: dict[str, np.ndarray] = {}
        for start in range(0, len(unique), _TEXTS_AT_ONCE):
            part = unique[start : start + _TEXTS_AT_ONCE]
            found = self.tokenizer(part, add_special_tokens=special_tokens, truncation=False, verbose=False)
            known |= {
                t: np.array(ids, dtype=np.int32) for t, ids in zip(part, found["input_ids"], strict=True)
            }
        self._expect_embedded(known)
        self._warn_of_unknown(known)
        if special_tokens and (after := self._after):
            known = {text: ids[:-after] for text, ids in known.items()}
        return [known[text] for text in texts]

    @cached_property
    def _after(self) -> int:
        """Number of special tokens that the tokenizer puts after a decoder's prompt."""
        if self.identity.is_encoder_decoder:
            return 0
        bare, dressed = (
            self.tokenizer(["a"], add_special_tokens=special, verbose=False)["input_ids"][0]
            for special in (False, True)
        )
        befores = (start for start in range(len(dressed)) if dressed[start : start + len(bare)] == bare)
        return len(dressed) - len(bare) - next(befores, len(dressed) - len(bare))

    def _expect_embedded(self, known: dict[str, np.ndarray]) -> None:
        for text, ids in known.items():
            if (largest := ids.max(initial=0)) >= self.rows:
                raise BadInput(
                    f"the token {self.tokenizer.convert_ids_to_tokens(int(largest))!r} in {short(text)!r} has the id {largest}, "
                    f"but {self.identity.name} has embeddings for {self.rows} tokens: remove it from the text, or give the "
                    'checkpoint the tokenizer it was trained with (mT5: "extra_ids": 0 in tokenizer_config.json)'
                )

    def _warn_of_unknown(self, known: dict[str, np.ndarray]) -> None:
        """Warn once about texts with characters unknown to the tokenizer, which it maps to one token."""
        unknown = getattr(self.tokenizer, "unk_token_id", None)
        if self.warned or unknown is None:
            return
        texts = [short(text) for text, ids in known.items() if unknown in ids]
        if texts:
            self.warned = True
            shown = ", ".join(map(repr, texts[:5])) + (" …" if len(texts) > 5 else "")
            warnings.warn(
                f"the tokenizer of {self.identity.name} has no token for some characters in {len(texts)} texts and maps them to "
                f"{self.tokenizer.unk_token}: {shown}; texts that differ only in such characters get equal answers",
                stacklevel=2,
            )

    def encode(self, requests: Sequence[ToScore], rule: ScoringRule) -> list[Encoded]:
        """Encode requests under a rule; a text is never left without tokens.

        Raises:
            BadInput: a text without tokens, one beyond the context, or a prompt beyond it under a rule that does not truncate.
        """
        pairs = self._joined(requests, rule) if rule.joined else self._apart(requests, rule)
        end = np.array([self.end], dtype=np.int32)
        reads_something = rule.empty_prompt_is_end or self.identity.is_encoder_decoder
        longest = None
        if rule.max_prompt_tokens is not None:  # the lower of the protocol's and the model's limit
            longest = min(rule.max_prompt_tokens, self.identity.context_length)
        found = []
        for request, (prompt, text) in zip(requests, pairs, strict=True):
            kept = prompt[:longest] if len(prompt) or not reads_something else end
            scored = np.concatenate([text, end]) if rule.score_end else text
            found.append(Encoded(kept, scored, len(kept) < len(prompt)))
            self._check(request, found[-1], rule)
        return found

    def _apart(self, requests: Sequence[ToScore], rule: ScoringRule) -> list[tuple[np.ndarray, np.ndarray]]:
        space = " " if rule.leading_space else ""
        prompts = self.ids([request.prompt for request in requests], special_tokens=rule.special_tokens)
        texts = self.ids([space + request.text for request in requests], special_tokens=False)
        return list(zip(prompts, texts, strict=True))

    def _joined(self, requests: Sequence[ToScore], rule: ScoringRule) -> list[tuple[np.ndarray, np.ndarray]]:
        """Encode prompt and text as lm-eval does: whitespace at the end of the prompt is moved to the text.

        For a decoder the two are tokenized as one string, which is split after as many tokens as the prompt alone has. If a
        token spans that position and the text would be left empty (lm-eval fails there), the split is after the last common
        token.
        """
        space = " " if rule.leading_space else ""
        bare = [request.prompt.rstrip() for request in requests]
        prompts = self.ids(bare, special_tokens=rule.special_tokens)
        tails = [r.prompt[len(b) :] + space + r.text for r, b in zip(requests, bare, strict=True)]
        if self.identity.is_encoder_decoder:
            return list(zip(prompts, self.ids(tails, special_tokens=False), strict=True))
        strings = [b + tail for b, tail in zip(bare, tails, strict=True)]
        found = []
        for prompt, whole in zip(prompts, self.ids(strings, special_tokens=rule.special_tokens), strict=True):
            cut = len(prompt)
            if len(whole) <= cut:
                same = np.cumprod(prompt[: len(whole)] == whole)
                cut = min(int(same.sum()), len(whole) - 1)
            found.append((prompt[:cut], whole[cut:]))
        return found

    def _check(self, request: ToScore, encoded: Encoded, rule: ScoringRule) -> None:
        prompt, text = len(encoded.prompt), len(encoded.text)
        if not text:
            raise BadInput(
                f"the text {short(request.text)!r} has no tokens to score (prompt {short(request.prompt)!r})"
            )
        room = self.identity.context_length
        if text > room:
            raise BadInput(
                f"the text {short(request.text)!r} has {text} tokens; {self.identity.name} takes {room}: shorten it"
            )
        longest = max(prompt, text) if self.identity.is_encoder_decoder else prompt + text
        if rule.max_prompt_tokens is None and longest > room:
            raise BadInput(
                f"prompt and text {short(request.prompt + ' … ' + request.text)!r} have {prompt} and {text} "
                f"tokens; {self.identity.name} takes {room}: shorten them"
            )


def short(text: str) -> str:
    """Return a text for a message; one of more than 60 characters is cut to 57 and an ellipsis."""
    return text if len(text) <= 60 else text[:57] + "…"


def expect_room(about: str, length: int, identity: Identity) -> None:
    """Check that something has tokens, and not more than the context. Raises BadInput, which begins with `about`."""
    if not 0 < length <= identity.context_length:
        raise BadInput(f"{about} {length} tokens; {identity.name} takes 1 to {identity.context_length}")
