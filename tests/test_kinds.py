"""Tasks that are not ranked, and those outside the published evaluation: from rows in the published schema to tables."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sacrebleu.metrics.chrf import CHRF

from workbench.errors import BadInput, UnknownName
from workbench.inference.generation import generate
from workbench.inference.scoring import score
from workbench.models import load
from workbench.paths import data_path
from workbench.studies.evaluation import EvaluationSpec, evaluate, make_plan
from workbench.studies.evaluation.asking import chrf, overlap
from workbench.tasks import benchmarks, read_benchmark, read_data

EXAMPLES = data_path("examples")
PLACES = {"flores_to_en": "flores_plus", "flores_from_en": "flores_plus"}
OTHERS = [name for name, one in benchmarks().items() if not one.published]


@pytest.fixture(scope="module")
def roomy(checkpoints, tmp_path_factory):
    """The random checkpoints with the context of BLOOM, into which a passage and its answer fit."""
    root = tmp_path_factory.mktemp("roomy")
    for side, folder in checkpoints.items():
        settings = shutil.copytree(folder, root / side) / "tokenizer_config.json"
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_max_length": 2048}))
    return {side: root / side for side in checkpoints}


@pytest.fixture(params=["bloom", "mt5"])
def model(request, roomy, store):
    """A handle on each architecture in turn."""
    return load(str(roomy[request.param]), device="cpu", store=store)


def example(name):
    return EXAMPLES / PLACES.get(name, name)


def plan_of(name, **change):
    """A plan of the example rows, whose generated answers are short: random weights never end one."""
    plan = make_plan(name, data=example(name), **change)
    return replace(plan, benchmark=replace(plan.benchmark, longest=12)) if plan.is_generated else plan


@pytest.mark.parametrize("name", OTHERS)
def test_rows_in_the_published_schema_are_evaluated_end_to_end(name, model, tmp_path):
    plan = plan_of(name, limit=2)
    result = EvaluationSpec([model], plan).run()
    assert result.write(tmp_path)[0].name == "items.parquet"
    table = result.tables["by_language"]
    assert set(plan.languages) <= set(table["language"])
    assert table["mean"].between(0, 1).all()
    assert len(result.items) == len(plan.items)
    assert len(pd.read_parquet(tmp_path / "items.parquet")) == len(plan.items)
    assert result.tables["by_template"]["template"].nunique() == (1 if plan.kind == "pairs" else 5)


@pytest.mark.parametrize("name", OTHERS)
def test_a_source_gives_the_items_that_an_evaluation_asks(name):
    data = read_data(name, example(name))
    assert [(one.prompt, one.choices, one.gold) for one in data.items()] == sorted(
        ((one.prompt, one.choices, one.gold) for one in plan_of(name).items),
        key=[(one.prompt, one.choices, one.gold) for one in data.items()].index,
    )
    assert bool(data.contaminated) == (name not in ("afrixnli", "global_mmlu", "multiblimp"))


def test_languages_are_named_by_our_codes_and_found_by_the_hubs():
    belebele = benchmarks()["belebele"]
    assert belebele.pattern("sw") == "swh_Latn/test/*.parquet"
    assert {row["language"] for row in read_benchmark(belebele, data=example("belebele"))} == {"en", "fr"}
    assert {row["language"] for row in read_benchmark(benchmarks()["xquad"], data=example("xquad"))} == {
        "en",
        "zh",
    }
    for one in benchmarks().values():
        assert len(set(one.codes.values())) == len(one.codes), one.name
    with pytest.raises(UnknownName, match="no language 'swh_Latn'; it has: acm"):
        read_benchmark(belebele, ["swh_Latn"], data=example("belebele"))


def test_parallel_rows_share_a_meaning_wherever_they_stand_in_their_file():
    for name, fields in (
        ("belebele", ("link", "question_number")),
        ("xquad", ("id",)),
        ("global_mmlu", ("sample_id",)),
    ):
        rows = read_benchmark(benchmarks()[name], data=example(name))
        first, second = dict.fromkeys(row["language"] for row in rows)
        of = {code: {row["cluster"] for row in rows if row["language"] == code} for code in (first, second)}
        assert of[first] == of[second], name
        assert len(of[first]) == len(rows) / 2, (name, fields)


def test_of_a_pair_the_likelier_text_is_chosen_by_its_score_alone(model):
    plan = plan_of("multiblimp")
    table = evaluate(model, plan)
    texts = [text for item in plan.items for text in item.choices]
    sums = [sum(one for one in each.logprobs if one is not None) for each in score(model, texts)]
    assert np.allclose(table["scores"].explode().astype(float), sums)
    assert table["correct"].tolist() == [
        right > wrong for right, wrong in zip(sums[::2], sums[1::2], strict=True)
    ]
    assert set(table["choices"].map(len)) == {2}


def test_a_pair_of_equal_texts_is_refused(tmp_path):
    (tmp_path / "eng").mkdir()
    (tmp_path / "eng/data.jsonl").write_text(json.dumps({"sen": "A cat", "wrong_sen": "A cat"}) + "\n")
    with pytest.raises(BadInput, match="line 1 has the same text twice, 'A cat'"):
        make_plan("multiblimp", data=tmp_path)


@pytest.mark.parametrize("name", ["xquad", "flores_from_en"])
def test_an_answer_is_what_generate_gives_and_is_compared_with_all_right_texts(name, model):
    plan = plan_of(name)
    table = evaluate(model, plan)
    alone = generate(model, [item.prompt for item in plan.items], max_new_tokens=12)
    lines = [one.text.strip().partition("\n")[0].strip() for one in alone]
    assert table["prediction"].tolist() == lines
    if name == "xquad":
        assert ("Ada Moor" in plan.accepted[("a1b2", "en")], len(plan.accepted[("a1b2", "en")])) == (True, 2)
        expected = [
            overlap(line, plan.accepted[(item.cluster, item.language)])
            for line, item in zip(lines, plan.items, strict=True)
        ]
        assert table["f1"].tolist() == expected
    else:
        assert table["correct"].tolist() == [
            chrf(line, [item.target]) for line, item in zip(lines, plan.items, strict=True)
        ]


@pytest.mark.parametrize(
    ("answer", "accepted", "f1"),
    [
        ("the engineer Ada Moor", ["Ada Moor"], 2 * 2 / 6),
        ("ADA MOOR.", ["nobody", "Ada Moor"], 1),
        ("240", ["240 metres"], 2 / 3),
        ("工程师阿达", ["阿达"], 2 * 2 / 7),
        ("a a", ["a"], 2 / 3),
        ("", ["a"], 0),
        ("?", ["a"], 0),
    ],
)
def test_the_overlap_of_words_is_known_by_hand(answer, accepted, f1):
    assert overlap(answer, accepted) == pytest.approx(f1)


def test_chrf_is_sacrebleus_as_a_fraction():
    right = "The bridge is closed until Monday."
    assert chrf(right, [right]) == pytest.approx(1)
    assert chrf("xyz", [right]) < 0.05
    for other in ("A bridge is closed.", "Closed until Monday is the bridge"):
        assert chrf(other, [right]) == pytest.approx(CHRF().sentence_score(other, [right]).score / 100)


def test_a_translation_goes_into_the_pivot_or_out_of_it_and_never_asks_the_pivot():
    into = [
        row
        for row in read_benchmark(benchmarks()["flores_to_en"], data=example("flores_to_en"))
        if row["cluster"] == "2"
    ]
    out = [
        row
        for row in read_benchmark(benchmarks()["flores_from_en"], ["sw"], data=example("flores_from_en"))
        if row["cluster"] == "2"
    ]
    assert {(row["source"], row["target"], row["target_language"]) for row in into} == {
        ("Hakuna aliyeumia.", "Nobody was hurt.", "English"),
        ("Niemand wurde verletzt.", "Nobody was hurt.", "English"),
    }
    [only] = out
    assert (only["source"], only["target"], only["target_language"]) == (
        "Nobody was hurt.",
        "Hakuna aliyeumia.",
        "Swahili",
    )
    with pytest.raises(UnknownName, match="no language 'en'"):
        make_plan("flores_to_en", ["en"], data=example("flores_to_en"))


def test_a_translation_without_its_pivot_is_refused(tmp_path):
    shutil.copytree(example("flores_to_en"), tmp_path / "flores")
    (tmp_path / "flores/devtest/eng_Latn.jsonl").unlink()
    with pytest.raises(UnknownName, match="no rows of flores_to_en in en"):
        make_plan("flores_to_en", ["sw"], data=tmp_path / "flores")
    with pytest.raises(BadInput, match="has the meaning '0' in 'de' and not in 'en'"):
        make_plan("flores_to_en", data=tmp_path / "flores")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("multiblimp", {"shots": 1}, "has no prompt; leave out templates"),
        ("multiblimp", {"prompt_language": "native"}, "has no prompt; leave out templates"),
        (
            "paws_x",
            {"templates": EXAMPLES, "prompt_language": "en"},
            "no published prompts are known for 'paws_x'",
        ),
        ("xquad", {"names": ["no such"]}, "no template called 'no such'"),
    ],
)
def test_what_a_kind_cannot_do_is_one_sentence(name, change, message):
    with pytest.raises((BadInput, UnknownName), match=message):
        plan_of(name, **change)


def test_a_protocol_of_ranking_is_refused_where_nothing_is_ranked(model):
    with pytest.raises(BadInput, match="'multiblimp' is not ranked"):
        evaluate(model, plan_of("multiblimp"), protocol="pmi")


def test_exemplars_of_a_generated_task_end_with_their_answer():
    plan = (
        plan_of("mlqa", languages=["en"], names=["short"])
        if False
        else plan_of("flores_to_en", languages=["sw"], shots=1)
    )
    assert all("\n\n" in item.prompt for item in plan.items)
    assert len(plan.items) == 2 * 5


def test_two_models_are_compared_by_what_is_measured(roomy, store):
    handles = [load(str(roomy[side]), device="cpu", store=store) for side in ("bloom", "mt5")]
    result = EvaluationSpec(handles, plan_of("flores_to_en", names=["translate", "how_say"])).run()
    assert set(result.tables["by_language"]["measure"]) == {"chrF"}
    assert set(result.tables["by_language"]["chance"]) == {0.0}
    assert "chrF" in result.tables["by_template"]
    assert result.tables["comparison"]["p_value"].between(0, 1).all()


def test_rows_with_an_empty_text_are_left_out_with_a_warning(tmp_path):
    rows = [{"id": n, "sentence1": "a" * n, "sentence2": "b", "label": n % 2} for n in range(3)]
    (tmp_path / "test.fr.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.warns(UserWarning, match="paws_x: 1 rows in fr have an empty text"):
        read = read_benchmark(benchmarks()["paws_x"], data=tmp_path)
    assert [row["id"] for row in read] == ["fr-1", "fr-2"]


@pytest.mark.parametrize("value", [{"text": []}, {"text": [" "]}, [], "a", None, {}])
def test_a_row_without_a_right_answer_is_named(value, tmp_path):
    row = {"id": "x", "context": "c", "question": "q", "answers": value}
    (tmp_path / "validation.en.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(BadInput, match=r"line 1 has .* as 'answers'; give texts"):
        read_benchmark(benchmarks()["xquad"], data=tmp_path)


def test_a_label_that_is_a_text_is_one_of_the_published_ones(tmp_path):
    (tmp_path / "test.eng_Latn.jsonl").write_text(
        json.dumps({"text": "a", "category": "art", "index_id": 1}) + "\n"
    )
    with pytest.raises(BadInput, match=r"has 'art' in 'category'; allowed is science/technology, travel"):
        read_benchmark(benchmarks()["sib_200"], data=tmp_path)
