"""Erasers are what they claim as maps; patches, erasure and steering do what the place and the layer allow, and their controls do not."""

import numpy as np
import pandas as pd
import pytest

from workbench import load, token_states
from workbench.errors import BadInput
from workbench.store import Store
from workbench.studies.interpretability.averaging import mean_by
from workbench.studies.interpretability.concept_pairs import Pair, concept_pairs
from workbench.studies.interpretability.concepts import read_concepts
from workbench.studies.interpretability.erasure import (
    erasers,
    leace,
    matched_subspace,
    mean_subspace,
    random_subspace,
)
from workbench.studies.interpretability.language_erasure import beyond, erase_language, intervention
from workbench.studies.interpretability.patching import effects, patch
from workbench.studies.interpretability.steering import steer
from workbench.studies.interpretability.translations import questions, split


def drawn(n=400, width=12, classes=3, seed=0):
    """States whose means and covariances differ by class."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(classes, size=n)
    mixing = draw.standard_normal((classes, width, width))
    noise = draw.standard_normal((n, width))
    states = (
        np.einsum("nij,nj->ni", mixing[labels], noise) + 3 * draw.standard_normal((classes, width))[labels]
    )
    return states, labels


def spread(states, labels):
    """The largest distance between a class's mean and the mean of all."""
    return max(
        np.linalg.norm(states[labels == each].mean(0) - states.mean(0)) for each in set(labels.tolist())
    )


def test_erasers_are_projections_that_make_class_means_equal():
    states, labels = drawn()
    assert spread(states, labels) > 1
    for eraser in (leace(states, labels), mean_subspace(states, labels)):
        once = eraser(states)
        np.testing.assert_allclose(eraser(once), once, atol=1e-9)
        assert spread(once, labels) < 1e-9
        assert np.linalg.matrix_rank(eraser.readout.T @ eraser.array) == 2
    for control in (
        random_subspace(states, 2),
        matched_subspace(states, labels, mean_subspace(states, labels)),
    ):
        assert spread(control(states), labels) > 1  # the twin: not any subspace does


def test_leace_is_the_closed_form_with_explicit_whitening_and_changes_less_than_the_orthogonal_projection():
    states, labels = drawn()
    centred, indicators = states - states.mean(0), np.eye(3)[labels] - np.eye(3)[labels].mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    whitening, coloring = (vectors * values**power @ vectors.T for power in (-0.5, 0.5))
    across = whitening @ (centred.T @ indicators)
    projector = across @ np.linalg.pinv(across, rcond=1e-9)
    expected = states - centred @ (coloring @ projector @ whitening).T
    np.testing.assert_allclose(leace(states, labels)(states), expected, atol=1e-8)
    assert leace(states, labels).norm(states) < mean_subspace(states, labels).norm(states)
    np.testing.assert_allclose((expected - expected.mean(0)).T @ indicators, 0, atol=1e-6)


def test_the_matched_control_removes_the_same_norm_and_the_random_one_less():
    states, labels = drawn()
    _, means, plain, matched = erasers(states, labels)
    assert matched.norm(states) == pytest.approx(means.norm(states), rel=0.01)
    assert len(matched.array) == len(means.array) == len(plain.array)
    assert plain.norm(states) != pytest.approx(means.norm(states), rel=0.01)


def test_states_without_a_class_are_refused():
    states, labels = drawn()
    with pytest.raises(BadInput, match="two classes"):
        leace(states, np.zeros(len(states)))
    with pytest.raises(BadInput, match="labels"):
        leace(states, labels[1:])


def test_intervals_of_nothing_cover_zero():
    """Clusters share an effect with mean 0: 95 % intervals of a mean cover it in about 95 % of 400 simulations."""
    draw, covered = np.random.default_rng(0), 0
    for _ in range(400):
        clusters = np.repeat(np.arange(8), 4)
        values = draw.standard_normal(8)[clusters] + draw.standard_normal(32)
        table = pd.DataFrame({"cluster": clusters, "layer": 1, "loss": values})
        found = mean_by(table, ["layer"], "loss").iloc[0]
        covered += found["low"] <= 0 <= found["high"]
    assert 0.92 <= covered / 400 <= 0.98


@pytest.fixture(scope="module")
def concepts():
    return read_concepts("miniature", limit=4)


