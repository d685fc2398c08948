"""What the notebooks may be given is checked before anything starts, and a run is named after what it was given."""

import json
import subprocess
import sys

import pytest

from workbench import runs
from workbench.errors import BadInput, UnknownName
from workbench.family import shared_badge
from workbench.figures import badge_for
from workbench.models import load
from workbench.paths import data_path
from workbench.runs import types
from workbench.runs.notebooks import find_notebook, read_notebook
from workbench.runs.parameters import check, models_in
from workbench.runs.run_id import run_id_of
from workbench.tasks import read_rows, read_sentences, task_templates
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
        ("01", {"tasks": ["sentimnt"]}, "^parameter tasks.0: got 'sentimnt' – did you mean sentiment"),
        ("01", {"tasks": ["translation"]}, "got 'translation' – .*choose from: completion, copy"),
        (
            "01",
            {"source": "lexicon", "tasks": ["xnli"]},
            "lexicon has no task 'xnli'; it has: lexicon/meanings",
        ),
        (
            "01",
            {"source": "lexicon", "languages": ["fon"]},
            "'lexicon/words' has no language 'fon'; it has: es",
        ),
        ("01", {"model": "bloomz-560m", "languages": ["x-fr"]}, "'lexicon/words' has no language 'x-fr'"),
        (
            "01",
            {"source": "lexicon", "prompt_language": "x-en"},
            "has no wordings in 'x-en'; it has some in: en",
        ),
        (
            "01",
            {"source": "lexikon"},
            "no task is known to fit lexikon; name the tasks, or a source: miniature, lexicon",
        ),
        ("01", {"source": str(data_path("examples"))}, "no task is known to fit .*examples; name the tasks"),
        ("01", {"languages": ["x-en", "fr"]}, "languages.1: got 'fr' – did you mean x-fr"),
        ("01", {"prompt_language": "x-en30"}, "prompt_language: got 'x-en30'"),
        ("01", {"open_wordings": ["form_to"]}, "open_wordings.0: got 'form_to' – did you mean from_to"),
        ("01", {"limit": 7}, "^limit: 8 or more; got limit = 7"),
        ("01", {"open_limit": 7}, "^open_limit: 8 or more; got open_limit = 7"),
        ("01", {"model": "mini-blomz"}, "no checkpoint called 'mini-blomz'; nearest: mini-bloomz"),
        ("01", {"model": ""}, "parameter model: got '' – give a short name, a hub id or a folder"),
        ("02", {"models": ["bloomz-560m"], "bases": ["bloom-560m"] * 2}, "^give as many bases as models"),
        ("02", {"models": ["bloom-560m"]}, "bloom-560m was only pretrained, so no base is known for it"),
        ("02", {"models": ["some/one"]}, "some/one is not in the catalogue, so no base is known for it"),
        (
            "02",
            {"models": ["bloomz-560m", "bigscience/bloomz-560m"]},
            "^bloomz-560m, bigscience/.* more than once",
        ),
        ("02", {"english_models": ["mini-bloomz", "mini-mt0-p3"]}, "^mini-bloomz is named more than once"),
        ("02", {"bases": ["mini-bloomz", "mini-mt5"]}, "^mini-bloomz is named more than once"),
        ("01", {"partner_model": "mt0-small"}, "mini-bloomz, mini-bloom with mt0-small"),
        ("01", {"model": "bloomz-560m", "partner_model": "mini-mt0"}, "mini-mt0 with bloomz-560m"),
        ("01", {"revision": "main"}, "'mini-bloomz' is a folder and has no revisions"),
        ("01", {"quantization": "int8"}, "quantization: got 'int8' – input should be '', '8bit' or '4bit'"),
        ("02", {"quantization": "16bit"}, "quantization: got '16bit'"),
        ("03", {"quantization": "2bit"}, "quantization: got '2bit'"),
        (
            "01",
            {"model": "http://127.0.0.1:9/v1#bloomz", "quantization": "8bit"},
            "the engine 'openai' has no quantization '8bit'",
        ),
        ("02", {"english_models": ["mini-mt0-p3"]}, "give as many english_models as models, or none"),
        ("02", {"limt": 3}, "no parameter 'limt' in 02_language_transfer.ipynb; did you mean limit"),
        ("02", {"tasks": ["sentiments"]}, "did you mean sentiment"),
        ("02", {"languages": ["x-xx"]}, "languages.0: got 'x-xx'"),
        ("02", {"wordings": ["aks"]}, "wordings.0: got 'aks' – did you mean ask"),
        ("02", {"bases": ["bloom-560m", "mini-mt5"]}, "mini-mt5.* with bloom-560m"),
        (
            "03",
            {"languages": ["x-fr"], "pivot": "x-en"},
            "the pivot must be one of the languages; got pivot = 'x-en', languages",
        ),
        ("03", {"pivot": "en"}, "pivot: got 'en'"),
        (
            "03",
            {"source": "lexicon", "attribute": "topic"},
            "have no attribute 'topic' to read; choose one of: kind",
        ),
        ("03", {"attribute": "colour"}, "no attribute 'colour' to read; choose one of: kind, person, verb"),
        (
            "03",
            {"source": "published", "task": "xwinograd"},
            "xwinograd has no texts for probes; .*xnli, xcopa",
        ),
        (
            "03",
            {"source": "parallel", "task": "topic"},
            "texts of parallel are not those of a task; drop 'topic'",
        ),
        ("03", {"encoder_decoder": "mt0-small"}, "mini-bloomz with mt0-small"),
        ("04", {"checkpoints": ["mini-bloomz", "bloomz-560m"]}, "mini-bloomz with bloomz-560m"),
        ("04", {"miniatures": ["mini-bloomz", "bloomz-560m"]}, "mini-bloomz with bloomz-560m"),
        ("04", {"mini_tasks": ["xcopa"]}, "mini_tasks.0: got 'xcopa'"),
        ("04", {"mini_languages": ["fr"]}, "mini_languages.0: got 'fr'"),
        ("05", {"model": "mini-bloomz"}, "model: got 'mini-bloomz' .*'mini-bloom'"),
        (
            "05",
            {"family": "mine"},
            "give the folder of a family and its answers, or neither; got family = 'mine'",
        ),
        ("07", {"answer_bits": 7}, "^answer_bits: one of bits; got .*answer_bits = 7"),
        ("07", {"bits": [4, 1]}, "bits.1: got 1"),
        ("07", {"packed": ["2bit"]}, "packed.0: got '2bit'"),
        ("07", {"other_forms": ["mini-mt0", "mini-mt0"]}, "mini-mt0 is named more than once"),
    ],
)
def test_names_that_mean_nothing_are_refused_in_one_sentence(number, values, said):
    """They failed inside a cell, after models had been read."""
    with pytest.raises((BadInput, UnknownName), match=said):
        checked(number, values)


