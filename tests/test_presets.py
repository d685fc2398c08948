"""Presets fit the notebooks that they name, and a preset or notebook that does not exist is refused with the list."""

import shutil
from pathlib import Path

import pytest

from workbench.errors import BadInput, UnknownName
from workbench.family import checkpoints
from workbench.paths import notebook_path
from workbench.playground.examples import CARD_PROMPTS
from workbench.runs import find_notebook, read_notebook, read_preset
from workbench.runs.parameters import check, models_in
from workbench.runs.presets import presets
from workbench.runs.sweep_file import plan_sweep

SHIPPED = presets()


def runs_of(preset):
    """Every (notebook, parameters) of a preset."""
    for name, values in preset.run.items():
        yield read_notebook(find_notebook(name)), values
    for name in preset.sweep:
        path = find_notebook(name)
        yield from ((read_notebook(path), values) for values in preset.sweep_file(path).combinations())


def test_the_four_presets_ship():
    assert SHIPPED == ["card", "gpu", "laptop", "sizes"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_preset_fits_each_notebook_it_names_and_its_models_are_in_the_catalogue(name):
    known = {one.name for one in checkpoints()}
    preset = read_preset(name)
    assert preset.about
    for notebook, values in runs_of(preset):
        parameters, given = check(
            notebook, values
        )  # types, conditions, and languages and tasks of the source
        assert set(given) == set(values)
        named = models_in(notebook, parameters)
        assert named
        assert set(named) <= known


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('model = "bloomz-560m"', 'modle = "bloomz-560m"', "no parameter 'modle'"),
        ('source = "lexicon"', 'source = "lexicon"\nlanguages = ["tlh"]', "tlh"),
        ("limit = 48", 'limit = "48"', "limit"),
    ],
)
def test_twin_a_preset_that_does_not_fit_is_found(old, new, match, tmp_path):
    text = notebook_path("presets/laptop.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    notebook, values = next(runs_of(read_preset(str(path))))
    with pytest.raises((BadInput, UnknownName), match=match):
        check(notebook, values)


def test_the_sizes_are_the_whole_row_each_beside_its_base_and_the_sweep_is_named_after_both():
    row = {
        one.name: one.parent for one in checkpoints() if one.mixture == "xP3" and one.architecture == "bloom"
    }
    path = find_notebook("02_language_transfer")
    name, _, plans = plan_sweep(read_preset("sizes").sweep_file(path))
    assert name == "sizes-02_language_transfer"
    pairs = {plan.parameters["models"][0]: plan.parameters["bases"][0] for plan in plans}
    assert pairs == row
    for notebook in ("01_prompt_sensitivity", "07_quantization"):
        assert set(read_preset("sizes").sweep[notebook]["product"]["model"]) == set(row)


def test_the_card_asks_every_prompt_of_the_cards_by_its_name():
    values = read_preset("card").sweep["00_playground"]["product"]["prompt"]
    assert values == list(CARD_PROMPTS)


@pytest.mark.parametrize("name", ["laptpo", "", "../laptop", "laptop.toml", "/etc/passwd"])
def test_a_preset_that_does_not_exist_is_refused_with_the_list(name):
    with pytest.raises(UnknownName, match=r"no preset .* choose one of: card, gpu, laptop, sizes"):
        read_preset(name)


def test_a_preset_says_what_it_is_for():
    with pytest.raises(
        UnknownName, match=r"'laptop' .* 05_multi.*: workbench run 01_prompt_sensitivity --preset"
    ):
        read_preset("laptop").values(Path("05_multitask_finetuning.ipynb"))
    with pytest.raises(UnknownName, match="workbench sweep 02_language_transfer --preset sizes"):
        read_preset("sizes").values(Path("02_language_transfer.ipynb"))


@pytest.mark.parametrize(
    "text", ["[run", "[runs.a]", "about = 3", "run = 1", "[run.a]\n[sweep.02_language_transfer]\nworkers = 0"]
)
def test_a_file_that_is_no_preset_is_refused(text, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((BadInput, UnknownName), match=r"mine\.toml"):
        read_preset(str(path)).sweep_file(Path("02_language_transfer.ipynb"))


def test_a_preset_of_ones_own_is_a_file(tmp_path):
    shutil.copy(notebook_path("presets/laptop.toml"), tmp_path / "mine.toml")
    mine, theirs = read_preset(str(tmp_path / "mine.toml")), read_preset("laptop")
    assert mine.run == theirs.run