@pytest.fixture(scope="module", params=["mini-bloomz", "mini-mt0"])
def mini(request, tmp_path_factory):
    return load(request.param, device="cpu", store=Store(tmp_path_factory.mktemp("store") / "store.sqlite"))


WAYS = {"source": ("x-id", "x-fr"), "target": ("x-zh", "x-en")}


def test_a_patch_carries_the_concept_where_it_can_and_its_controls_do_not(mini, concepts):
    """After BLOOM's last block nothing reads the word's place; mT5's decoder reads all of the encoder's last layer."""
    last = 3
    found = patch(
        mini,
        concepts,
        **WAYS,
        pairs=6,
        places=["concept"],
        layers=[2, last],
        conditions=["patched", "random"],
    )
    mean = effects(found).set_index(["layer", "condition"])["concept_shift"]
    assert mean[2, "patched"] > 4 + abs(mean[2, "random"])
    if mini.is_encoder_decoder:
        assert mean[last, "patched"] > 4
    else:
        np.testing.assert_allclose(found[found.layer == last].concept_shift, 0, atol=1e-3)


def test_patching_a_prompt_into_itself_changes_nothing(mini, concepts):
    pair = concept_pairs(concepts, limit=1)[0]
    same = Pair(
        "same",
        pair.target_concept,
        pair.target_concept,
        pair.other,
        pair.bystander,
        pair.target_frame,
        pair.target_frame,
    )
    found = patch(
        mini, concepts, source=("x-zh", "x-fr"), target=("x-zh", "x-en"), pairs=[same],
        places=["concept"], layers=[0], conditions=["patched"],
    )  # fmt: skip
    if (
        not mini.is_encoder_decoder
    ):  # an encoder's word has seen the whole request, which names another language
        np.testing.assert_allclose(found.concept_shift, 0, atol=1e-3)
    with pytest.raises(BadInput, match="different ones"):
        patch(mini, concepts, source=("x-zh", "x-en"), target=("x-fr", "x-en"))


def test_an_eraser_erases_in_the_forward_pass_what_it_erases_from_states(mini, concepts):
    stack = "encoder" if mini.is_encoder_decoder else "decoder"
    texts = [concepts.text(*split(concepts)[0][0], code) for code in concepts.languages]
    states = token_states(mini, texts, progress=False).arrays
    labels = [
        code for code, each in zip(concepts.languages, states, strict=True) for _ in range(each.shape[1])
    ]
    flat = np.concatenate([each[1] for each in states])
    eraser = mean_subspace(flat, labels)
    after = token_states(mini.intervened(intervention(eraser, 1, stack)), texts, progress=False).arrays
    np.testing.assert_allclose(np.concatenate([each[1] for each in after]), eraser(flat), atol=1e-3)


def test_erasing_the_language_costs_more_than_a_random_subspace_of_its_norm(mini, concepts):
    of = questions(concepts, limit=12)
    found = erase_language(mini, concepts, layers=[2], of=of)
    loss = found.groupby("eraser").loss.mean()
    assert loss["language means"] > loss["random, equal rank"] + 1
    assert len(beyond(found)) == 3 * len(of)
    assert (found.groupby("eraser").size() == len(of)).all()


def test_steering_reaches_the_wanted_language_and_a_random_vector_of_its_length_does_not(mini, concepts):
    found = steer(mini, concepts, layers=[2], doses=[0.0, 1.0], limit=12)
    gain = found.groupby(["condition", "dose"]).gain.mean()
    assert abs(gain["steered", 0.0]) < 1e-4
    assert gain["steered", 1.0] > gain["random", 1.0] + 0.1
    assert gain["asking", 0.0] == gain["asking", 1.0] > 0.4  # .58 for mini-mt0, 1 for mini-bloomz


def test_the_lexicon_has_concepts_for_real_checkpoints():
    found = read_concepts("lexicon", ["en", "fr", "sw"], limit=8)
    prompt = found.prompt("word", next(iter(found.words)), "en", "fr")
    assert prompt.text[prompt.start : prompt.end] in [word["en"] for word in found.words.values()]
    with pytest.raises(BadInput, match="three concepts"):
        read_concepts("lexicon", ["en", "fr"], limit=2)
