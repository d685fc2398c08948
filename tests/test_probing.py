"""Probes find what was planted, and nothing where nothing is; words, meanings and their translations stay on one side of a split."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from threadpoolctl import threadpool_info
from tqdm import tqdm

from workbench.errors import BadInput
from workbench.studies.probing import (
    Examples,
    alignment,
    best_layers,
    by_layer,
    centred,
    cka,
    code_lengths,
    held_out_words,
    mean_bits,
    online_bits,
    retrieval,
    shuffled_labels,
    split_groups,
)

LANGUAGES = ("x-en", "x-fr", "x-es")


def planted(strength, seed=0, *, words=12, per=5, kinds=3, width=20, shared=True):
    """Texts about words, each at a place of its own; layer 1 has a direction for the word's label, in every language if `shared`."""
    generator = np.random.default_rng(seed)
    of_word = generator.permutation(np.arange(words) % kinds)
    rows, texts = [], []
    for word, label in enumerate(of_word):
        place = 2 * generator.normal(size=width)
        for number in range(per):
            meaning = place + generator.normal(size=width)
            for shift, name in enumerate(LANGUAGES):
                told = strength * np.eye(width)[label if shared else label + kinds * shift]
                offset = 3 * np.eye(width)[-1 - shift]
                rows.append(
                    [meaning + offset, meaning + offset + told] + 0.5 * generator.normal(size=(2, width))
                )
                texts.append((f"class {label}", name, f"{word}-{number}", word))
    labels, languages, meanings, about = (list(column) for column in zip(*texts, strict=True))
    return Examples(np.array(rows, dtype=np.float32), labels, languages, meanings, about)


def test_a_planted_attribute_is_read_from_unseen_words_in_other_languages_where_it_is_and_not_before():
    found = held_out_words(planted(20), train_on="x-en")
    table = found.by_layer().set_index("layer")
    assert table["accuracy"][1] > 0.95
    assert table["p_value"][1] == 0.01
    assert table["selectivity"][1] > 0.5
    assert table["low"][0] <= found.chance <= table["high"][0]
    assert found.best() == (1, 0.01)


def test_twin_directions_of_each_language_work_in_the_own_language_only():
    found = held_out_words(planted(12, shared=False), train_on="x-en").by_language()
    table = found.query("layer == 1").set_index("language")["accuracy"]
    assert table["x-en"] > 0.95
    assert table["x-fr"] < 0.6


def test_labels_without_information_are_found_in_5_percent_and_intervals_cover_chance():
    """200 worlds whose labels say nothing (of 800, 4.9 and 4.1 % at the two layers), and a twin where they say something."""
    asked = pd.concat(
        held_out_words(planted(0, seed, per=3), train_on="x-en", permutations=39, repeats=2).by_layer()
        for seed in range(1000, 1200)
    )
    assert (asked["p_value"] <= 0.05).mean() == pytest.approx(0.05, abs=0.025)
    covers = (asked["low"] <= 1 / 3) & (asked["high"] >= 1 / 3)
    assert covers.mean() >= 0.93  # cautious: mostly 96 or 97 %
    told = [
        held_out_words(planted(10, seed), train_on="x-en", permutations=39, repeats=2).best()[1]
        for seed in range(10)
    ]
    assert np.mean([p <= 0.05 for p in told]) == 1


def test_intervals_cover_the_mean_over_worlds_where_labels_say_something():
    asked = [
        held_out_words(planted(4, seed), train_on="x-en", permutations=39, repeats=2).by_layer().iloc[1]
        for seed in range(100)
    ]
    mean = np.mean([one["accuracy"] for one in asked])
    assert 0.4 < mean < 0.8
    assert np.mean([one["low"] <= mean <= one["high"] for one in asked]) >= 0.93


def test_a_word_or_meaning_in_training_too_would_be_remembered():
    """States tell every word and nothing of labels: held out, nothing is read; with meanings held out only, all is."""
    given = planted(0, 3)
    leaking = Examples(given.states, given.labels, given.languages, given.meanings)
    assert held_out_words(given, train_on="x-en").by_layer()["p_value"][0] > 0.05
    assert held_out_words(leaking, train_on="x-en", permutations=9).by_layer()["accuracy"][0] > 0.9


