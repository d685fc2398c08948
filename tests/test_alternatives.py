"""What else could have come at each step: equal to the logits by hand, whole characters, stored; generation watched and stopped."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workbench import Intervention, alternatives, generate, load
from workbench.engines.client.frames import answers_in, frames_in, pack_answers
from workbench.engines.transformers.alternatives import _Pieces
from workbench.errors import BadInput
from workbench.models.requests import ToScore
from workbench.store import Store, validation

PROMPT = "The cat sat on the mat."
ANSWER = " 猫坐 é chat 🙂."
SETTINGS = [{}, {"num_beams": 3}, {"do_sample": True, "seed": 1}]


def by_hand(model, prompt, answer):
    """Log-probabilities (T, V) at the places of the answer's tokens and of the end token, and their ids."""
    tokenizer, hf = model.hf.tokenizer, model.hf.model
    ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    read = tokenizer(prompt)["input_ids"]
    with torch.no_grad():
        if model.is_encoder_decoder:
            logits = hf(
                input_ids=torch.tensor([read]), decoder_input_ids=torch.tensor([[0, *ids[:-1]]])
            ).logits[0]
        else:
            logits = hf(input_ids=torch.tensor([read + ids])).logits[0, len(read) - 1 : -1]
    return logits.log_softmax(-1).numpy(), ids


def test_steps_equal_the_logits_by_hand(model):
    expected, ids = by_hand(model, PROMPT, ANSWER)
    found = alternatives(model, PROMPT, ANSWER, 4)
    assert len(found.steps) == len(ids)
    own = expected[np.arange(len(ids)), ids]
    np.testing.assert_allclose([step.logprob for step in found.steps], own, atol=1e-4)
    best = -np.sort(-expected, axis=1)[:, :4]
    np.testing.assert_allclose([[value for _, value in step.top] for step in found.steps], best, atol=1e-4)
    assert found.logprob == pytest.approx(own.sum(), abs=1e-3)


def test_the_texts_of_the_steps_make_the_answer_and_groups_make_characters(model):
    found = alternatives(model, PROMPT, ANSWER)
    assert "".join(step.text for step in found.steps[:-1]) == ANSWER
    assert found.steps[-1].text == "</s>"
    groups = found.characters
    assert [step for group in groups for step in group] == list(found.steps)
    assert max(map(len, groups)) > 1  # bytes of a character
    assert all(group[-1].text and not any(step.text for step in group[:-1]) for group in groups)
    assert not any("\ufffd" in text for step in found.steps for text, _ in step.top)


def test_a_greedy_answer_takes_the_first_alternative_at_every_step(model):
    (answer,) = generate(model, [PROMPT], max_new_tokens=4, progress=False)
    steps = alternatives(model, PROMPT, answer.text).steps
    retokenized = (
        len(steps) - 1 != answer.token_count
    )  # random weights write texts that are tokenized otherwise
    assert retokenized or {step.rank for step in steps[: answer.token_count]} == {1}
    other = alternatives(model, PROMPT, "Paka ameketi").steps  # the twin
    assert {step.rank for step in other} - {1}


def test_what_comes_first_and_a_text_without_a_prompt(model):
    (only,) = alternatives(model, PROMPT, "").steps
    first = alternatives(model, PROMPT, " chat").steps[0]
    np.testing.assert_allclose([v for _, v in only.top], [v for _, v in first.top], atol=1e-4)
    alone = alternatives(model, "", PROMPT).steps
    assert (alone[0].logprob is None) == (not model.is_encoder_decoder) == (not alone[0].top)


def test_steps_are_stored_by_text_and_k_and_need_no_weights_again(model, monkeypatch):
    fresh = [alternatives(model, PROMPT, ANSWER, k) for k in (2, 3)]
    assert [len(each.steps[0].top) for each in fresh] == [2, 3]
    again = load(model.name, device="cpu", store=model.store)
    monkeypatch.setattr(type(model), "fresh_engine", lambda _: pytest.fail("read the weights again"))
    assert [alternatives(again, PROMPT, ANSWER, k) for k in (2, 3)] == fresh


def test_an_intervention_changes_the_steps(model):
    vector = 3 * np.random.default_rng(0).standard_normal(32).astype(np.float32)
    changed = model.intervened(Intervention("add", (1,), vector, stack="decoder"))
    found, plain = alternatives(changed, PROMPT, ANSWER), alternatives(model, PROMPT, ANSWER)
    assert abs(found.logprob - plain.logprob) > 0.1


def test_what_cannot_be_asked_is_refused(model):
    for prompt, answer, k, said in (("a", 3, 5, "answer is 3"), ("a", "b", 0, "k=0"), ("a", "cat " * 4000, 5, "tokens")):  # fmt: skip
        with pytest.raises(BadInput, match=said):
            alternatives(model, prompt, answer, k)


