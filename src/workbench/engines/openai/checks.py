"""What a server has to prove when it is connected, before any of its answers is stored.

It lists the model; its tokenizer makes as many tokens of known texts as ours; it echoes a prompt of known token ids with a
log-probability for each but the first; and these belong to the tokens that they are given for: a generated token, appended to
its prompt, is echoed with the log-probability that it was generated with. Without this check, servers that ignore `echo` or
are off by one would give plausible numbers.
"""

from collections.abc import Sequence
from typing import Any

from workbench.engines.openai.connection import Connection
from workbench.engines.openai.replies import Choice
from workbench.engines.openai.server import Ids, Server
from workbench.errors import BadInput, UnknownName
from workbench.family import ServedName
from workbench.models.hub import is_hub_id
from workbench.models.identity import Identity
from workbench.models.requests import Decoding

OURS = "workbench"  # `owned_by` of `workbench serve`, which also opens models that it does not list
TEXTS = (
    "Translate to English: Je t'aime.", "猫坐在垫子上。你好吗？", "Paka ameketi juu ya mkeka.", "لا أعرف 12,5 %", "नमस्ते  दुनिया!\n",
)  # fmt: skip
_FAR = 0.75  # nats; rounding in bfloat16 moved no score by more than .6, and a neighbour's number is off by several


def model_called(connection: Connection, name: ServedName, identity: Identity, dtype: str) -> Server:
    """Return the model on a server: that of the given name, or else the one that is called as the checkpoint.

    Raises:
        UnknownName: the server lists none of these names.
        BadInput: the server says that it is another checkpoint.
    """
    given = connection.get("models").get("data")
    listed: dict[str, dict[str, Any]] = {
        str(one.get("id")): one for one in (given if isinstance(given, list) else []) if isinstance(one, dict)
    }
    owner = next((str(one.get("owned_by"))[:40] for one in listed.values()), "")
    hub_id = identity.hub_id
    wanted = [name.called] if name.called else list(dict.fromkeys(filter(None, [name.checkpoint, hub_id])))
    if owner == OURS:  # it opens what is asked for, listed or not
        revision = f"@{identity.commit}" if identity.commit else ""
        found = name.called or name.checkpoint + revision + ("" if dtype == "float32" else f":{dtype}")
    elif (found := next((one for one in wanted if one in listed), "")) == "":
        raise UnknownName(
            f"the server at {connection.address} has no model called {' or '.join(wanted)}; it has: {', '.join(listed) or 'none'}. "
            f"If one of them is {name.checkpoint}, load {connection.address}#NAME={name.checkpoint}"
        )
    root = str(listed.get(found, {}).get("root") or "")
    if hub_id and is_hub_id(root) and root != hub_id:
        raise BadInput(
            f"the server at {connection.address} says that its model {found!r} is {root}, not {hub_id}"
        )
    version = connection.version() if owner == "vllm" else ""
    return Server(connection, found, identity.is_encoder_decoder, f"{owner} {version}".strip())


def expect_same_tokenizer(server: Server, identity: Identity, tokenizer: Any) -> None:
    """Check that a server's tokenizer makes as many tokens of known texts as the declared checkpoint's.

    Raises:
        BadInput: it does not, or does not say how many.
    """
    ours = sum(len(ids) for ids in tokenizer(list(TEXTS), verbose=False)["input_ids"])
    theirs = server.count_tokens(TEXTS)
    if theirs != ours:
        said = "does not say how many tokens it makes" if theirs is None else f"makes {theirs} tokens"
        raise BadInput(
            f"the server at {server.connection.address} {said} of {len(TEXTS)} texts, of which the tokenizer of {identity.name} makes "
            f"{ours}; declare the checkpoint that it serves"
        )


def expect_echo(server: Server, prompt: Ids, text: Ids) -> None:
    """Check that a server returns a log-probability for every token of a prompt but the first.

    Raises:
        BadInput: it does not.
    """
    try:
        server.score([(prompt, text)])
        if not server.is_encoder_decoder:
            server.score([((), (*prompt, *text))])
    except BadInput as error:
        raise BadInput(
            f"scores need a server that returns the log-probabilities of a prompt (`echo` with `logprobs`, as vLLM and `workbench serve` "
            f"do), and that at {server.connection.address} does not: {error}"
        ) from error


def expect_not_shifted(server: Server, prompts: Sequence[Ids], tokenizer: Any) -> None:
    """Check on some prompts that an echoed token has the log-probability with which it was generated.

    Raises:
        BadInput: it has another, as with a server that is off by one, or no generated token could be compared.
    """
    generated = server.generate(prompts, Decoding(max_new_tokens=1))
    asked = [
        (choice, prompt, token)
        for choice, prompt in zip(generated, prompts, strict=True)
        for token in _ids_of(choice, tokenizer)
    ]
    if not asked:
        raise BadInput(
            f"the server at {server.connection.address} generated no token that the declared tokenizer has; declare the checkpoint that "
            "it serves"
        )
    found = server.score([(prompt, (token,)) for _, prompt, token in asked])
    echoes = [(choice, echo) for (choice, _, _), (echo,) in zip(asked, found, strict=True)]
    for choice in generated:
        own = _own(choice)
        apart = [echo - own for each, echo in echoes if each is choice]
        if apart and (least := min(apart, key=abs)) and abs(least) > _FAR:
            raise BadInput(
                f"the server at {server.connection.address} generated {choice.tokens[0]!r} with a log-probability of {own:.2f} nats, "
                f"and echoes it with {own + least:.2f}: its log-probabilities belong to other tokens (llama-cpp-python's server, for example, is "
                "off by one); use vLLM or `workbench serve`"
            )


def _own(choice: Choice) -> float:
    """Return the log-probability with which the token was generated.

    Raises:
        BadInput: there is none.
    """
    found = choice.logprobs[0] if len(choice.logprobs) == len(choice.tokens) == 1 else None
    if found is None:
        raise BadInput(
            f"the server returned {len(choice.logprobs)} log-probabilities and {len(choice.tokens)} tokens for one generated token"
        )
    return found


def _ids_of(choice: Choice, tokenizer: Any) -> list[int]:
    """Return the ids that a generated token may have: servers write the vocabulary's entry, or the token's text."""
    _own(choice)
    found = [tokenizer.convert_tokens_to_ids(choice.tokens[0])]
    for written in dict.fromkeys([choice.tokens[0], choice.text]):
        ids = tokenizer(written, add_special_tokens=False, verbose=False)["input_ids"]
        found += ids if len(ids) == 1 else []
    return list(dict.fromkeys(one for one in found if isinstance(one, int) and one != tokenizer.unk_token_id))
