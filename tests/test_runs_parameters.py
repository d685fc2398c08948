"""What the notebooks may be given is checked before anything starts, and a run is named after what it was given."""

import json
import subprocess
import sys

import pytest

from workbench import runs
from workbench.errors import BadInput
from workbench.family import shared_badge
from workbench.figures import badge_for
from workbench.models import load
from workbench.runs import names
from workbench.runs.identity import run_id_of
from workbench.runs.notebooks import find_notebook, read_notebook
from workbench.runs.parameters import check
from workbench.tasks import benchmarks, read_rows, read_sentences, task_templates
from workbench.tasks import tasks as shipped_tasks

LONG = {"models": ["mini-bloomz"], "bases": ["mini-bloom"], "english_models": [], "native_models": []}


def test_a_runs_name_keeps_the_short_parameter_that_a_sweep_goes_over():
    """The name was cut at its end: `…-native-models-limi-b9e51a19c65b` for every limit of a sweep."""
    for limit in (12, 24):
        found = run_id_of({}, {**LONG, "limit": limit})
        assert f"-limit-{limit}-" in found
        assert len(found) <= 60 + 1 + 12
    assert run_id_of({}, {"model": "models/mine", "languages": ["x-en"]}).startswith("mine-languages-x-en-")
    assert run_id_of({}, {}).startswith("default-")


def checked(number, values):
    (path,) = find_notebook("01_prompt_sensitivity").parent.glob(f"{number}_*.ipynb")
    return check(read_notebook(path), values)[0]


@pytest.mark.parametrize(
    ("number", "values", "said"),
    [
        ("01", {"tasks": ["sentimnt"]}, "^tasks has 'sentimnt'; did you mean sentiment"),
        ("01", {"tasks": ["translation"]}, "tasks has 'translation'; .*choose from: completion, copy"),
        (
            "01",
            {"languages": ["x-en", "fr"]},
            "languages, for the task how_many, has 'fr'; did you mean x-fr",
        ),
        ("01", {"prompt_language": "x-en30"}, "prompt_language has 'x-en30'"),
        ("01", {"open_task": "topic"}, "open_task: got 'topic' .* 'translation'"),
        ("01", {"open_languages": ["x-en"]}, "open_languages, .*'x-en'"),
        ("01", {"open_wordings": ["form_to"]}, "open_wordings has 'form_to'; did you mean from_to"),
        ("01", {"model": "bloomz-560m"}, "^mini-mt0 beside bloomz-560m: SYNTHETIC results never share"),
        ("02", {"models": ["bloomz-560m"]}, "^models has 1 name and bases 2; give as many$"),
        ("02", {"limt": 3}, "no parameter 'limt' in 02_language_transfer.ipynb; did you mean limit"),
        ("02", {"tasks": ["sentiments"]}, "did you mean sentiment"),
        ("02", {"left_out": ["x-xx"]}, "left_out, .*'x-xx'"),
        ("02", {"wordings": ["aks"]}, "wordings has 'aks'; did you mean ask"),
        ("02", {"wordings": ["after_numbers"]}, "wordings has 'after_numbers'"),
        ("02", {"bases": ["bloom-560m", "mini-mt5"]}, "mini-mt5.* beside bloom-560m"),
        ("03", {"languages": ["x-fr"]}, "pivot has 'x-en'; .*choose from: x-fr"),
        ("03", {"pivot": "en"}, "pivot has 'en'"),
        ("03", {"encoder_decoder": "mt0-small"}, "mini-bloomz beside mt0-small"),
        ("04", {"task": "xcop"}, "task has 'xcop'; did you mean xcopa"),
        ("04", {"languages": ["en"]}, "languages has 'en'; .*choose from: et"),
        ("04", {"checkpoints": ["mini-bloomz", "bloomz-560m"]}, "mini-bloomz beside bloomz-560m"),
        ("04", {"miniatures": ["mini-bloomz", "bloomz-560m"]}, "mini-bloomz beside bloomz-560m"),
        ("04", {"mini_tasks": ["xcopa"]}, "mini_tasks has 'xcopa'"),
        ("04", {"mini_languages": ["fr"]}, "mini_languages, .*'fr'"),
    ],
)
def test_names_that_mean_nothing_are_refused_in_one_sentence(number, values, said):
    """They failed inside a cell, after models had been read."""
    with pytest.raises(BadInput, match=said):
        checked(number, values)