def test_texts_that_share_a_word_or_a_meaning_are_in_one_group_and_others_are_not():
    labels, languages = ["a", "b"] * 3, ["x-en"] * 6
    chained = Examples(np.zeros((6, 1, 2)), labels, languages, [0, 1, 1, 2, 3, 3], list("aabcde"))
    assert pd.factorize(split_groups(chained))[0].tolist() == [0, 0, 0, 1, 2, 2]
    alone = Examples(np.zeros((6, 1, 2)), labels, languages, [0, 1, 1, 2, 3, 3])
    assert pd.factorize(split_groups(alone))[0].tolist() == [0, 1, 1, 2, 3, 3]


def test_scores_are_those_of_scikit_learns_ridge_on_the_same_folds():
    given = planted(5)
    found = held_out_words(given, train_on="x-en", repeats=1, permutations=0, folds=4, seed=2)
    array = centred(given.states[:, 1], given.languages)
    array /= array.std(axis=0)
    here, kinds = np.array(given.languages) == "x-en", pd.factorize(np.array(given.labels))[0]
    strength, right = 0.2 * np.square(array[here]).sum(axis=1).mean(), np.zeros(len(kinds))
    for train, test in GroupKFold(4, shuffle=True, random_state=2).split(array, groups=given.words):
        fitted = train[here[train]]
        own = np.eye(3)[kinds[fitted]]
        ridge = Ridge(strength, fit_intercept=False).fit(array[fitted], own / own.mean(axis=0) - 1)
        right[test] = ridge.predict(array[test]).argmax(axis=1) == kinds[test]
    table = pd.DataFrame({"language": given.languages, "word": given.words, "right": right})
    by_hand = table.groupby(["word", "language"])["right"].mean().unstack()[list(LANGUAGES)]
    assert np.allclose(found.correct[0, 1].T, by_hand.to_numpy())


def test_attributes_of_meanings_are_probed_too_and_rare_labels_are_dropped():
    """Each word has texts of both labels, so labels are shuffled among meanings; one label has a single word."""
    given = planted(0)
    labels = [
        f"{'rare' if word == 0 else number.split('-')[1] in '01'}"
        for word, number in zip(given.words, given.meanings, strict=True)
    ]
    found = held_out_words(
        Examples(given.states, labels, given.languages, given.meanings, given.words), train_on="x-en"
    )
    assert found.dropped == ("rare",)
    assert found.correct.shape[-1] == 55
    assert len(set(found.groups)) == 11


def test_probes_that_cannot_be_split_are_refused():
    given = planted(0)
    with pytest.raises(BadInput, match="x-xx"):
        held_out_words(given, train_on="x-xx")
    with pytest.raises(BadInput, match="1 folds"):
        held_out_words(given, train_on="x-en", folds=1)
    with pytest.raises(BadInput, match="5 folds"):
        held_out_words(given, train_on="x-en", folds=5)
    labels = [
        label if name == "x-en" else "other"
        for label, name in zip(given.labels, given.languages, strict=True)
    ]
    with pytest.raises(BadInput, match="two labels"):
        held_out_words(Examples(given.states, labels, given.languages, given.meanings), train_on="x-en")


def test_bad_examples_are_refused():
    given = planted(0, words=3)
    with pytest.raises(BadInput, match="1 labels"):
        Examples(given.states, ["a"], given.languages, given.meanings)
    with pytest.raises(BadInput, match="2 words"):
        Examples(given.states, given.labels, given.languages, given.meanings, ["a", "b"])
    with pytest.raises(BadInput, match="two classes"):
        Examples(given.states, ["a"] * len(given.labels), given.languages, given.meanings)


# Control tasks -----------------------------------------------------------------------------------------------------


def test_control_labels_keep_units_and_frequencies_and_are_others():
    labels, units = ["a", "a", "b", "b", "c", "c"] * 4, [0, 0, 1, 1, 2, 2] * 4
    drawn = [shuffled_labels(labels, units, seed=seed) for seed in range(8)]
    for found in drawn:
        assert sorted(found) == sorted(labels)
        assert len(set(zip(units, found, strict=True))) == 3
    assert any(found != labels for found in drawn)
    assert drawn[0] == shuffled_labels(labels, units, seed=0)