def test_other_forms_of_a_model_may_stand_beside_it(tmp_path):
    """A GGUF file of mini-bloomz was taken for mini-bloomz itself, named twice."""
    notebook = read_notebook(find_notebook("07_quantization"))
    forms = [f"{tmp_path}/{kind}.gguf#mini-bloomz" for kind in ("Q8_0", "Q4_0")]
    assert check(notebook, {"other_forms": forms})[0]["other_forms"] == forms
    with pytest.raises(BadInput, match="is named more than once"):
        check(notebook, {"other_forms": [forms[0]] * 2})
    with pytest.raises(BadInput, match="SYNTHETIC results never share a figure"):
        check(notebook, {"other_forms": [f"{tmp_path}/Q8_0.gguf#bloomz-560m"]})


@pytest.mark.parametrize(
    ("number", "values"),
    [
        ("01", {"model": "bloomz-560m"}),
        ("01", {"model": "bloomz-560m", "source": "miniature", "tasks": ["entailment"], "languages": ["x-en00r"]}),
        ("01", {"model": "mt0-small", "tasks": ["words", "months"], "languages": ["yo", "th"], "prompt_language": "en"}),
        ("01", {"source": str(data_path("examples/xnli")), "tasks": ["xnli"], "languages": ["fr", "sw"]}),
        ("03", {"model": "bloomz-560m", "encoder_decoder": "mt0-small", "languages": ["en", "yo"]}),
        ("03", {"attribute": "polarity"}),
        ("01", {"prompt_language": "x-fr", "open_wordings": ["to"], "open_languages": ["x-zh"]}),
        ("02", {**LONG, "models": ["bloomz-560m"], "bases": ["bloom-560m"]}),
        ("01", {"model": "bloomz-560m", "partner_model": "mt0-small", "revision": "main"}),
        ("03", {"model": "mt0-small", "source": str(data_path("examples/xnli")), "pivot": "fr"}),
        ("03", {"languages": ["x-fr", "x-sw"], "pivot": "x-fr"}),
        ("04", {"task": "mine", "data": "rows", "templates": "t.toml", "languages": ["no"]}),
        ("02", {"english_models": [], "native_models": []}),
        ("05", {"family": "mine", "answers": "mine.parquet"}),
        ("04", {"task": "entailment", "checkpoints": ["bloomz-560m", "mt0-small"], "languages": ["x-fr"]}),
    ],
)  # fmt: skip
def test_names_that_mean_something_are_taken(number, values):
    assert checked(number, values).items() >= values.items()


def test_models_alone_bring_their_bases_and_leave_out_partners_of_another_kind():
    """A partner remained a miniature, which was noticed only after the models had been read."""
    found = checked("02", {"models": ["bloomz-7b1-mt", "mt0-small"]})
    assert found["bases"] == ["bloom-7b1", "mt5-small"]
    assert found["english_models"] == found["native_models"] == []
    assert checked("01", {"model": "bloomz-560m"})["partner_model"] == ""
    assert checked("03", {"model": "bloomz-560m"})["encoder_decoder"] == ""
    # the twins: of one kind, defaults stay, and what is given is taken
    assert checked("01", {"model": "mini-bloomz-mt"})["partner_model"] == "mini-mt0"
    assert checked("02", {"models": ["mini-mt0", "mini-bloomz"]})["bases"] == ["mini-mt5", "mini-bloom"]
    assert checked("02", {"models": ["bloomz"], "bases": ["bloom-3b"]})["bases"] == ["bloom-3b"]
    assert checked("02", {})["english_models"] == ["mini-bloomz-p3", "mini-mt0-p3"]


