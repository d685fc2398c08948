"""Language neurons: planted ones are found and are all that matters, in both architectures; nothing is found where nothing is."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, BloomForCausalLM, MT5ForConditionalGeneration

from workbench import load, token_states
from workbench.engines.transformers import anatomy
from workbench.errors import BadInput
from workbench.inference.activity import neuron_activity
from workbench.prompts import Template
from workbench.store import Store
from workbench.studies.interpretability.concepts import Concepts, read_concepts
from workbench.studies.interpretability.neuron_ablation import ablate, matrix, selectivity
from workbench.studies.interpretability.neurons import activation_entropy, language_neurons

LETTERS = {"a": "abcdefgh", "i": "ijklmnop", "q": "qrstuvwx"}  # three languages with letters of their own
PLANTED = {code: ((2, number), (2, 10 + number)) for number, code in enumerate(LETTERS)}
MARK, CHAIN, READ = (
    3.0,
    8,
    9,
)  # of a language's tokens; dimensions that the neurons write and, in mT5, the head reads


@pytest.fixture(scope="module")
def concepts():
    """Twenty-four words in three languages, drawn from the languages' letters."""
    draw = np.random.default_rng(0)
    words = {
        f"{number:02}": {code: "".join(draw.choice([*each], 12)) for code, each in LETTERS.items()}
        for number in range(24)
    }
    template = Template("to", "{{text}} ||| {{target}}")
    return Concepts(
        words, {"word": dict.fromkeys(LETTERS, "{}")}, {c: c for c in LETTERS}, template, "planted"
    )


@torch.no_grad()
def planted(folder, made, concepts, *, is_read=True):
    """Save a random model in which one dimension marks each language's tokens, and two neurons of the second block read it.

    They write what makes the head expect letters. With `is_read` false they keep their random inputs: the twin.
    """
    torch.manual_seed(0)
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    is_bloom = config.model_type == "bloom"
    config.initializer_range, config.initializer_factor = 0.05, 0.1
    model = BloomForCausalLM(config) if is_bloom else MT5ForConditionalGeneration(config)
    spoken = {
        code: {
            t
            for word in concepts.words.values()
            for t in tokenizer(word[code], add_special_tokens=False)["input_ids"]
        }
        for code in LETTERS
    }
    letters = sorted(set.union(*spoken.values()))
    embedding, unit = model.get_input_embeddings().weight, torch.eye(config.hidden_size)
    embedding[:, :3] = -1.0
    block = anatomy.blocks(model, "decoder" if is_bloom else "encoder")[1]
    for each in model.modules():  # nothing else reads the marks
        if isinstance(each, torch.nn.Linear) and each is not model.lm_head and each.in_features == len(unit):
            each.weight[:, :3] = 0.0
    before, after = anatomy.before_neurons(block), anatomy.after_neurons(block)
    for number, code in enumerate(LETTERS):
        embedding[sorted(spoken[code]), number] = MARK
        for _, neuron in PLANTED[code]:
            if is_read:
                before.weight[neuron] = 2 * unit[number]
                if not is_bloom:
                    block.layer[-1].DenseReluDense.wi_1.weight[neuron] = unit[number]
            after.weight[:, neuron] = unit[CHAIN]
    if is_bloom:
        embedding[letters, CHAIN] = 0.5
        model.transformer.ln_f.weight[:3] = 0.0  # so that the head does not see the marks
    else:
        across = model.decoder.block[0].layer[1].EncDecAttention
        across.v.weight[0], across.o.weight[READ, 0] = unit[CHAIN], 1.0
        model.lm_head.weight = torch.nn.Parameter(0.05 * torch.randn_like(model.lm_head.weight))
        model.lm_head.weight[letters, READ] = 1.0
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    return load(str(made), device="cpu", store=Store(made / "store.sqlite"))


@pytest.fixture(scope="module", params=["bloom", "mt5"])
def pair(request, checkpoints, tmp_path_factory, concepts):
    """A planted model and its twin."""
    root, folder = tmp_path_factory.mktemp("planted"), checkpoints[request.param]
    return [planted(folder, root / f"{is_read}", concepts, is_read=is_read) for is_read in (True, False)]


def found_in(model, concepts, **how):
    """Choose as many neurons as are planted."""
    return language_neurons(
        model, concepts, share=6 / (128 if model.is_encoder_decoder else 256), active=0.9, **how
    )


