"""The stop-mark test counts a model that closes a prompt itself and then answers as having answered."""

import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from miniatures.world import read_world, sentence
from workbench.errors import BadInput
from workbench.models.requests import TokenScores
from workbench.studies import closing_mark, first_token
from workbench.studies.border_effects import border_effects
from workbench.tasks import Item, read_rows, read_sentences


def item(prompt, target="Anna", **more):
    return Item(
        id=prompt, prompt=prompt, choices=("Anna", "Ben"), gold=0, target=target, cluster=prompt, **more
    )


def outcomes(closed, opened, model="m"):
    """Outcomes of the same meanings in two versions, as `closing_mark.outcomes` has them."""
    return pd.DataFrame(
        [
            {"model": model, "version": version, "cluster": number, "answered": value}
            for version, values in (("open", opened), ("mark", closed))
            for number, value in enumerate(values)
        ]
    )


@pytest.mark.parametrize(
    ("prompt", "bare"),
    [("Who?", "Who"), ("Ben 走了。", "Ben 走了"), ("no mark", "no mark"), ("a.b .", "a.b"), ("वह ।", "वह")],
)
def test_marks_of_several_scripts_are_taken_away(prompt, bare):
    assert closing_mark.strip_mark(prompt) == bare


def test_versions_differ_only_in_how_the_text_ends():
    given = [item("Translate to English: Anna court.", target="Anna runs.")]
    found = closing_mark.border_versions(given, ["Anna court."], ["English"])
    assert {name: items[0].prompt for name, items in found.items()} == {
        "open": "Translate to English: Anna court",
        "word": "Translate to English: Anna court now",
        "mark": "Translate to English: Anna court.",
        "cue": "Translate to English: Anna court Translation:",
        "quotes": 'Translate to English: "Anna court"',
        "question": 'What is "Anna court." in English?',
        "unnamed": "Translate: Anna court.",
    }
    assert {replace(items[0], prompt="") for items in found.values()} == {replace(given[0], prompt="")}
    assert list(found) == list(closing_mark.VERSIONS)
    assert not {"question", "unnamed"} & set(closing_mark.border_versions(given, ["Anna court."]))


@pytest.mark.parametrize(("prompt", "text"), [("...", "..."), ("Anna court. In English?", "Anna court.")])
def test_a_prompt_that_does_not_end_with_its_text_is_refused(prompt, text):
    with pytest.raises(BadInput, match="its end is to be the text"):
        closing_mark.border_versions([item(prompt)], [text])


PATHS = {  # what two models write after an open prompt, and how likely each token is after what stands before it
    "closes and answers": {
        ". Ben": (0.98, 0.97), " Ben": (0.005,), " in the garden": (0.012, 0.9, 0.9), ". in the garden": (0.98, 1e-5, 0.1, 0.1)
    },
    "goes on": {
        ". Ben": (0.03, 0.97), " Ben": (0.015,), " in the garden": (0.95, 0.9, 0.9), ". in the garden": (0.03, 1e-5, 0.1, 0.1)
    },
}  # fmt: skip
ANSWERS = {"closes and answers": 0.98 * 0.97 + 0.005, "goes on": 0.03 * 0.97 + 0.015}
CONTINUES = {"closes and answers": 0.012 * 0.81, "goes on": 0.95 * 0.81}


def toy(paths):
    """What `score` says of a model of known path probabilities; what is no path of it all but never comes."""

    def score(_, texts, *, prompts, progress):
        assert len(texts) == len(prompts)
        chances = [paths.get(text, (1e-30,)) for text in texts]
        tokens = [
            tuple(f"{text}{n}" for n in range(len(one))) for text, one in zip(texts, chances, strict=True)
        ]
        return [TokenScores(each, tuple(np.log(one))) for each, one in zip(tokens, chances, strict=True)]

    return score


@pytest.mark.parametrize("name", PATHS)
def test_the_preference_is_that_of_a_model_whose_path_probabilities_are_known(name, monkeypatch):
    monkeypatch.setattr(closing_mark, "score", toy(PATHS[name]))
    (found,) = closing_mark.answer_preference(None, [item("Anna", target="Ben")], ["in the garden"], ["."])
    assert found == pytest.approx(np.log(ANSWERS[name] / CONTINUES[name]), abs=1e-3)
    assert (found > 0) == (name == "closes and answers")