def test_the_names_are_those_that_the_rooms_read():
    read = {task: task_templates(task) for task in shipped_tasks()}
    ranked = [task for task, found in read.items() if all(w.answer_choices is not None for w in found)]
    assert types.tasks() == ranked
    assert {"translation", "continuation"}.isdisjoint(ranked)
    rows = [row for task in shipped_tasks() for row in (*read_rows(task), *read_sentences())]
    assert set(types.languages()) == {row["language"] for row in rows}
    assert {w.name for found in read.values() for w in found} <= set(types.template_names())
    assert {w.language for found in read.values() for w in found} == set(types.template_languages())


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
        "from workbench.runs.notebooks import find_notebook, read_notebook\n"
        "from workbench.runs.parameters import check\n"
        "for number in range(1, 6):\n"
        "    (path,) = find_notebook('03_probing').parent.glob(f'0{number}_*.ipynb')\n"
        "    check(read_notebook(path), {})\n"
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


# What a cell may declare -------------------------------------------------------------------------------------------

DECLARING = """'What it takes.'
from typing import Literal
from workbench.runs import Model, OtherModel, Task
kind: Literal["a", "b", 3, None] = "a"  # closed
models: list[Model] = ["one/two"]
either: Model | None = None
others: dict[str, list[OtherModel]] = {}
told: Model = "bloom-560m"
plain: str = "mini-bloomz"
count: int = 3
assert count > -1
assert plain not in ("x", "y") and not set(models) & set(["z"]) or count, "unlikely"
"""


def test_models_are_found_by_declared_types_and_by_the_names_of_checkpoints(tmp_path):
    """They were found by a pattern over the names of parameters."""
    mine = notebook(tmp_path, DECLARING)
    assert models_in(mine, check(mine, {})[0]) == ["one/two", "bloom-560m", "mini-bloomz"]
    given = {
        "plain": "three/four",
        "either": "mt0-small",
        "others": {"x": ["bloomz", "five/six"]},
        "told": "mt5-small",
    }
    assert models_in(mine, check(mine, given)[0]) == [
        "one/two",
        "mt0-small",
        "bloomz",
        "five/six",
        "mt5-small",
    ]
    by_name = notebook(tmp_path, "model = 'one/two'\nbase = 'bigscience/bloomz-560m'")
    assert models_in(by_name, check(by_name, {})[0]) == ["bigscience/bloomz-560m"]


def test_a_closed_choice_takes_what_it_lists(tmp_path):
    mine = notebook(tmp_path, DECLARING)
    for value in ("b", 3, None):
        assert check(mine, {"kind": value})[1] == {"kind": value}
        assert runs.parse(mine, {"kind": str(value)}) == {"kind": value}
    for value in ("c", 4, "3"):
        with pytest.raises(BadInput, match=f"parameter kind: got {value!r}"):
            check(mine, {"kind": value})


def test_a_condition_without_a_message_is_its_own(tmp_path):
    mine = notebook(tmp_path, DECLARING)
    with pytest.raises(BadInput, match=r"^count > -1 does not hold; got count = -2$"):
        check(mine, {"count": -2})
    with pytest.raises(BadInput, match="count < plain of the parameters cell cannot be computed"):
        check(notebook(tmp_path, "count = 3\nplain = 'x'\nassert count < plain"), {})


@pytest.mark.parametrize(
    "line",
    [
        "x = open('made', 'w')", "x: int = f()", "import os", "from os import remove", "_hidden = 1", "x: int", "x += 1",
        "assert open('made', 'w')", "assert (lambda: x)()", "assert x.real", "assert x ** x", "assert [y for y in x]",
        "assert x, f'{x}'", "if x: y = 1", "x = y = 1", "x[0] = 1", "assert x[0]", "assert (x := 2)", "print(x)",
    ],
)  # fmt: skip
def test_nothing_but_declarations_and_conditions_is_taken_and_nothing_is_executed(
    tmp_path, monkeypatch, line
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"line 2 of the parameters cell, .* is neither"):
        check(notebook(tmp_path, f"x = 1\n{line}"), {})
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", ["'int'", "list['open(1)']", "np.ndarray", "f(1)", "tuple[int]", "Unknown"])
def test_a_type_that_is_not_known_is_not_checked(tmp_path, kind):
    mine = notebook(tmp_path, f"x: {kind} = 1\ny: int = 1")
    assert check(mine, {"x": [1]})[1] == {"x": [1]}
    with pytest.raises(BadInput, match="parameter y"):
        check(mine, {"y": [1]})