@pytest.mark.parametrize(
    ("number", "values"),
    [
        ("01", {"model": "bloomz-560m", "partner_model": "mt0-small", "tasks": ["entailment"], "languages": ["x-en00r"]}),
        ("01", {"prompt_language": "x-fr", "open_wordings": ["to"], "open_languages": ["x-zh"]}),
        ("02", {**LONG, "models": ["bloomz-560m"], "bases": ["bloom-560m"]}),
        ("03", {"languages": ["x-fr", "x-sw"], "pivot": "x-fr"}),
        ("04", {"task": "mine", "data": "rows", "templates": "t.toml", "languages": ["no"]}),
        ("04", {"task": "entailment", "checkpoints": ["bloomz-560m", "mt0-small"], "languages": ["x-fr"]}),
    ],
)  # fmt: skip
def test_names_that_mean_something_are_taken(number, values):
    assert checked(number, values).items() >= values.items()


def test_the_names_are_those_that_the_rooms_read():
    assert list(names.tasks()) == shipped_tasks()
    assert names.published_tasks() == {name: one.languages for name, one in benchmarks().items()}
    assert set(names.languages("sentences")) == {row["language"] for row in read_sentences()}
    for task in names.tasks():
        read = task_templates(task)
        assert [(one["name"], one["language"]) for one in names.wordings(task)] == [
            (w.name, w.language) for w in read
        ]
        assert set(names.languages(f"tasks/{task}")) == {row["language"] for row in read_rows(task)}
        assert (task in names.ranked_tasks()) == all(w.answer_choices is not None for w in read)


def is_refused(ask, models):
    try:
        ask(models)
    except ValueError as error:
        return "never share a figure" in str(error)
    return False


@pytest.mark.parametrize(
    ("models", "refused"),
    [(["mini-bloomz", "mini-mt0"], False), (["bloomz", "mt0-xl"], False), (["mini-mt0", "mt0-xl"], True)],
)
def test_models_are_refused_together_where_figures_would_refuse_them(models, refused, store):
    assert is_refused(shared_badge, models) == refused
    assert (
        is_refused(lambda given: badge_for(*(load(name, store=store) for name in given)), models) == refused
    )