def test_scoring_only_what_follows_at_once_takes_a_model_that_closes_and_answers_for_one_that_goes_on():
    """The twin: the answer alone against the continuation alone, per token or summed, misses where the answer went."""
    paths = PATHS["closes and answers"]
    answer, other = np.log(paths[" Ben"]), np.log(paths[" in the garden"])
    assert answer.mean() - other.mean() < 0
    assert answer.sum() - other.sum() < 0


def slow_sum(engine, prompt, text):
    ids, target = (engine.tokenizer(one, add_special_tokens=False)["input_ids"] for one in (prompt, text))
    with torch.inference_mode():
        if engine.is_encoder_decoder:
            start = torch.tensor([[0, *target[:-1]]])
            ids = engine.tokenizer(prompt)["input_ids"]
            logits = engine.model(input_ids=torch.tensor([ids]), decoder_input_ids=start).logits[0]
        else:
            logits = engine.model(input_ids=torch.tensor([ids + target])).logits[0, -len(target) - 1 : -1]
    return torch.log_softmax(logits.float(), -1)[range(len(target)), target].sum().item()


def test_marginal_scores_add_up_all_ways_to_a_text_on_either_architecture(model):
    found = closing_mark.marginal_scores(model, ["Le chat", "猫"], ["Ben", "a cat"], [".", "。"])
    for total, prompt, text, mark in zip(
        found, ["Le chat", "猫"], ["Ben", "a cat"], [".", "。"], strict=True
    ):
        ways = [slow_sum(model.engine, prompt, start + text) for start in ("", " ", mark, f"{mark} ")]
        assert total == pytest.approx(np.logaddexp.reduce(ways), abs=1e-3)
        assert total > max(ways)


def test_ways_that_come_out_as_the_same_tokens_count_once(monkeypatch):
    monkeypatch.setattr(
        closing_mark, "score", lambda _, texts, **__: [TokenScores((one.strip(),), (-1.0,)) for one in texts]
    )
    (found,) = closing_mark.marginal_scores(None, ["Anna"], ["Ben"], ["."])
    assert found == pytest.approx(-1 + np.log(3))  # "Ben", ".Ben" and ". Ben"


def test_a_prompt_without_a_mark_of_its_own_is_closed_by_a_full_stop():
    assert [closing_mark.closing_mark(one) for one in ("Who?", "Ben 走了。 ", "no mark")] == ["?", "。", "."]


@pytest.mark.parametrize(
    ("continuation", "marks", "said"),
    [("Ben", ["."], "two texts"), ("", ["."], "two texts"), ("in the garden", [".", "."], "2 marks")],
)
def test_texts_that_cannot_be_compared_are_refused(continuation, marks, said):
    with pytest.raises(BadInput, match=said):
        closing_mark.answer_preference(None, [item("Anna", target="Ben")], [continuation], marks)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("  ben. ", True),
        (". Ben.", True),
        ("。Ben", True),
        ("Ben Anna", False),
        (". Anna", False),
        ("", False),
    ],
)
def test_answers_are_compared_but_for_case_and_marks_at_either_end(text, right):
    """A model that closed the open prompt first (". Ben") was once counted as not having answered."""
    assert closing_mark.answered([text], ["Ben"]) == [right]


def test_marks_inside_an_answer_count():
    assert closing_mark.answered([". 3.5 kg."], ["3.5 kg"]) == [True]
    assert closing_mark.answered([". 35 kg."], ["3.5 kg"]) == [False]


def test_continuations_are_what_follows_the_last_word_elsewhere():
    texts = [
        "Anna has 3 balls.",
        "Ben has 5 balls in the park. Ben smiles.",
        "Eva has 2 balls in the park.",
        "Tom has balls on the hill.",
    ]
    found = closing_mark.continuations(texts, ["en"] * 4)
    assert found[0] == ["in the park", "on the hill"]
    assert found[2] == []  # "park" only ends sentences
    assert closing_mark.continuations(texts, ["a", "b", "c", "d"])[0] == []  # other languages do not count