def test_tokens_that_lose_their_space_when_decoded_alone_keep_it():
    """SentencePiece's, as mT5 has them."""
    names = ["</s>", "▁", "▁le", "▁chat", "s", "<unk>"]
    tokenizer = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, "<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    pieces = _Pieces(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"))
    assert [pieces.added(ids[:-1], ids[-1]) for ids in ([2], [2, 3], [2, 3, 4], [2, 3, 4, 0])] == ["le", " chat", "s", "</s>"]  # fmt: skip
    assert pieces.shown([], 1) == "▁"  # it would add nothing


WHOLE = {"texts": ["a", "b"], "logprobs": [None, -1.0], "top": [[], [["b", -1.0]]]}


@pytest.mark.parametrize(
    "wrong",
    [{"texts": []}, {"texts": ["a"]}, {"logprobs": [None, 0.5]}, {"logprobs": [None, None]}, {"top": [[], []]}, {"top": [[], [[1, -1.0]]]}],
)  # fmt: skip
def test_stored_steps_that_no_model_can_give_are_found(wrong):
    assert validation.alternatives(WHOLE) == WHOLE
    with pytest.raises(ValueError, match=r"it |a |the "):
        validation.alternatives({**WHOLE, **wrong})


class _Enough(Exception):
    pass


def after(tokens):
    """A watcher that stops a generation after so many tokens, and what it saw."""
    seen = []

    def watch(_, text):
        seen.append(text)
        if len(seen) >= tokens:
            raise _Enough

    return watch, seen


@pytest.mark.parametrize("settings", SETTINGS, ids=["greedy", "beams", "sampling"])
def test_a_generation_is_watched_token_by_token_and_the_same_as_unwatched(model, settings, tmp_path):
    seen = []
    watched = generate(
        model,
        [PROMPT],
        max_new_tokens=6,
        min_new_tokens=6,
        watch=lambda _, text: seen.append(text),
        **settings,
    )
    other = load(model.name, device="cpu", store=Store(tmp_path / "other.sqlite"))
    assert watched == generate(other, [PROMPT], max_new_tokens=6, min_new_tokens=6, **settings)
    assert len(seen) >= 6
    if "num_beams" not in settings:
        assert seen[-1] == watched[0].text
        assert all(now.rstrip("\ufffd").startswith(before.rstrip("\ufffd")) for before, now in pairwise(seen))


@pytest.mark.parametrize("settings", SETTINGS, ids=["greedy", "beams", "sampling"])
def test_what_a_watcher_raises_stops_the_generation_and_nothing_is_stored(model, settings):
    watch, seen = after(2)
    with pytest.raises(_Enough):
        generate(model, [PROMPT], max_new_tokens=90, min_new_tokens=90, watch=watch, **settings)
    assert len(seen) == 2
    assert model.store.info()["answers"] == 0
    assert generate(model, [PROMPT], max_new_tokens=3)  # and the engine is free again


def test_the_service_gives_the_same_steps_and_stops_in_the_middle(model, service, tmp_path, monkeypatch):
    here = alternatives(model, PROMPT, ANSWER)
    monkeypatch.setenv("WORKBENCH_SERVICE", service)
    there = load(model.name, device="cpu", store=Store(tmp_path / "served.sqlite"))
    assert alternatives(there, PROMPT, ANSWER) == here
    assert there.where.startswith("the service at")
    watch, seen = after(2)
    with pytest.raises(_Enough):
        generate(there, [PROMPT], max_new_tokens=100, min_new_tokens=100, watch=watch)
    assert len(seen) == 2
    assert generate(there, [PROMPT], max_new_tokens=5) == generate(model, [PROMPT], max_new_tokens=5)
    assert there.store.info()["answers"] == 2  # nothing of what was stopped


def test_steps_travel_unchanged(model):
    ((positions, answers),) = model.engine.read_alternatives([ToScore(PROMPT, ANSWER)], 2)
    ((_, about, raw),) = frames_in(iter([pack_answers("alternatives", positions, answers)]))
    assert answers_in("alternatives", about, raw) == (positions, answers)


def test_threads_that_ask_at_once_get_what_one_after_the_other_gets(checkpoints, tmp_path):
    """JupyterLab calls widgets from threads: the same handle, handles of one store, and both architectures."""
    prompts = [f"The cat sat on {number} mats." for number in range(6)]

    def ask(handle, prompt):
        (answer,) = generate(handle, [prompt], max_new_tokens=6, progress=False)
        return answer.text, alternatives(handle, prompt, answer.text).steps

    def handles(name):
        return [load(str(path), device="cpu", store=Store(tmp_path / name)) for path in checkpoints.values()]

    asked = list(product(handles("at_once.sqlite"), prompts))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda each: ask(*each), asked))
    apart = [ask(handle, prompt) for handle, prompt in product(handles("apart.sqlite"), prompts)]
    for (text, steps), (other, others) in zip(together, apart, strict=True):
        assert text == other
        np.testing.assert_allclose([s.logprob for s in steps], [s.logprob for s in others], atol=1e-4)