def test_a_sweep_with_a_name_that_means_nothing_starts_no_run(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('notebook = "01_prompt_sensitivity"\n[product]\ntasks = [["sentiment"], ["sentimnt"]]\n')
    with pytest.raises(BadInput, match="did you mean sentiment"):
        runs.sweep(file, root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_checking_names_waits_for_no_torch_and_no_pandas():
    code = (
        "import sys\n"
        "from workbench.runs.schemas import SCHEMAS\n"
        "for schema in SCHEMAS.values(): schema()\n"
        "assert not {'torch', 'transformers', 'pandas', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def notebook(folder, cell):
    path = folder / "mine.ipynb"
    cells = [
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "source": cell,
            "outputs": [],
            "execution_count": None,
        }
    ]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
    return read_notebook(path)


@pytest.mark.parametrize(
    "text", ["~", "~ 5 of them", "~nosuchuser/x", "./", "../", "../rows", "rows/a", "/", "a/" + "b" * 400]
)
def test_text_stays_text_and_what_names_files_is_found_from_here(tmp_path, monkeypatch, text):
    """A text that begins with `~`, `./` or `../`, or that some folder is named like, was rewritten into a path."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a").touch()
    monkeypatch.chdir(tmp_path / "rows")
    mine = notebook(tmp_path, "prompt = ''\ndata = ''\nmodels = ['x']")
    assert check(mine, {"prompt": text})[1] == {"prompt": text}
    found = check(mine, {"data": "../rows/a", "models": ["../rows", "rows/a", "mini-bloom"]})[1]
    here = tmp_path / "rows" / ".." / "rows"
    assert found == {"data": str(here / "a"), "models": [str(here), "rows/a", "mini-bloom"]}


SECRET_NAMES = [
    "hf_token", "token", "tokens", "pwd", "auth", "auth_header", "bearer", "key", "openai_key", "api_key", "apikey", "apiKey",
    "AWS_SECRET_ACCESS_KEY", "cookie", "password", "db_passwd", "credentials", "client_secret", "private_key", "hftoken",
]  # fmt: skip
PLAIN_NAMES = [
    "tokenizer", "tokenizers", "max_new_tokens", "batch_tokens", "key_metric", "author", "authors", "keyboard", "eos_token",
    "special_tokens", "sort_key", "text_key", "monkey", "secretary", "tokenization", "bearing", "cookies_recipe", "passage",
]  # fmt: skip
SECRET_VALUES = [
    "github_pat_" + "A1b2" * 8, "ghp_" + "A1b2" * 9, "glpat-" + "A1b2" * 5, "xoxb-123456789012-abcdef", "hf_" + "A1b2" * 9,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghij0123456789", "AIza" + "A1b2C" * 7, "-----BEGIN RSA PRIVATE KEY-----",
    "postgres://u:p@host/db", "see https://me:pass@example.org/x", "sk-" + "A1b2" * 8, "sk-proj-" + "A1b2" * 8,
    "AKIAABCDEFGHIJKLMNOP", "Authorization: Bearer " + "A1b2" * 8,
]  # fmt: skip
PLAIN_VALUES = [
    "bigscience/bloomz-7b1-mt", "sk-en-parallel-corpus-2020-v1", "https://example.org:8080/a@b", "user@example.org", "eyJ", "a:b@c",
    "3f786850e387550fdab836ed7e6dc881de23001b", "postgres://host/db", "the bearer of bad news is here", "hf_dataset", "-----",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_of_a_secret_is_refused_in_the_cell_and_inside_a_parameter(tmp_path, name):
    with pytest.raises(BadInput, match="looks like a secret"):
        check(notebook(tmp_path, f"{name} = 'x'"), {})
    with pytest.raises(BadInput, match="looks like a secret"):
        check(notebook(tmp_path, "options: dict = {}"), {"options": {"inside": [{name: "x"}]}})


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_a_name_that_only_resembles_one_is_taken(tmp_path, name):
    assert check(notebook(tmp_path, f"{name} = 'x'"), {})[0] == {name: "x"}


def test_a_value_that_is_a_secret_is_refused_and_not_repeated_and_others_are_taken(tmp_path):
    mine = notebook(tmp_path, "text = ''\ntexts: list[str] = []\ntokens = 20")
    for text in SECRET_VALUES:
        for values in ({"text": text}, {"texts": ["x", text]}):
            with pytest.raises(BadInput, match="looks like a secret") as error:
                check(mine, values)
            assert text not in str(error.value)
    for text in PLAIN_VALUES:
        assert check(mine, {"text": text})[1] == {"text": text}


@pytest.mark.parametrize("seed", ["x", 1.5, True, -1, float("nan"), None, "1"])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(BadInput, match=r"seed|finite"):
        checked("03", {"seed": seed})


@pytest.mark.parametrize(
    "value", ["half \ud83d", [["[" * 5] * 3, {"x": "\udcff"}], float("inf"), {1, 2}, b"x"]
)
def test_a_value_that_no_manifest_can_hold_is_refused(tmp_path, value):
    with pytest.raises(BadInput, match="written in UTF-8"):
        check(notebook(tmp_path, "anything: Any = ''"), {"anything": value})
