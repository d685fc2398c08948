"""A tokenizer that puts a token before every prompt: generated, scored and ranked log-probabilities agree."""

import warnings

import pytest
import torch
from tokenizers import processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from workbench.errors import BadInput
from workbench.inference.generation import generate
from workbench.inference.ranking import rank
from workbench.inference.scoring import score
from workbench.inference.states import hidden_states
from workbench.models import load
from workbench.tasks import Item

PROMPT = "The cat sat on the mat. True or"


def make_llama(folder, tokenizer_from, template):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3, bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_from)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["<s> $A", "<s> $A </s>"])
def llama(request, checkpoints, store, tmp_path):
    """With an end token after the prompt too, as some Llamas' tokenizers add it."""
    return load(
        str(make_llama(tmp_path / "llama", checkpoints["bloom"], request.param)), device="cpu", store=store
    )


def log_probabilities(model, ids):
    with torch.inference_mode():
        return torch.log_softmax(model.engine.model(input_ids=torch.tensor([ids])).logits[0, -1].float(), -1)


def test_generate_score_and_rank_agree_with_the_model_after_its_first_token(llama):
    ids = llama.engine.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    expected = log_probabilities(llama, [1, *ids])
    token = expected.argmax().item()
    without = log_probabilities(llama, ids)[token]
    assert abs(expected[token] - without) > 0.01  # the twin: without <s> it is another number
    [answer] = generate(llama, [PROMPT], max_new_tokens=1)
    assert answer.text == llama.engine.tokenizer.decode([token])
    texts = [
        (each, llama.engine.tokenizer.decode([each])) for each in expected.argsort(descending=True).tolist()
    ]
    read = lambda text: llama.engine.tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    token, text = next((each, text) for each, text in texts if read(text) == [each])  # no half of a character
    [scored] = score(llama, [text], prompts=[PROMPT])
    assert scored.logprobs == (pytest.approx(expected[token].item(), abs=1e-4),)
    for protocol in ("per-token-bloom", "lm-eval-bloom", "pmi-bloom"):
        choices = ("yes", "no maybe")
        table = rank(llama, [Item("x", PROMPT, choices, 0)], protocol=protocol)
        spaced = score(llama, [f" {choice}" for choice in choices], prompts=[PROMPT] * 2)
        alone = score(llama, [f" {choice}" for choice in choices])
        for found, after, without in zip(table["scores"][0], spaced, alone, strict=True):
            total = sum(after.logprobs)
            total = {"per": total / len(after.tokens), "pmi": total - sum(without.logprobs)}.get(
                protocol[:3], total
            )
            assert found == pytest.approx(total, abs=1e-4)


def test_the_published_protocol_reads_no_special_token(llama):
    ids = llama.engine.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    table = rank(llama, [Item("x", PROMPT, ("a", "b"), 0)], protocol="xmtf-bloom")
    choice = llama.engine.tokenizer(" a", add_special_tokens=False)["input_ids"]
    total = sum(log_probabilities(llama, [*ids, *choice[:n]])[token].item() for n, token in enumerate(choice))
    assert table["scores"][0][0] == pytest.approx(total, abs=1e-4)


def test_the_first_token_of_a_text_alone_has_a_score_where_something_comes_before_it(llama, model):
    [found] = score(llama, [PROMPT])
    assert None not in found.logprobs
    assert (None in score(model, [PROMPT])[0].logprobs) is not model.is_encoder_decoder


def test_characters_that_the_tokenizer_does_not_have_are_named_once(checkpoints, store, tmp_path):
    """😀 and 😡 had equal scores, and nobody was told why."""
    folder = make_llama(tmp_path / "llama", checkpoints["bloom"], "<s> $A")
    path = folder / "tokenizer.json"
    text = path.read_text().replace(
        '"ByteLevel"', '"Whitespace"', 1
    )  # pre-tokenizer: no bytes, so unknown ones
    path.write_text(text.replace('"unk_token": null', '"unk_token": "<unk>"'))
    model = load(str(folder), device="cpu", store=store)
    with pytest.warns(UserWarning, match="no token for some characters in 2 texts.*😀.*😡"):
        score(model, ["a 😀", "a 😡"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(model, ["b 😀"])


def test_byte_level_tokenizers_have_no_unknown_characters(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(model, ["a 😀", "a 😡"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, text: generate(model, [text], max_new_tokens=1),
        lambda model, text: score(model, [text]),
        lambda model, text: score(model, ["chat"], prompts=[text]),
        lambda model, text: rank(model, [Item("1", "Le", ("chat", text))]),
        lambda model, text: hidden_states(model, [text]),
    ],
    ids=["generate", "score", "prompt", "choice", "states"],
)
def test_a_token_without_an_embedding_is_named_with_what_to_do(model, ask):
    """mT5's tokenizer without `extra_ids: 0` has sentinels that the model has not; they were an IndexError."""
    tokenizer = model.engine.tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<extra_id_{n}>" for n in range(200)]})
    first, last = tokenizer.convert_tokens_to_ids(["<extra_id_0>", "<extra_id_199>"])
    assert first < 400 <= last
    ask(model, "<extra_id_0> chat")  # the twin
    with pytest.raises(
        BadInput, match=f"token '<extra_id_199>' in .* has the id {last}, .* for 400 tokens: remove it"
    ):
        ask(model, "<extra_id_0> <extra_id_199> chat")