def texts_of(language):
    rows = read_rows("translation", languages=["x-fr" if language == "x-en" else language])
    return [row["text" if language != "x-en" else "target"] for row in rows if row["id"].endswith("-to")]


def split_at_spaces(texts):
    """What `continuations` is where words have spaces between them, in a slow loop."""
    found = []
    for text in texts:
        last, ways = closing_mark.strip_mark(text).split()[-1], Counter()
        for told in re.split(r"(?<=\.) ", " ".join(texts)):
            words = told.removesuffix(".").split()
            ways.update(" ".join(words[n + 1 :]) for n, word in enumerate(words[:-1]) if word == last)
        found.append(ways)
    return found


@pytest.mark.parametrize("language", ["x-en", "x-fr", "x-sw", "x-en00r"])
def test_continuations_of_languages_with_spaces_are_those_of_a_slow_loop(language):
    texts = texts_of(language)
    found, slow = closing_mark.continuations(texts, [language] * len(texts)), split_at_spaces(texts)
    assert [set(ways) for ways in found] == [set(ways) for ways in slow]
    assert all(
        [counts[way] for way in ways] == sorted(counts.values(), reverse=True)
        for ways, counts in zip(found, slow, strict=True)
    )


def test_chinese_texts_go_on_after_words_that_no_space_ends():
    texts = ["Anna 有 3 个球。", "Ben 在花园里有 5 个球。", "Eva 把球给 Ben。Tom 在花园里。"]
    found = closing_mark.continuations(texts, ["zh"] * 3)
    assert found[0] == found[1] == ["给 Ben"]
    assert found[2] == ["有 5 个球"]  # and not "给 Ben。Tom …": a stop ends a sentence without a space


def test_every_place_of_the_chinese_world_is_where_a_text_goes_on():
    """Chinese says the place before the verb: "Anna 在花园里。" can go on as "Ben 在花园里有 3 个球。" does."""
    world, told = (
        read_world(),
        [one for one in read_sentences(languages=["x-zh"]) if one["kind"] == "owns_at"],
    )
    places = sorted({one["place"] for one in told})
    ends = [world.say(sentence("person_at", person="Anna", place=place), "x-zh") for place in places]
    texts = [*ends, *(one["text"] for one in told)]
    found = closing_mark.continuations(texts, ["x-zh"] * len(texts))
    for end, ways in zip(ends, found, strict=False):
        assert ways
        assert all(end.removesuffix("。").split()[1] + way in " ".join(texts) for way in ways)
    assert not any(found[len(ends) :])  # a thing is the last word wherever it is said


@pytest.mark.parametrize(
    ("text", "opens"),
    [(". Ben", True), (" 。Ben", True), ("Ben.", False), ("in the park.", False), ("", False)],
)
def test_an_output_that_closes_the_prompt_first_opens_with_a_mark(text, opens):
    assert closing_mark.opens_with_mark(text) == opens


def test_the_language_of_an_output_needs_no_list_of_continuations():
    known = {"fr": ["Anna court dans le jardin.", "Anna a chat"], "en": ["Anna runs in the garden."]}
    texts = ["dans le jardin", ". Anna runs.", "Anna", "Anna", ""]
    told = closing_mark.told_language(
        pd.DataFrame(
            {"text": texts, "answers": [False, True, True, False, False], "wanted": "en", "given": "fr"}
        ),
        known,
    )
    assert told["in source"].tolist() == [True, False, False, False, False]
    assert told["in target"].tolist() == [False, True, True, False, False]  # "Anna" is a word of both


def test_a_planted_effect_of_the_mark_is_found_and_none_is_not():
    generator = np.random.default_rng(2)
    without = generator.random(80) < 0.4
    helped = without | (generator.random(80) < 0.6)
    both = pd.concat([outcomes(helped, without, "bloom"), outcomes(without, without, "mt0")])
    table = border_effects(both, ["answered"]).set_index("model")
    assert table.loc["bloom", "low"] > 0.1
    assert table.loc["mt0", "effect"] == 0
    assert table.loc["mt0", "p_equivalent"] < 0.05 < table.loc["bloom", "p_equivalent"]
    assert (table["meanings"] == 80).all()


