"""Simulated quantization and its control, and the estimators of what it costs whom: laws, planted truths and false positives."""

import shutil
from importlib.util import find_spec
from itertools import permutations
from math import factorial

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench import generate, hidden_states, load, rank, score
from workbench.engines.transformers.rounding import rounded
from workbench.errors import BadInput
from workbench.models.memory import is_quantizable
from workbench.models.simulated import GROUP, Simulated
from workbench.paths import data_path
from workbench.store import Store
from workbench.studies.quantization import Slope, beyond, damage, losses, slope
from workbench.tasks import Item, make_items, read_rows, task_templates
from workbench.training import finetune

TEXTS = ["The cat sat on the mat.", "Le chat", "猫坐在垫子上。"]
ITEMS = [Item(str(place), text, ("yes", "no, maybe"), gold=0) for place, text in enumerate(TEXTS)]
FORMS = ("rtn8", "rtn3", "noise3:0", "noise3:1")


def form(model, quantization, **options):
    return load(model.name, quantization=quantization, **{"device": "cpu", "store": model.store, **options})


def weights(handle):
    return {name: weight.detach().clone() for name, weight in handle.hf.model.named_parameters()}


# The weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [GROUP, 40, 3 * GROUP + 20])
def test_each_weight_goes_to_the_nearest_of_few_levels_of_its_group(width):
    matrix = torch.randn(5, width, generator=torch.Generator().manual_seed(0))
    for bits in (2, 4, 8):
        found = rounded(matrix, bits)
        for row in range(5):
            for before, after in zip(matrix[row].split(GROUP), found[row].split(GROUP), strict=True):
                step = (before.max() - before.min()) / (2**bits - 1)
                assert len(((after - before.min()) / step).round().unique()) <= 2**bits
                assert (after - before).abs().max() <= step / 2 + 1e-6
        assert torch.allclose(rounded(found, bits), found, atol=1e-5)
    assert rounded(torch.full((2, width), 0.3), 4).allclose(torch.tensor(0.3))


def test_noise_moves_every_matrix_as_far_as_rounding_and_neither_touches_the_rest(model):
    plain = weights(model)
    changed = {name: weights(form(model, name)) for name in FORMS}
    for name, weight in plain.items():
        moved = {each: (of[name] - weight).norm() for each, of in changed.items()}
        if not is_quantizable(name, weight.shape):
            assert not any(moved.values()), name
            continue
        assert 0 < moved["rtn8"] < moved["rtn3"]
        assert moved["noise3:0"] == pytest.approx(float(moved["rtn3"]), rel=1e-4)
        assert moved["noise3:1"] == pytest.approx(float(moved["rtn3"]), rel=1e-4)
        assert (changed["noise3:0"][name] - changed["noise3:1"][name]).norm() > moved["rtn3"]
    again = weights(form(model, "noise3:1", store=Store(model.store.path.with_name("other"))))
    assert all(torch.equal(again[name], weight) for name, weight in changed["noise3:1"].items())


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes, of the extra `quantized`")
def test_simulations_cover_what_bitsandbytes_covers(model):
    packed = form(model, "8bit").hf.model
    covered = {f"{name}.weight" for name, part in packed.named_modules() if "8bit" in type(part).__name__}
    plain = {name for name, weight in weights(model).items() if is_quantizable(name, weight.shape)}
    assert covered == plain


# The handles -------------------------------------------------------------------------------------------------------


def test_no_form_takes_the_answers_of_another_and_each_finds_its_own(model):
    asked = (
        lambda it: rank(it, ITEMS, progress=False)["scores"].tolist(),
        lambda it: [one.text for one in generate(it, TEXTS, max_new_tokens=3)],
        lambda it: score(it, TEXTS),
        lambda it: hidden_states(it, TEXTS).array.tolist(),
    )
    plain = [str(ask(model)) for ask in asked]
    for name in FORMS:
        fresh = form(model, name)
        found = [str(ask(fresh)) for ask in asked]
        assert found[0] != plain[0]
        again = form(model, name)
        assert [str(ask(again)) for ask in asked] == found
        assert (again.tally.misses, again.where, again.tolerance) == (0, "not loaded", model.tolerance)
    later = load(model.name, device="cpu", store=model.store)
    assert [str(ask(later)) for ask in asked] == plain
    prints = [form(model, name).fingerprint("score") for name in FORMS]
    assert len({str(each) for each in [*prints, model.fingerprint("score")]}) == len(FORMS) + 1


