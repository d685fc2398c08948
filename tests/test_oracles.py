"""Lens and patches equal those of nnsight and TransformerLens, which hook into transformers by their own code.

Skipped where they are not installed: `make test` installs nnsight, `make oracle-tests` both.
"""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from workbench import Intervention, score, token_states
from workbench.engines.transformers import anatomy
from workbench.inference.lens import lens

PROMPT, SOURCE, TEXT = "The cat sat on the mat.", "El gato duerme.", " no, maybe"
WORDS = ["cat", "chat", "猫"]


@pytest.fixture
def twin(model):
    """The model as transformers reads it, its tokenizer, and its forward pass on the prompt and the text, as keywords."""
    reader = AutoModelForSeq2SeqLM if model.is_encoder_decoder else AutoModelForCausalLM
    hf, tokenizer = reader.from_pretrained(model.name).eval(), AutoTokenizer.from_pretrained(model.name)
    prompt = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    text = tokenizer(TEXT, return_tensors="pt", add_special_tokens=False)["input_ids"]
    if model.is_encoder_decoder:
        start = torch.full((1, 1), hf.config.decoder_start_token_id)
        return hf, tokenizer, {"input_ids": prompt, "decoder_input_ids": torch.cat([start, text], 1)}
    return hf, tokenizer, {"input_ids": torch.cat([prompt, text], 1)}


def patched(model):
    """A state of another prompt in the place of the prompt's last one, after the first block of the stack that reads it."""
    stack = "encoder" if model.is_encoder_decoder else "decoder"
    state = token_states(model, [SOURCE]).arrays[0][1, -1]
    made = Intervention("patch", (1,), state[None], stack=stack, positions="last")
    (found,) = score(model.intervened(made), [TEXT], prompts=[PROMPT], progress=False)
    (plain,) = score(model, [TEXT], prompts=[PROMPT], progress=False)
    assert np.abs(np.subtract(found.logprobs, plain.logprobs)).max() > 0.01
    place = model.hf.tokenizer(PROMPT, return_tensors="pt")["input_ids"].shape[1] - 1
    return torch.from_numpy(state), place, np.array(found.logprobs)


def logprobs(logits, tokenizer):
    """Log-probabilities of the text's tokens, from the logits (1, T, V) of a pass that ends with it."""
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    found = logits.detach()[0, -1 - len(ids) : -1].log_softmax(-1)
    return found[torch.arange(len(ids)), ids].numpy()


def expect_equal_lens(model, hf, states, answer=""):
    """Compare our lens with the final norm and the head on states (L+1, D) that somebody else has read."""
    (found,) = lens(model, [PROMPT], [WORDS], answers=[answer], progress=False)
    ids = AutoTokenizer.from_pretrained(model.name).convert_tokens_to_ids(list(found.tokens))
    with torch.no_grad():
        normed = anatomy.final_norm(hf, "decoder")(torch.stack(states))
        expected = hf.get_output_embeddings()(normed).log_softmax(-1)[:, ids]
    np.testing.assert_allclose(found.logprobs, expected.numpy(), atol=1e-4)
    assert np.abs(np.diff(found.logprobs, axis=0)).max() > 0.1


def first(output):
    return output[0] if isinstance(output, tuple) else output


def test_nnsight_reads_the_same_lens(model, twin):
    nnsight = pytest.importorskip("nnsight")
    hf, _, inputs = twin
    traced, blocks = nnsight.NNsight(hf), anatomy.blocks(hf, "decoder")
    path = "decoder.block" if model.is_encoder_decoder else "transformer.h"
    one, two = (traced.get(f"{path}.{number}") for number in range(len(blocks)))
    with traced.trace(**inputs):
        embedded = one.input.save()
        after_one = one.output.save()
        after_two = two.output.save()
    states = [embedded, first(after_one), first(after_two)]
    expect_equal_lens(model, hf, [each.detach()[0, -1] for each in states], TEXT)


def test_nnsight_patches_to_the_same_answer(model, twin):
    nnsight = pytest.importorskip("nnsight")
    state, place, ours = patched(model)
    hf, tokenizer, inputs = twin
    traced = nnsight.NNsight(hf)
    block = traced.get("encoder.block.0" if model.is_encoder_decoder else "transformer.h.0")
    with traced.trace(**inputs):
        block.output[0][:, place] = state
        logits = traced.lm_head.output.save()
    np.testing.assert_allclose(ours, logprobs(logits, tokenizer), atol=1e-4)


def bridged(hf, tokenizer):
    bridges = pytest.importorskip("transformer_lens.model_bridge")
    return bridges.TransformerBridge.boot_transformers(
        hf.name_or_path, hf_model=hf, tokenizer=tokenizer, device="cpu"
    )


def test_transformer_lens_patches_to_the_same_answer(model, twin):
    state, place, ours = patched(model)
    hf, tokenizer, inputs = twin

    def put(states, hook):
        states = states.clone()
        states[:, place] = state
        return states

    bridge = bridged(hf, tokenizer)
    name = "encoder_blocks.0.hook_out" if model.is_encoder_decoder else "blocks.0.hook_out"
    rest = {"decoder_input": inputs["decoder_input_ids"]} if model.is_encoder_decoder else {}
    with torch.no_grad():
        logits = bridge.run_with_hooks(inputs["input_ids"], fwd_hooks=[(name, put)], **rest)
    np.testing.assert_allclose(ours, logprobs(logits, tokenizer), atol=1e-4)


def test_transformer_lens_reads_the_same_lens(model, twin):
    """Its logit lens refuses encoder-decoders, but its cache has the states of their decoders."""
    hf, tokenizer, inputs = twin
    bridge = bridged(hf, tokenizer)
    rest = {"decoder_input": inputs["decoder_input_ids"]} if model.is_encoder_decoder else {}
    with torch.no_grad():
        _, cache = bridge.run_with_cache(inputs["input_ids"], **rest)
    path = "decoder_blocks" if model.is_encoder_decoder else "blocks"
    names = [f"{path}.0.hook_in", f"{path}.0.hook_out", f"{path}.1.hook_out"]
    plain = type(hf).from_pretrained(model.name).eval()
    expect_equal_lens(model, plain, [cache[name][0, -1] for name in names], TEXT)