def test_control_labels_are_exchanged_within_a_word_only():
    words = [word for word in range(20) for _ in LANGUAGES]
    languages = list(LANGUAGES) * 20
    found = shuffled_labels(languages, list(zip(words, languages, strict=True)), within=words)
    assert all(set(found[start : start + 3]) == set(LANGUAGES) for start in range(0, 60, 3))
    assert found != languages
    with pytest.raises(BadInput, match="two labels"):
        shuffled_labels(["a", "b"], ["word", "word"])
    with pytest.raises(BadInput, match="2 labels came with 1 units"):
        shuffled_labels(["a", "b"], ["word"])


# Code length ---------------------------------------------------------------------------------------------------------


def test_labels_in_noise_cost_log2_of_their_number_and_planted_ones_much_less():
    given = planted(0, words=30, per=4)
    noise = np.random.default_rng(0).normal(size=given.states.shape)
    telling = noise + 6 * np.eye(20)[[LANGUAGES.index(name) for name in given.languages]][:, None]
    costs = [
        mean_bits(
            code_lengths(Examples(states, given.languages, given.languages, given.meanings, given.words))
        )
        for states in (noise, telling)
    ]
    assert costs[0]["bits"].to_numpy() == pytest.approx(np.log2(3), rel=0.02)
    assert (costs[1]["bits"] < 0.25).all()
    assert (costs[1]["compression"] > 6).all()
    assert (costs[0]["spread"] < 0.05).all()


