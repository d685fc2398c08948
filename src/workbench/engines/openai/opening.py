"""Opening of a model on a server: its tokenizer is read here, and the server is checked before it is asked for any answer."""

from dataclasses import replace
from typing import Any

from transformers import AutoConfig

from workbench.engines.openai.checks import (
    TEXTS,
    expect_echo,
    expect_not_shifted,
    expect_same_tokenizer,
    model_called,
)
from workbench.engines.openai.connection import Connection, Patience
from workbench.engines.openai.engine import RemoteEngine
from workbench.engines.transformers.encoding import Encoder
from workbench.engines.transformers.loading import read_tokenizer
from workbench.family import ServedName
from workbench.models.identity import Identity

_AT_FIRST = Patience(tries=4)
_LATER = Patience()


def opened(identity: Identity, name: ServedName, dtype: str) -> RemoteEngine:
    """Return the engine of a model on a server, which passed all checks.

    Args:
        identity: with the folder of its tokenizer.

    Raises:
        BadInput, UnknownName: the server does not list the model, or does not give what scores need.
        NotReachable: it cannot be reached.
    """
    tokenizer = read_tokenizer(identity)
    server = model_called(Connection(name.address, _AT_FIRST), name, identity, dtype)
    encoder = _encoder(identity, tokenizer)
    expect_same_tokenizer(server, identity, tokenizer)
    prompts = [ids.tolist() for ids in encoder.ids(TEXTS, special_tokens=True)]
    (text,) = encoder.ids(TEXTS[2:3], special_tokens=False)
    expect_echo(server, prompts[0], text.tolist())
    expect_not_shifted(server, prompts, tokenizer)
    return RemoteEngine(identity, replace(server, connection=Connection(name.address, _LATER)), encoder)


def _encoder(identity: Identity, tokenizer: Any) -> Encoder:
    config = AutoConfig.from_pretrained(str(identity.folder), local_files_only=True, trust_remote_code=False)
    ends = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
    end = min(ends) if isinstance(ends, list) else ends
    return Encoder(identity, tokenizer, end=end or 0, rows=config.vocab_size)