def test_random_weights_and_half_precision_are_changed_too(model):
    for options in ({"random_seed": 0}, {"dtype": "bfloat16"}):
        plain, changed = (form(model, name, **options) for name in ("", "rtn2"))
        first, second = (np.concatenate(rank(it, ITEMS, progress=False)["scores"]) for it in (plain, changed))
        assert np.abs(first - second).max() > 1e-3


def test_names_of_forms_are_checked(model):
    for name in ("rtn9", "rtn1", "noise4", "noise4:01", "noise4:-1", "rtn4:0"):
        assert Simulated.read(name) is None
        with pytest.raises(BadInput, match=r"8bit, 4bit, rtn2 to rtn8, noise2:SEED to noise8:SEED"):
            form(model, name)
    for name in FORMS:
        assert Simulated.read(name).name == name
    with pytest.raises(BadInput, match="was loaded in rtn4 float32"):
        finetune(form(model, "rtn4"), None, model.store.path.parent / "out", None)


# The estimators ----------------------------------------------------------------------------------------------------


def ranked(scores, **more):
    """Return a table as `rank` makes it, of items with two choices, in three languages; the first choice is right."""
    count = len(scores)
    table = pd.DataFrame(
        {
            "id": [str(n) for n in range(count)],
            "task": "t",
            "template": "w",
            "language": [("en", "fr", "sw")[n % 3] for n in range(count)],
            "cluster": [str(n // 3) for n in range(count)],
            "gold": 0,
            "scores": [list(map(float, each)) for each in scores],
            "tokens": [[2, 1]] * count,
            "protocol": "xmtf",
        }
    )
    table["prediction"] = [int(np.argmax(each)) for each in scores]
    return table.assign(correct=table["prediction"] == 0, **more)


def test_the_loss_is_that_of_the_right_answer_in_nats():
    plain = ranked([(-1, -2), (-1, -2), (-3, -2)])
    found = losses(plain, ranked([(-1.5, -2), (-4, -2), (-1, -2)]))
    assert found["loss"].tolist() == [0.5, 3.0, -2.0]
    assert found["moved"].tolist() == [0.5, 3.0, 2.0]
    assert found["per_token"].tolist() == [0.25, 1.5, -1.0]
    assert found["flip"].tolist() == [0, 1, 1]
    control = [losses(plain, ranked([(-1 - at, -2), (-1, -2), (-3, -2)])) for at in (0, 1)]
    assert beyond(found, control)["loss"].tolist() == [0.0, 3.0, -2.0]
    backwards = found.iloc[::-1].reset_index(drop=True)
    assert beyond(backwards, control)["loss"].tolist() == [-2.0, 3.0, 0.0]


def test_tables_that_cannot_be_compared_are_refused():
    plain = ranked([(-1, -2)] * 3)
    with pytest.raises(BadInput, match="rank the same items"):
        losses(plain, plain.iloc[:2])
    with pytest.raises(BadInput, match="different protocols"):
        losses(plain, plain.assign(protocol="per-token"))
    with pytest.raises(BadInput, match="no loss"):
        losses(plain.assign(gold=None), plain)
    with pytest.raises(BadInput, match="nothing to compare"):
        beyond(losses(plain, plain), [])
    for exposure in ({"en": 1, "fr": 2}, {"en": 1, "fr": 1, "sw": 1}, {}):
        with pytest.raises(BadInput, match="three languages"):
            slope(losses(plain, plain), exposure)


def drawn(rng, effect, *, meanings=20, noise=0.5):
    """Return losses in languages whose own hardness is drawn; `effect` is added by language."""
    codes, hard, shared = list(effect), rng.normal(0, 0.3, len(effect)), rng.normal(0, 0.4, meanings)
    loss = hard[:, None] + np.array(list(effect.values()))[:, None] + shared
    loss = (loss + rng.normal(0, noise, loss.shape)).ravel()
    columns = {"language": np.repeat(codes, meanings), "cluster": np.tile(np.arange(meanings), len(codes))}
    table = pd.DataFrame({**columns, "loss": loss, "id": np.arange(len(loss)), "task": "t", "template": "w"})
    return table.assign(moved=np.abs(loss), per_token=loss, flip=0.0)


def test_the_slope_is_that_of_least_squares_and_its_test_tries_every_order():
    rng = np.random.default_rng(1)
    exposure = dict(zip("abcdef", [0.0, 0.5, 1.0, 1.0, 2.0, 3.0], strict=True))
    table = drawn(rng, dict.fromkeys(exposure, 0.0))
    found = slope(table, {**exposure, "unasked": 5.0})
    means = table.groupby("language")["loss"].mean()[list(exposure)].to_numpy()
    x = np.array(list(exposure.values()))
    fit = lambda y: np.polyfit(x, y, 1)[0]  # noqa: E731
    assert found.estimate == pytest.approx(fit(means))
    every = np.abs([fit(np.array(order)) for order in permutations(means)])
    assert found.p_value == pytest.approx(np.mean(every >= abs(found.estimate) - 1e-12))
    assert (found.orders, found.is_exact) == (factorial(6) // 2, True)
    assert found.low < found.estimate < found.high
    damaged = damage(table, ["language"]).set_index("language")
    assert damaged["loss"][list(exposure)].to_numpy() == pytest.approx(means)
    assert ((damaged["low"] < damaged["loss"]) & (damaged["loss"] < damaged["high"])).all()


def test_two_groups_have_as_many_orders_as_choices_and_many_languages_draw_theirs():
    codes = list("abcdefghijk")
    table = drawn(np.random.default_rng(2), dict.fromkeys(codes, 0.0))
    assert slope(table, {code: float(code < "e") for code in codes}).orders == 330
    assert (
        slope(table, {code: float(code == "a") for code in codes}).p_value >= 1 / 11
    )  # one language against ten
    many = slope(table, {code: place for place, code in enumerate(codes)})
    assert not many.is_exact
    assert many == slope(table, {code: place for place, code in enumerate(codes)})


def rejections(effect, exposure, seeds, control=True):
    """Return how often the slope, beyond that under noise of equal size, is significant."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        table = drawn(rng, effect)
        if control:
            table = beyond(table, [drawn(rng, dict.fromkeys(effect, 0.0)) for _ in range(3)])
        found.append(slope(table, exposure).p_value < 0.05)
    return np.mean(found)


def test_noise_of_equal_size_is_called_an_effect_in_at_most_6_percent():
    exposure = {code: float(place) for place, code in enumerate("abcdef")}
    assert rejections(dict.fromkeys(exposure, 0.0), exposure, 200) <= 0.06


def test_twin_a_slope_that_is_there_is_found():
    exposure = {code: float(place) for place, code in enumerate("abcdef")}
    assert rejections({code: -0.6 * at for code, at in exposure.items()}, exposure, 30) > 0.8


PLANTED = ["x-fr", "x-id", "x-zh", "x-es", "x-sw", "x-en30"]


def with_noisy_rows(handle, sizes, items, folder):
    """Copy a checkpoint and add noise to the embeddings of the tokens that only one language's prompts have."""
    ids = {
        code: {i for item in items if item.language == code for i in handle.hf.encode([item.prompt])[0]}
        for code in sizes
    }
    shutil.copytree(data_path(f"mini/models/{handle.name}"), folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith(("word_embeddings.weight", "shared.weight")))
    draw, table = torch.Generator().manual_seed(0), tensors[name].float()
    for code, size in sizes.items():
        own = sorted(ids[code] - set().union(*(ids[other] for other in sizes if other != code)))
        assert own, code
        table[own] += size * table.std() * torch.randn(len(own), table.shape[1], generator=draw)
    tensors[name] = table.to(tensors[name].dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return load(str(folder), device="cpu", store=handle.store)


@pytest.mark.parametrize("name", ["mini-bloomz", "mini-mt0"])
def test_noise_planted_in_a_languages_embeddings_is_found_in_proportion(name, tmp_path, store):
    """The exposure is invented: a language's words get the more noise the less of it there is said to be."""
    handle = load(name, device="cpu", store=store)
    asks = [one for one in task_templates("sentiment") if (one.language, one.name) == ("x-en", "ask")]
    items = make_items(read_rows("sentiment", PLANTED, 16), asks)
    exposure = {code: float(place) for place, code in enumerate(PLANTED)}
    sizes = {code: 2.0 * (1 - at / 5) for code, at in exposure.items()}
    planted = with_noisy_rows(handle, sizes, items, tmp_path / "planted")
    plain = rank(handle, items, progress=False)
    found = losses(plain, rank(planted, items, progress=False))
    graded = slope(found, exposure, value="moved")
    assert (graded.estimate < 0, graded.p_value < 0.05, graded.high < 0) == (True, True, True), graded
    noise = losses(plain, rank(form(handle, "noise4:0"), items, progress=False))
    more = slope(beyond(found, [noise]), exposure, value="moved")
    assert (more.p_value < 0.05, more.high < 0) == (True, True), more
    assert isinstance(more, Slope)