def test_probes_with_wider_margins_have_shorter_codes_though_all_are_always_right():
    languages = list(LANGUAGES) * 60
    place = np.array([LANGUAGES.index(name) for name in languages])
    noise = np.random.default_rng(1).normal(size=(180, 8))
    states = np.stack([noise + scale * np.eye(8)[place] for scale in (5, 15)], axis=1)
    table = mean_bits(code_lengths(Examples(states, languages, languages, np.arange(180) // 3)))
    assert (states.argmax(axis=2) == place[:, None]).mean() > 0.99
    assert table["bits"][1] < 0.9 * table["bits"][0]


def test_the_first_block_is_coded_by_guessing_and_a_code_is_a_code():
    """Over all labels that a text may have, 2 to the minus bits sums to 1."""
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(30, 4)), generator.integers(3, size=30)
    labels[:3] = [0, 1, 2]
    bits = online_bits(features, labels, np.arange(30), [10, 20, 30])
    assert bits[:10] == pytest.approx(np.log2(3))
    changed = [np.append(labels[:-1], other) for other in range(3)]
    last = [online_bits(features, one, np.arange(30), [10, 20, 30])[-1] for one in changed]
    assert np.sum(2.0 ** -np.array(last)) == pytest.approx(1)
    assert not np.allclose(bits[20:], np.log2(3))


def test_code_lengths_need_an_ordering_and_two_groups():
    with pytest.raises(BadInput, match="0 orderings"):
        code_lengths(planted(0), orderings=0)


# Alignment -----------------------------------------------------------------------------------------------------------


def rotation(width, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def test_cka_is_1_for_rotated_and_0_for_unrelated_states_also_where_they_are_wide():
    generator = np.random.default_rng(0)
    for texts, width in ((50, 10), (50, 400)):
        first = generator.normal(size=(texts, width))
        assert cka(first, 3 * first @ rotation(width) + 7) == pytest.approx(1)
        found = [cka(first, generator.normal(size=(texts, width))) for _ in range(20)]
        assert np.mean(found) == pytest.approx(0, abs=0.02)
    with pytest.raises(BadInput, match="3 and 3 texts"):
        cka(first[:3], first[:3])
    assert np.isnan(cka(first, np.zeros_like(first)))


def test_the_usual_estimator_is_biased_where_the_debiased_one_is_not():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 30, 300))
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    grams = first @ first.T, second @ second.T
    usual = np.sum(grams[0] * grams[1]) / np.linalg.norm(grams[0]) / np.linalg.norm(grams[1])
    assert usual > 0.8
    assert abs(cka(first, second)) < 0.1


def parallel(first, second):
    texts = len(first)
    languages, meanings = ["x-en"] * texts + ["x-fr"] * texts, list(range(texts)) * 2
    return Examples(np.concatenate([first, second])[:, None], languages, languages, meanings)


def test_intervals_of_cka_cover_0_in_unrelated_states_and_the_truth_in_related_ones():
    """On unrelated states the jackknife is cautious (1 % of 200); on related ones it errs in 4 to 5 %."""
    generator = np.random.default_rng(0)
    loadings = generator.normal(size=(2, 10, 20))

    def drawn(texts, related):
        common = generator.normal(size=(texts, 10))
        hidden = common, common if related else generator.normal(size=(texts, 10))
        return [
            one @ load + 2 * generator.normal(size=(texts, 20))
            for one, load in zip(hidden, loadings, strict=True)
        ]

    for related, truth in ((False, 0.0), (True, cka(*drawn(4000, related=True)))):
        rows = [alignment(parallel(*drawn(60, related)), pivot="x-en").iloc[0] for _ in range(200)]
        assert np.mean([row["low"] <= truth <= row["high"] for row in rows]) >= 0.93
        assert (np.mean([row["low"] > 0 for row in rows]) > 0.95) == related
        assert np.mean([row["shuffled"] for row in rows]) == pytest.approx(0, abs=0.02)


# Retrieval -----------------------------------------------------------------------------------------------------------


def test_retrieval_finds_translations_where_meaning_is_shared_and_not_in_noise():
    generator = np.random.default_rng(0)
    meaning = np.repeat(generator.normal(size=(40, 8)), 3, axis=0)
    offset = np.tile(10 * generator.normal(size=(3, 8)), (40, 1))  # each language sits elsewhere
    noise = generator.normal(size=(120, 8))
    states = np.stack([noise, meaning + offset], axis=1)
    examples = Examples(states, ["a", "b", "a"] * 40, LANGUAGES * 40, np.repeat(np.arange(40), 3).tolist())
    table = by_layer(retrieval(examples, pivot="x-en")).set_index("layer")["accuracy"]
    assert table[1] == 1.0
    assert table[0] < 0.2
    raw = by_layer(retrieval(examples, pivot="x-en", centre=False)).set_index("layer")["accuracy"]
    assert raw[1] < 0.9


def test_hard_negatives_take_away_what_texts_of_a_kind_share():
    """States tell the kind and nothing else: among all texts that is a fifth of the way, among texts of the kind, chance."""
    generator = np.random.default_rng(0)
    kinds = np.repeat(np.arange(50) // 2, 2)  # 25 kinds of two meanings, in two languages
    states = 3 * generator.normal(size=(25, 16))[kinds] + generator.normal(size=(100, 16))
    examples = Examples(
        states[:, None], kinds.tolist(), LANGUAGES[:2] * 50, np.repeat(np.arange(50), 2).tolist()
    )
    easy = retrieval(examples, pivot="x-en")
    hard = retrieval(examples, pivot="x-en", alike=kinds.tolist())
    assert easy["guessing"].iloc[0] == 0.02
    assert easy["correct"].mean() > 0.3
    assert (hard["guessing"] == 0.5).all()
    assert hard["correct"].mean() == pytest.approx(0.5, abs=0.12)
    lone = ["one"] * 4 + [f"{n // 2}" for n in range(96)]
    assert set(retrieval(examples, pivot="x-en", alike=lone)["meaning"]) == {0, 1}
    with pytest.raises(BadInput, match="no two texts are alike"):
        retrieval(examples, pivot="x-en", alike=[n // 2 for n in range(100)])


def chosen(examples, places, meanings=None):
    found = examples.chosen(places)
    return Examples(found.states, found.labels, found.languages, meanings or found.meanings)


def test_retrieval_needs_parallel_texts_in_two_languages_each_meaning_once():
    examples = planted(0, words=4, per=1)
    with pytest.raises(BadInput, match="another language"):
        retrieval(chosen(examples, [0, 3, 6]), pivot="x-en")
    with pytest.raises(BadInput, match="'x-xx' and another"):
        retrieval(examples, pivot="x-xx")
    both = [0, 1, 3, 4]
    assert len(retrieval(chosen(examples, both), pivot="x-en")) == 2 * 2
    with pytest.raises(BadInput, match="each once"):
        retrieval(chosen(examples, both, meanings=[0, 0, 0, 0]), pivot="x-en")
    with pytest.raises(BadInput, match="same meanings"):
        retrieval(chosen(examples, range(11)), pivot="x-en")


# Layers --------------------------------------------------------------------------------------------------------------


def scored(*layers, reader="one"):
    """A table as `probe` gives it, from right and wrong per layer; two languages of the same meanings."""
    rows = [
        {"reader": reader, "layer": layer, "language": name, "meaning": meaning, "correct": bool(right)}
        for layer, correct in enumerate(layers)
        for name in LANGUAGES[:2]
        for meaning, right in enumerate(correct)
    ]
    return pd.DataFrame(rows)


def test_layers_are_compared_on_the_same_texts_and_not_by_their_own_intervals():
    """Layer 1 loses what layer 0 has in a few meanings: their intervals overlap, and yet it is behind."""
    right = np.random.default_rng(0).random(200) < 0.6
    worse = right & (np.cumsum(right) > 12)
    table = scored(right, worse)
    assert by_layer(table)["high"][1] > by_layer(table)["low"][0]
    row = best_layers(table, "reader").iloc[0]
    assert (row["layer"], row["alike"], row["layers"]) == (0, (0,), 2)
    assert (row["first"], row["last"]) == (right.mean(), worse.mean())


def test_layers_that_differ_by_chance_only_are_alike_and_a_planted_one_is_not():
    generator = np.random.default_rng(1)
    noise = [generator.random(120) < 0.6 for _ in range(4)]
    planted_best = generator.random(120) < 0.9
    table = pd.concat([scored(*noise, reader="flat"), scored(*noise, planted_best, reader="peak")])
    rows = best_layers(table, "reader").set_index("reader")
    assert rows.loc["flat", "alike"] == (0, 1, 2, 3)
    assert rows.loc["flat", "lowest"] == min(map(np.mean, noise))
    assert rows.loc["peak", "alike"] == (4,)
    assert rows.loc["peak", "low"] < planted_best.mean() < rows.loc["peak", "high"]


def test_layers_apart_in_a_handful_of_meanings_are_alike():
    """Layer 1 loses two meanings of twelve and wins none: all resamples favour layer 0 or tie, and yet that is no proof."""
    right = np.arange(12) < 10
    assert best_layers(scored(right, np.arange(12) < 8), "reader").iloc[0]["alike"] == (0, 1)


def test_scores_with_gaps_or_twice_over_are_refused():
    table = scored([1, 0, 1, 1], [1, 1, 0, 1])
    with pytest.raises(BadInput, match="1 scores of"):
        best_layers(table.iloc[:-1], "reader")
    with pytest.raises(BadInput, match="1 scores of"):
        best_layers(table.assign(correct=table["correct"].astype(float).where(table.index > 0)), "reader")
    two = pd.concat([table.assign(weights="trained"), table.assign(weights="random")])
    with pytest.raises(BadInput, match="repeat a meaning, language and layer"):
        best_layers(two, "reader")
    assert len(best_layers(two, "reader", "weights")) == 2


def test_probes_show_their_progress_layer_by_layer_and_leave_other_threads_alone(monkeypatch, capsys):
    """On shared cores threads that wait for each other made notebook 03 spin for minutes."""
    monkeypatch.setattr(
        "workbench.inference.cached.tqdm", lambda **how: tqdm(**{**how, "disable": how["disable"] is True})
    )
    monkeypatch.delenv("WORKBENCH_BATCH", raising=False)
    texts = [(word, language) for word in range(8) for language in ("a", "b")]
    words, languages = map(list, zip(*texts, strict=True))
    states = np.random.default_rng(0).standard_normal((len(texts), 3, 4), dtype=np.float32)
    examples = Examples(states, [word % 2 for word in words], languages, words, words)
    before = [each["num_threads"] for each in threadpool_info()]
    held_out_words(examples, train_on="a", folds=2, repeats=1, permutations=1)
    code_lengths(examples, orderings=1)
    shown = capsys.readouterr().err
    assert "probes of held-out words" in shown
    assert "code lengths" in shown
    assert [each["num_threads"] for each in threadpool_info()] == before
    code_lengths(examples, orderings=1, progress=False)
    assert capsys.readouterr().err == ""
