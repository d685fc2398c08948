"""One model of a server: prompts as token ids become log-probabilities or completions.

An encoder–decoder is served by `workbench serve` alone; its field `input_tokens` says how many tokens of a prompt the encoder
reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.engines.openai.connection import Connection
from workbench.engines.openai.replies import Choice, choices_in, echoed, likeliest
from workbench.models.requests import Decoding

Ids = Sequence[int]


@dataclass(frozen=True)
class Server:
    """A model on a server.

    `called`: its name there. `software`: what serves it, such as "vllm 0.32.0", as far as the server says so.
    """

    connection: Connection
    called: str
    is_encoder_decoder: bool
    software: str = ""

    def score(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[tuple[float, ...]]:
        """Return the log-probabilities in nats of the tokens of each text after its prompt.

        With an empty prompt, a decoder's first token has none, since nothing precedes it.

        Raises:
            BadInput, NotReachable: as `Connection.post`, `choices_in` and `echoed`.
        """
        return [logprobs for logprobs, _ in self._echoed(pairs, {"logprobs": 0})]

    def rows(self, pairs: Sequence[tuple[Ids, Ids]], top: int) -> list[list[list[float]]]:
        """Return for each of these tokens a row: its log-probability, those of the `top` likeliest tokens in its place, and their ids.

        Raises:
            BadInput, NotReachable: as `score` and `likeliest`.
        """
        found = self._echoed(pairs, {"logprobs": top, "return_tokens_as_token_ids": True})
        return [
            [[own, *row] for own, row in zip(logprobs, likeliest(choice, len(logprobs), top), strict=True)]
            for logprobs, choice in found
        ]

    def _echoed(
        self, pairs: Sequence[tuple[Ids, Ids]], about: dict[str, Any]
    ) -> list[tuple[tuple[float, ...], Choice]]:
        prompts = [[*prompt, *text] for prompt, text in pairs]
        asked: dict[str, Any] = {"max_tokens": 0, "temperature": 0, "echo": True, **about}
        if self.is_encoder_decoder:
            asked["input_tokens"] = [len(prompt) for prompt, _ in pairs]
        is_decoder = not self.is_encoder_decoder
        return [
            (echoed(choice, ids, len(text) - (not prompt), first_is_given=is_decoder), choice)
            for choice, ids, (prompt, text) in zip(
                self._complete(prompts, asked), prompts, pairs, strict=True
            )
        ]

    def generate(self, prompts: Sequence[Ids], decoding: Decoding, seed: int | None = None) -> list[Choice]:
        """Return a completion of each prompt, greedy or, if the settings say so, sampled with a seed."""
        asked: dict[str, Any] = {"max_tokens": decoding.max_new_tokens, "temperature": 0, "logprobs": 0}
        if decoding.do_sample:
            asked |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "seed": seed}
        if self.is_encoder_decoder:
            asked["input_tokens"] = [len(prompt) for prompt in prompts]
        return self._complete([[*prompt] for prompt in prompts], asked)

    def count_tokens(self, texts: Sequence[str]) -> int | None:
        """Return how many tokens the server makes of some texts, special tokens included; None if it does not say."""
        reply = self.connection.post(
            "completions", {"model": self.called, "prompt": list(texts), "max_tokens": 1, "temperature": 0}
        )
        usage = reply.get("usage")
        count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return count if isinstance(count, int) else None

    def _complete(self, prompts: list[list[int]], asked: dict[str, Any]) -> list[Choice]:
        reply = self.connection.post("completions", {"model": self.called, "prompt": prompts, **asked})
        return choices_in(reply, len(prompts))