def own_and_others(table, condition="language"):
    """The smallest mean loss of a language without its neurons, and the largest change in another."""
    found = matrix(table[table.condition == condition])
    is_own = found.ablated == found.tested
    return found[is_own].loss.min(), found[~is_own].loss.abs().max()


def test_planted_neurons_are_found_and_their_languages_need_them(pair, concepts):
    model, twin = pair
    found = found_in(model, concepts)
    assert found.by_language == PLANTED
    np.testing.assert_allclose(found.table.entropy, 0, atol=1e-6)
    assert found.stack == ("encoder" if model.is_encoder_decoder else "decoder")
    own, others = own_and_others(ablate(model, concepts, found, limit=12))
    assert own > 0.01 > 5 * others
    unmarked = found_in(twin, concepts)
    assert not set(sum(unmarked.by_language.values(), ())) & set(sum(PLANTED.values(), ()))
    told = selectivity(ablate(twin, concepts, unmarked.given(PLANTED), limit=12)).set_index(
        ["ablated", "condition"]
    )
    assert abs(told.loc[("all", "language"), "selectivity"]) < 0.005


def test_the_control_has_as_many_neurons_as_active_and_no_effect(pair, concepts):
    found = found_in(pair[0], concepts)
    control = found.controls(seed=3)
    counts = [
        [[layer for layer, _ in each[code]] for code in LETTERS]
        for each in (found.by_language, control.by_language)
    ]
    assert counts[0] == counts[1]
    assert not set(sum(control.by_language.values(), ())) & set(sum(PLANTED.values(), ()))
    assert control.by_language != found.controls(seed=4).by_language
    gap = control.table.active - found.table.active
    rest = np.delete(found.active[:, 1], [n for each in PLANTED.values() for _, n in each], axis=1)
    assert gap.abs().mean() < np.abs(rest - found.table.active.mean()).mean() / 2
    table = ablate(pair[0], concepts, found, limit=12)
    told = selectivity(table).set_index(["ablated", "condition"])
    assert told.loc[("all", "language - random"), "low"] > 0.01
    assert told.loc[("all", "language"), "p"] == 1 / 6  # the smallest of five draws
    assert abs(told.loc[("all", "random"), "selectivity"]) < 0.005


def test_ablating_nothing_changes_nothing(pair, concepts):
    found = found_in(pair[0], concepts)
    nothing = ablate(pair[0], concepts, found.given({}), limit=4)
    assert not nothing[["loss", "neurons"]].any(axis=None)
    assert (ablate(pair[0], concepts, found, limit=4).loss != 0).any()


def test_neurons_of_others_are_taken_if_the_model_has_them(pair, concepts):
    found = found_in(pair[0], concepts)
    assert found.given({"q": [(1, 5), (1, 5)]}).by_language == {"a": (), "i": (), "q": ((1, 5),)}
    for odd in ({"q": [(0, 5)]}, {"q": [(1, 999)]}, {"z": [(1, 5)]}):
        with pytest.raises(BadInput, match="block 1 to 2"):
            found.given(odd)
    own, others = own_and_others(ablate(pair[0], concepts, found.given(PLANTED), limit=4))
    assert own > 0.01 > others


def test_meanings_that_the_neurons_were_chosen_on_are_not_tested(pair, concepts):
    found = found_in(pair[0], concepts)
    table = ablate(pair[0], concepts, found, limit=12)
    assert len({*table.cluster}) == 12
    assert not {*table.cluster} & {concept for _, concept in found.meanings}
    with pytest.raises(BadInput, match="chosen on"):
        ablate(pair[0], concepts, found, seed=1)


def test_of_a_neuron_that_never_changes_the_mean_is_its_value(checkpoints, concepts, tmp_path):
    """BLOOM's biases can hold a neuron still; set to its mean it changes nothing, set to 0 it does."""
    model = planted(checkpoints["bloom"], tmp_path / "still", concepts)
    hf = BloomForCausalLM.from_pretrained(model.name)
    first = hf.transformer.h[0].mlp.dense_h_to_4h
    with torch.no_grad():
        first.weight[7], first.bias[7] = 0.0, 3.0
    hf.save_pretrained(model.name)
    still = load(model.name, device="cpu", store=Store(tmp_path / "still.sqlite"))
    found = found_in(still, concepts).given({"a": [(1, 7)]})
    as_ever, off = (ablate(still, concepts, found, value=value, limit=4) for value in ("mean", "zero"))
    of_language = as_ever.condition == "language"
    np.testing.assert_allclose(as_ever[of_language].loss, 0, atol=1e-5)
    assert off[of_language].loss.abs().max() > 1e-3