def test_a_few_meanings_on_which_nothing_moves_do_not_show_that_nothing_does():
    """Twelve meanings of eight prompts, all answered either way: the interval has a width and nothing is proved equal."""
    table = outcomes([1] * 96, [1] * 96).assign(cluster=lambda t: t["cluster"] // 8)
    (row,) = border_effects(table, ["answered"]).itertuples()
    assert row.low < -0.2 < 0.2 < row.high
    assert row.p_equivalent > 0.2


def test_numbers_beyond_0_and_1_have_no_test_of_equivalence_and_missing_ones_are_left_out_in_pairs():
    table = outcomes([0.5, 1.0, 2.0, np.nan], [0.0, 0.5, 1.0, 7.0])
    (row,) = border_effects(table, ["answered"]).itertuples()
    assert np.isnan(row.p_equivalent)
    assert row.effect == pytest.approx(2 / 3)
    assert row.meanings == 3
    (none,) = border_effects(outcomes([np.nan] * 4, [np.nan] * 4), ["answered"]).itertuples()
    assert np.isnan(none.effect)
    assert none.meanings == 0


def test_unpaired_prompts_are_refused():
    table = outcomes([1, 0, 1], [1, 0, 1])
    table.loc[3, "cluster"] = 99
    with pytest.raises(BadInput, match="same order"):
        border_effects(table, ["answered"])
    with pytest.raises(BadInput, match="'open' is needed"):
        border_effects(table[table["version"] == "mark"], ["answered"])


def next_token_shares(engine, prompt):
    """The probabilities of the next token, as the model's own forward pass gives them."""
    ids = torch.tensor([engine.tokenizer(prompt)["input_ids"]])
    more = {"decoder_input_ids": torch.tensor([[0]])} if engine.is_encoder_decoder else {}
    with torch.inference_mode():
        return engine.model(input_ids=ids, **more).logits[0, -1].float().softmax(-1)


def test_the_first_token_is_shared_out_as_a_forward_pass_says(model):
    """On either architecture, with random weights: every share is the summed probability of its own tokens."""
    prompts, engine = ["Le chat", "the cat is"], model.engine
    answers, ways = ["Anna", "house"], [["here", "Ben"], ["house of", "in"]]
    found = first_token.first_token_shares(model, prompts, answers, ways, ["."] * 2)
    assert found.sum(axis=1).to_numpy() == pytest.approx(1)

    def first(*texts):
        asked = [start + text for text in texts for start in ("", " ")]
        return {tuple(engine.tokenizer(one, add_special_tokens=False)["input_ids"])[:1] for one in asked}

    for prompt, answer, way, row in zip(prompts, answers, ways, found.itertuples(), strict=True):
        shares = next_token_shares(engine, prompt)
        assert row.end == pytest.approx(float(shares[engine.tokenizer.eos_token_id]), abs=1e-6)
        mine = first(answer) - first(*way)
        if all(engine.tokenizer.decode(one).strip() for one in mine):
            assert row.answer == pytest.approx(sum(float(shares[one[0]]) for one in mine), abs=1e-6)


SHARES = {".": 0.5, " .": 0.1, "Ben": 0.05, " Ben": 0.15, " in": 0.02, " the": 0.08}


def test_tokens_that_begin_the_answer_and_a_continuation_count_for_neither(monkeypatch):
    def spoken(_, texts, *, prompts, progress):
        return [TokenScores((text, "x"), (np.log(SHARES.get(text, 1e-12)), -3.0)) for text in texts]

    def ended(_, requests, *__):
        return SimpleNamespace(values=[TokenScores(("</s>",), (np.log(0.04),)) for _ in requests])

    monkeypatch.setattr(first_token, "score", spoken)
    monkeypatch.setattr(first_token, "token_scores", ended)
    (row,) = first_token.first_token_shares(None, ["Anna"], ["Ben"], [["in"]], ["."]).itertuples()
    assert (row.mark, row.answer, row.continuation) == pytest.approx((0.6, 0.2, 0.02))
    assert (row.end, row.other) == pytest.approx((0.04, 0.14))
    (both,) = first_token.first_token_shares(None, ["Anna"], ["Ben"], [["Ben", "in"]], ["."]).itertuples()
    assert (both.answer, both.continuation, both.other) == pytest.approx((0, 0.02, 0.34))