@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_random_weights_have_no_neurons_of_one_language(side, checkpoints, concepts, tmp_path):
    """Planted ones have the entropy 0; some neurons are always the lowest, but these are active in other languages too."""
    for seed in range(4):
        store = Store(tmp_path / f"{seed}.sqlite")
        found = found_in(load(str(checkpoints[side]), device="cpu", random_seed=seed, store=store), concepts)
        assert len(found.table) >= 4
        assert found.table.entropy.min() > 0.1


def test_the_entropy_is_that_of_the_shares():
    shares = np.array([[1.0, 0.2, 0.0, 0.5], [0.0, 0.2, 0.0, 0.25], [0.0, 0.2, 0.0, 0.25]])
    np.testing.assert_allclose(activation_entropy(shares), [0, np.log(3), np.log(3), 1.5 * np.log(2)])


TEXTS = ["The cat sat on the mat.", "Paka", "猫坐在垫子上。你好吗？"]


def test_the_activity_is_that_of_the_tokens_and_depends_on_no_batch(model):
    """Against the activations of all tokens; active where the GELU's input is above 0, which hooks of torch see."""
    found = neuron_activity(model, [TEXTS, TEXTS[:1]])
    values = np.concatenate(token_states(model, TEXTS, of="neurons").arrays, axis=1)
    np.testing.assert_allclose(found[0].mean, values.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found[0].strength, np.sqrt((values**2).mean(axis=1)), atol=1e-5)
    np.testing.assert_allclose(found[0].active, by_hand(model, TEXTS), atol=1e-6)
    assert np.abs(found[0].active - found[1].active).max() > 0.1
    fresh = load(model.name, device="cpu", store=Store(model.store.path.parent / "other.sqlite"))
    np.testing.assert_allclose(
        neuron_activity(fresh, [TEXTS], batch_size=1)[0].active, found[0].active, atol=1e-6
    )
    if not model.is_encoder_decoder:  # GELU keeps the sign
        np.testing.assert_allclose(found[0].active, (values > 0).mean(axis=1), atol=1e-6)


def test_after_a_prompt_the_places_of_the_answer_count(model):
    prompts, answers = ["The cat", "Translate to English: Je"], [" sat on the mat.", " t'aime."]
    found = neuron_activity(model, [answers], prompts=[prompts])[0]
    np.testing.assert_allclose(found.active, by_hand(model, answers, prompts), atol=1e-6)
    assert (
        np.abs(found.active - by_hand(model, [*map("".join, zip(prompts, answers, strict=True))])).max()
        > 0.05
    )


@torch.no_grad()
def by_hand(model, texts, prompts=None):
    """The share of places where the GELU's input is above 0, text by text, from hooks on the first matrices."""
    hf, tokenizer = model.hf.model, model.hf.tokenizer
    stack = "encoder" if model.is_encoder_decoder and prompts is None else "decoder"
    blocks = anatomy.blocks(hf, stack)
    seen = [[] for _ in blocks]
    hooks = [
        anatomy.before_neurons(block).register_forward_hook(
            lambda _, __, out, own=own: own.append(out[0] > 0)
        )
        for block, own in zip(blocks, seen, strict=True)
    ]
    firsts = []
    for number, text in enumerate(texts):
        ids = tokenizer(prompts[number] if prompts else text)["input_ids"]
        rest = tokenizer(text, add_special_tokens=False)["input_ids"] if prompts else []
        firsts.append(len(ids) - 1 if prompts and not model.is_encoder_decoder else 0)
        if not model.is_encoder_decoder:
            hf(input_ids=torch.tensor([ids + rest]))
        elif prompts:
            hf(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0, *rest]]))
        else:
            hf.encoder(input_ids=torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    kept = [torch.cat([each[first:] for each, first in zip(own, firsts, strict=True)]) for own in seen]
    return np.stack([each.float().mean(0).numpy() for each in kept])


def test_groups_without_texts_or_with_other_numbers_of_prompts_are_refused(model):
    for texts, prompts in ([[], None], [[[]], None], [[TEXTS], [TEXTS[:1]]]):
        with pytest.raises(BadInput, match="groups of"):
            neuron_activity(model, texts, prompts=prompts)


def test_other_parallel_texts_are_concepts_too():
    found = read_concepts("parallel", ["en", "fr", "sw"], limit=6)
    assert len(found.words) == 6
    assert len({*found.text("word", next(iter(found.words)), "fr").split()}) > 2
