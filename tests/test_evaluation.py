"""An evaluation end to end on random weights of the real classes; and verdicts whose outcome is known by construction."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from workbench import stats
from workbench.cli import app
from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.models import load
from workbench.paths import data_path
from workbench.store import Store
from workbench.store.export import export_pack
from workbench.store.packs import import_pack
from workbench.studies import sensitivity
from workbench.studies.evaluation import (
    EvaluationSpec,
    by_language,
    by_template,
    compare,
    compare_with_published,
    describe,
    evaluate,
    forecast,
    latex,
    make_plan,
    markdown,
)

EXAMPLES = data_path("examples")
SHARED = Path(__file__).parents[2] / "shared/data"
REAL = pytest.mark.skipif(
    not (SHARED / "xcopa").is_dir(), reason="needs the real XCOPA files (../shared/data/xcopa)"
)


def plan_of(**change):
    return make_plan(**{"task": "xcopa", "data": EXAMPLES / "xcopa", **change})


def test_a_plan_has_every_language_in_every_wording():
    plan = plan_of()
    assert (plan.languages, len(plan.templates), plan.wordings) == (("sw", "zh"), 5, "ours")
    assert len(plan.items) == 2 * 4 * 5
    native = plan_of(prompt_language="native")
    assert {template.language for template in native.templates} == {"sw", "zh"}
    assert len(native.items) == len(plan.items)


def test_a_plan_of_the_lexicon_has_the_choices_of_its_seed_and_names_cldr():
    first, again, other = (make_plan("lexicon/words", ["fr"], limit=20, seed=seed) for seed in (0, 0, 1))
    assert first.items == again.items != other.items
    assert first.source.startswith("CLDR ")
    assert make_plan("parallel/topic", ["fr"], limit=2).source == "ships with the package"


def test_labels_of_cb_follow_our_order_of_choices():
    """CB counts entailment, contradiction, neutral; our wordings list what is ruled out last."""
    plan = make_plan("cb", data=EXAMPLES / "super_glue")
    assert [item.target for item in plan.items if item.template == "follows"] == ["Yes", "No", "Maybe"] * 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task": "xcop"}, UnknownName, r"'xcop'; shipped: .*entailment.*published: xnli"),
        ({"languages": ["en"]}, UnknownName, "no language 'en'"),
        ({"prompt_language": "mt"}, BadInput, "promptsource"),
        ({"prompt_language": "de"}, UnknownName, "'de'; choose one of: en, native"),
        ({"names": ["best"]}, UnknownName, r"'best'.*complete"),
        ({"templates": Path("nowhere")}, BadInput, "no templates at nowhere"),
        ({"data": Path("nowhere")}, BadInput, "no data at nowhere"),
        ({"limit": 0}, BadInput, "limit=0"),
        ({"limit": float("nan")}, BadInput, "limit=nan"),
        ({"shots": -1}, BadInput, "shots=-1"),
        ({"shots": 0.5}, BadInput, "shots=0.5"),
        ({"shots": 9}, BadInput, "9 exemplars"),
        ({"shots": 1, "shots_language": "sw", "prompt_language": "native"}, BadInput, "templates in both"),
        ({"task": "mine"}, UnknownName, "give both data and templates"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(change, error, message):
    with pytest.raises(error, match=message):
        plan_of(**change)


def test_a_task_of_your_own_needs_rows_and_wordings_and_may_be_contaminated(tmp_path):
    (tmp_path / "t.toml").write_text(
        "[[template]]\nname = 'a'\njinja = '{{x}} ||| {{answer_choices[label]}}'\nanswer_choices = 'b ||| c'\n"
    )
    (tmp_path / "flores.jsonl").write_text('{"x": "y", "label": 1}\n')
    plan = make_plan("mine", data=tmp_path / "flores.jsonl", templates=tmp_path / "t.toml")
    assert (plan.wordings, plan.items[0].target) == ("given", "c")
    assert "xP3" in plan.contaminated
    assert plan_of().contaminated == ""


def own_plan(folder, names, rows, x="y"):
    """A task of one's own, whose wordings are alike but for their names."""
    (folder / "t.toml").write_text(
        "".join(
            f"[[template]]\nname = '{name}'\njinja = '{{{{x}}}} ||| {{{{answer_choices[label]}}}}'\nanswer_choices = 'b ||| c'\n"
            for name in names
        )
    )
    (folder / "mine.jsonl").write_text(
        "".join(json.dumps({"x": x, "label": n % 2}) + "\n" for n in range(rows))
    )
    return make_plan("mine", data=folder / "mine.jsonl", templates=folder / "t.toml")


def test_wordings_need_names_of_their_own_and_no_more(model, tmp_path):
    """Two templates with one text were one in the plan, and the evaluation ended with a KeyError."""
    plan = own_plan(tmp_path, ["one", "two"], rows=2)
    assert [template.name for template in plan.templates] == ["one", "two"]
    ranked = evaluate(model, plan)
    assert ranked["template"].tolist() == ["one", "two"] * 2
    assert ranked["digest"].nunique() == 1
    with pytest.raises(BadInput, match=r"2 items have the id 'mine-0.*each template its own name"):
        own_plan(tmp_path, ["one", "one"], rows=1)
    with pytest.raises(BadInput, match=r"mine\.jsonl holds no row"):
        own_plan(tmp_path, ["one"], rows=0)


def test_rows_that_a_wording_skips_are_counted_and_spreads_rest_on_wordings_that_skip_none(model, tmp_path):
    """Published prompts of COPA say nothing for half of the rows; they were refused."""
    half = "{% if label == 0 %}{{x}} {{id}} ||| b{% endif %}"
    whole = "{{x}} {{id}}%s ||| {{answer_choices[label]}}"
    texts = {"=1+1": half, "one": whole % "?", "two": whole % "!"}
    (tmp_path / "t.toml").write_text(
        "".join(
            f"[[template]]\nname={n!r}\njinja={j!r}\nanswer_choices='b ||| c'\n" for n, j in texts.items()
        )
    )
    (tmp_path / "r.jsonl").write_text(
        "".join(json.dumps({"x": "y", "label": n % 2}) + "\n" for n in range(6))
    )
    plan = make_plan("mine", data=str(tmp_path / "r.jsonl"), templates=str(tmp_path / "t.toml"))
    assert (plan.skipped, len(plan.items)) == ({"=1+1": 3}, 15)
    assert plan.warnings == ("template '=1+1' renders nothing for 3 rows, which are skipped",)
    ranked = evaluate(model, plan)
    [row] = by_language(ranked).to_dict("records")
    complete = ranked[ranked["template"] != "=1+1"]
    assert (row["n"], row["templates"]) == (15, 3)
    assert row["spread"] == sensitivity.spreads(complete)["spread"].item()
    assert np.isnan(by_language(ranked[ranked["template"] != "one"])["spread"].item())  # one wording is whole
    EvaluationSpec([model], plan).run().write(tmp_path / "out")
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["skipped"] == {"=1+1": 3}
    written = pd.read_csv(tmp_path / "out/by_template.csv")
    assert written["template"].tolist() == ["'=1+1", "one", "two"]  # no formula for a spreadsheet
    assert written["accuracy"].dtype == float


def test_a_row_that_cannot_be_asked_is_named_with_its_file(tmp_path):
    with pytest.raises(
        BadInput, match=r"mine.jsonl: template 'one' fails for the row 'mine-0': the field 'x' is null"
    ):
        own_plan(tmp_path, ["one"], rows=1, x=None)


def test_languages_and_names_may_come_from_iterators():
    """They were used up by the first check, and the plan was empty or of all languages."""
    plan = plan_of(languages=iter(["zh"]), names=iter(["complete"]))
    assert (plan.languages, [t.name for t in plan.templates]) == (("zh",), ["complete"])


def test_a_template_whose_answer_never_changes_is_refused(tmp_path):
    """Winogrande's labels are texts; a template that compares with a number would call the second option right always."""
    row = {"sentence": "_ x", "option1": "a", "option2": "b"}
    rows = [json.dumps({**row, "answer": str(1 + n % 2)}) for n in range(30)]
    (tmp_path / "validation.jsonl").write_text("\n".join(rows))
    for compared, fine in (("'1'", True), ("1", False)):
        text = f"{{{{sentence}}}} ||| {{% if answer == {compared} %}}{{{{option1}}}}{{% else %}}{{{{option2}}}}{{% endif %}}"
        choices = "{{option1}} ||| {{option2}}"
        (tmp_path / "t.toml").write_text(
            f"[[template]]\nname = 'a'\njinja = {json.dumps(text)}\nanswer_choices = {choices!r}\n"
        )
        asked = {"data": tmp_path, "templates": tmp_path / "t.toml"}
        if fine:
            assert {item.gold for item in make_plan("winogrande", **asked).items} == {0, 1}
        else:
            with pytest.raises(BadInput, match="choice 1 as right for all 30 rows"):
                make_plan("winogrande", **asked)


def test_a_path_of_the_hub_that_cannot_be_reached_is_said_to_be_untried(tmp_path, monkeypatch):
    """The page says that the command says so; it said only that the hub cannot be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        NotReachable, match=r"cannot be reached.*--data \(this path on the hub has not been tried"
    ):
        make_plan("xcopa", ["sw"])
    with pytest.raises(
        NotReachable, match=r"on request .*give your copy with --data$"
    ):  # the twin: no path at all
        make_plan("story_cloze")


def test_a_forecast_counts_what_is_then_asked_once_each(model):
    plan = plan_of()
    expected = forecast(model, plan)
    assert (expected.prompts, expected.requests) == (40, 80)
    assert expected.weights > 10_000
    assert "40 prompts, 80 choices" in describe(expected)
    ranked = evaluate(model, plan)
    assert ranked["id"].tolist() == [item.id for item in plan.items]
    assert (model.tally.hits, model.tally.misses) == (
        0,
        expected.requests,
    )  # it once asked the first item twice
    evaluate(model, plan)
    assert (model.tally.hits, model.tally.misses) == (expected.requests, expected.requests)


def test_what_was_scored_stays_when_an_evaluation_breaks_off(model, monkeypatch):
    plan = plan_of()
    real, calls = type(model.engine).score, []

    def breaks(self, *asked):
        for batch in real(self, *asked):
            calls.append(1)
            if len(calls) > 3:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(type(model.engine), "score", breaks)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, plan, batch_tokens=256)
    monkeypatch.setattr(type(model.engine), "score", real)
    assert model.store.info()["answers"] > 0
    before = model.tally.misses
    evaluate(model, plan, batch_tokens=256)
    fresh = load(model.name, device="cpu", store=Store(model.store.path.with_name("other.sqlite")))
    evaluate(fresh, plan)
    assert model.tally.misses - before < fresh.tally.misses


def outcomes(right, *, model="a", language="x", template="t", scores=(-1.0, -2.0)):
    """A table as `rank` gives it, with the answers right or wrong as told."""
    rows = [
        {"id": f"{n}|{language}|{template}", "task": "xcopa", "template": template, "language": language, "cluster": str(n),
         "choices": ["a", "b"], "gold": 0 if ok else 1, "prediction": 0, "correct": bool(ok), "tie": False,
         "truncated": False, "scores": list(scores), "protocol": "xmtf-bloom", "model": model, "dtype": "float32"}
        for n, ok in enumerate(right)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_tables_give_means_over_languages_that_weigh_the_same():
    small, large = outcomes([1, 0]), outcomes([1] * 8, language="y")
    table = by_language(pd.concat([small, large], ignore_index=True)).set_index("language")
    assert table.loc[["x", "y", "all"], "mean"].tolist() == pytest.approx([0.5, 1.0, 0.75])
    assert np.isnan(table.loc["x", "spread"])


def test_spread_has_its_null_and_holm_counts_the_languages():
    generator = np.random.default_rng(0)
    parts = []
    for language, worse in (("x", 0.6), ("y", 0.0)):
        for template in "abc":
            right = generator.random(60) < (0.9 - worse * (template == "a"))
            parts.append(outcomes(right, language=language, template=template))
    table = by_language(pd.concat(parts, ignore_index=True)).set_index("language")
    assert table.loc["x", "p_spread"] == pytest.approx(2 / 1001)
    assert table.loc["y", "p_spread"] > 0.05
    assert table.loc["x", "spread"] > 2 * table.loc["x", "null"]


def test_models_are_compared_on_the_same_prompts():
    first = outcomes([1, 0] * 100)
    better = outcomes([1, 1] * 100, model="b")
    same = outcomes([1, 0] * 100, model="c")
    table = compare(pd.concat([first, better, same], ignore_index=True), "a", "b")
    assert table.loc[0, "difference"] == pytest.approx(0.5)
    assert table.loc[0, "p_holm"] < 1e-6
    assert table.loc[0, "p_equivalent"] > 0.5
    equal = compare(pd.concat([first, better, same], ignore_index=True), "a", "c")
    assert equal.loc[0, "p_value"] == 1.0
    assert equal.loc[0, "p_equivalent"] < 0.05


def test_a_comparison_needs_both_models_and_the_same_prompts():
    both = pd.concat([outcomes([1, 0]), outcomes([1, 1, 0], model="b")], ignore_index=True)
    with pytest.raises(UnknownName, match=r"'c' to compare; there are those of: a, b"):
        compare(both, "a", "c")
    with pytest.raises(BadInput, match="same items"):
        compare(both, "a", "b")
    assert compare(both[both["cluster"] != "2"], "a", "b").loc[0, "n"] == 2


# From a spec to tables --------------------------------------------------------------------------------------------


def test_a_spec_gives_the_tables_that_its_parts_give(checkpoints, tmp_path):
    store = Store(tmp_path / "s.sqlite")
    models = [load(checkpoints[side], device="cpu", store=store) for side in ("bloom", "mt5")]
    plan = plan_of(languages=["sw"])
    result = EvaluationSpec(models, plan, margin=0.2).run()
    ranked = pd.concat([evaluate(model, plan) for model in models], ignore_index=True)
    first, second = (model.name for model in models)
    pd.testing.assert_frame_equal(result.items, ranked)
    pd.testing.assert_frame_equal(result.tables["by_language"], by_language(ranked))
    pd.testing.assert_frame_equal(result.tables["by_template"], by_template(ranked))
    expected = compare(ranked, first, second, margin=0.2)
    pd.testing.assert_frame_equal(result.tables["comparison"].drop(columns="models"), expected)
    assert result.tables["comparison"]["models"].unique().tolist() == [f"{first} / {second}"]
    assert "published" not in result.tables
    assert list(EvaluationSpec(models[:1], plan).run().tables) == ["by_language", "by_template"]


def test_evaluations_that_differ_never_share_a_folder(model):
    """Two evaluations of the same models in other languages or with other templates overwrote each other."""
    changes = [
        {}, {"languages": ["sw"]}, {"names": ["complete"]}, {"prompt_language": "native"}, {"limit": 3}, {"shots": 1},
        {"shots": 1, "seed": 1}, {"shots": 1, "shots_language": "zh"},
    ]  # fmt: skip
    specs = [EvaluationSpec([model], plan_of(**change)) for change in changes]
    half = load(model.name, device="cpu", store=model.store, dtype="bfloat16")
    specs += [
        EvaluationSpec([model], plan_of(), protocol="pmi"),
        EvaluationSpec([model], plan_of(), margin=0.1),
        EvaluationSpec([half], plan_of()),
    ]
    assert len({spec.folder for spec in specs}) == len(specs)
    assert EvaluationSpec([model], plan_of(languages=["sw", "zh"])).folder == specs[0].folder  # the twin


def test_an_evaluation_finds_its_folder_again_in_another_process(model):
    code = (
        "import sys\nfrom workbench import load\nfrom workbench.studies.evaluation import EvaluationSpec, make_plan\n"
        "plan = make_plan('xcopa', data=sys.argv[2])\nprint(EvaluationSpec([load(sys.argv[1])], plan).folder)"
    )
    words = [sys.executable, "-c", code, model.name, str(EXAMPLES / "xcopa")]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.strip()
    assert found == str(EvaluationSpec([model], plan_of()).folder)


def test_the_name_of_a_folder_is_short_whatever_the_models_are_called(checkpoints, tmp_path):
    """The names of three long paths made one that no file system takes, found out after all was computed."""
    paths = [tmp_path / f"{'very-long-name-' * 8}{number}" for number in range(2)] + [tmp_path / ("猫" * 60)]
    models = [load(shutil.copytree(checkpoints["bloom"], path)) for path in paths]
    folders = [EvaluationSpec(some, plan_of()).folder for some in (models, models[:2], models[2:])]
    assert len(set(folders)) == 3
    assert max(len(folder.name.encode()) for folder in folders) <= 100


@pytest.mark.parametrize(
    ("count", "margin", "message"), [(0, 0.05, "none"), (2, 0.05, "different models"), (1, 1, "margin=1")]
)
def test_a_spec_that_makes_no_evaluation_is_refused(model, count, margin, message):
    with pytest.raises(BadInput, match=message):
        EvaluationSpec([model] * count, plan_of(), margin=margin)


# Beside the published scores --------------------------------------------------------------------------------------


def published_plan(tmp_path):
    """A plan on our own rows whose wordings carry the published names."""
    text = "".join(
        f"  '{n}': !Template {{answer_choices: '{{{{choice1}}}} ||| {{{{choice2}}}}', jinja: '{{{{premise}}}} {n} ||| {{{{answer_choices[label]}}}}', name: {json.dumps(name)}}}\n"
        for n, name in enumerate(make_plan("xcopa", data=EXAMPLES / "xcopa").benchmark.five)
    )
    path = tmp_path / "xcopa/en/templates.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"templates:\n{text}", encoding="utf-8")
    return plan_of(templates=tmp_path, languages=["zh"])


def of_bloomz(count, **change):
    """A hundred answers named after one published template of BLOOMZ in Chinese."""
    right = [1] * count + [0] * (100 - count)
    return outcomes(right, model="bloomz", language="zh", template="best_option", **change)


def published_count():
    table = pd.read_csv(data_path("published_results.csv"), keep_default_na=False)
    row = table[
        (table["model"] == "bloomz")
        & (table["task"] == "xcopa")
        & (table["config"] == "zh")
        & (table["template"] == "best_option")
    ]
    return round(row["value"].item())


@pytest.mark.parametrize(
    ("off", "scores", "verdict"),
    [
        (0, (-1.0, -9.0), "same count"),
        (2, (-1.0, -1.1), "within near-ties"),
        (2, (-1.0, -9.0), "differs"),
        (-3, (-1.0, -9.0), "differs"),
    ],
)
def test_a_verdict_counts_items_and_near_ties(tmp_path, off, scores, verdict):
    [row] = compare_with_published(
        of_bloomz(published_count() + off, scores=scores), published_plan(tmp_path)
    ).to_dict("records")
    assert (row["verdict"], row["difference"]) == (verdict, off)
    assert ("bfloat16" in row["why"]) == (verdict == "differs")


def test_what_cannot_be_compared_says_why(tmp_path):
    plan = published_plan(tmp_path)
    few = of_bloomz(90).iloc[:50]
    [row] = compare_with_published(few, plan).to_dict("records")
    assert (row["verdict"], row["why"]) == ("not comparable", "50 of the 100 published items")
    [row] = compare_with_published(of_bloomz(90).assign(protocol="per-token-bloom"), plan).to_dict("records")
    assert "per-token" in row["why"]
    assert len(compare_with_published(of_bloomz(90).assign(model="mini-bloomz"), plan)) == 0
    ours = compare_with_published(of_bloomz(90), plan_of())
    assert set(ours["statistic"]) == {"median", "max"}
    assert all("templates are ours" in why for why in ours["why"])


def test_models_without_single_scores_are_compared_by_median_and_maximum(tmp_path):
    plan = published_plan(tmp_path)
    ranked = pd.concat(
        [of_bloomz(50 + n).assign(template=t.name, model="mt0-xl") for n, t in enumerate(plan.templates)]
    )
    table = compare_with_published(ranked, plan).set_index("statistic")
    assert (table.loc["median", "right"], table.loc["max", "right"]) == (52, 54)


@pytest.mark.parametrize(("task", "badge"), [("who", "SYNTHETIC"), ("lexicon/weekdays", "MEASURED")])
def test_an_artificial_world_is_never_called_measured_whoever_answers_in_it(model, task, badge):
    assert EvaluationSpec([model], make_plan(task, limit=1)).badge == badge


# From the command line --------------------------------------------------------------------------------------------


def run(*words):
    return CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=True)


def test_the_command_writes_items_tables_and_figures(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "s.sqlite"))
    models = [checkpoints["bloom"], checkpoints["mt5"]]
    done = run(
        *models, "xcopa", "--data", EXAMPLES / "xcopa", "--device", "cpu", "--out", tmp_path / "out", "--json"
    )
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {
        f"{t}.{kind}" for t in ("by_language", "by_template", "comparison") for kind in ("csv", "md", "tex")
    }
    figures = {f"{f}.{kind}" for f in ("by_language", "by_template") for kind in ("png", "pdf")}
    assert names == {"items.parquet", "evaluation.json"} | tables | figures
    assert (tmp_path / "out/by_language.pdf").read_bytes().startswith(b"%PDF")
    items = pd.read_parquet(tmp_path / "out/items.parquet")
    assert len(items) == 2 * 40
    assert items["scores"].map(len).eq(2).all()
    facts = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert facts["badge"] == "MEASURED"
    assert set(facts["models"]) == set(map(str, models))
    assert len(facts["templates"]) == 5
    for about in facts["models"].values():
        [audit] = about["audits"].values()
        assert audit["items"] >= 1
        assert (audit["largest_difference"] < 1e-4, audit["flips"]) == (True, [])


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes, of the extra `quantized`")
def test_quantized_weights_are_evaluated_beside_plain_ones_and_neither_takes_the_others_answers(
    checkpoints, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "s.sqlite"))
    models = [checkpoints["bloom"], checkpoints["mt5"]]
    asked = (*models, "xcopa", "--data", EXAMPLES / "xcopa", "--languages", "sw", "--device", "cpu")
    found = {}
    for bits in ("", "8bit", "4bit"):
        done = run(*asked, *(["--quantization", bits] if bits else []), "--out", tmp_path / f"out{bits}")
        assert done.exit_code == 0, done.output
        about = json.loads((tmp_path / f"out{bits}/evaluation.json").read_text())["models"]
        assert {one["quantization"] for one in about.values()} == {bits or None}
        assert all(one["store_misses"] > 0 for one in about.values())
        found[bits] = pd.read_parquet(tmp_path / f"out{bits}/items.parquet")["scores"].explode().astype(float)
    moved = {bits: (found[bits] - found[""]).abs().groupby(level=0).max() for bits in ("8bit", "4bit")}
    assert (moved["8bit"] > 0).all()
    assert moved["8bit"].mean() < moved["4bit"].mean()


def test_two_evaluations_of_a_model_keep_their_results(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "s.sqlite"))
    monkeypatch.chdir(tmp_path)
    asked = (checkpoints["bloom"], "xcopa", "--data", EXAMPLES / "xcopa", "--device", "cpu")
    for language in ("sw", "zh", "sw"):
        assert run(*asked, "--languages", language).exit_code == 0
    found = [json.loads(path.read_text()) for path in tmp_path.glob("runs/evaluate/*/evaluation.json")]
    assert sorted(facts["languages"] for facts in found) == [["sw"], ["zh"]]


def test_a_forecast_reads_no_weights(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "s.sqlite"))
    done = run(checkpoints["bloom"], "xcopa", "--data", EXAMPLES / "xcopa", "--forecast")
    assert "40 prompts" in done.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [["xcopa"], ["mini-bloomz", "mini-bloomz", "entailment"], ["mini-bloomz", "bloomz-560m", "entailment"]],
)
def test_models_that_make_no_evaluation_are_refused(words, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "s.sqlite"))
    assert isinstance(run(*words).exception, BadInput)


def test_tables_are_written_for_papers_too():
    table = pd.DataFrame({"model": ["a_b|c"], "mean": [0.12345], "p": [float("nan")]})
    assert markdown(table) == "| model | mean | p |\n| --- | --: | --: |\n| a_b\\|c | 0.123 |  |\n"
    assert r"a\_b" in latex(table)
    assert r"\toprule" in latex(table)


# Packs, and the real files ----------------------------------------------------------------------------------------


def test_a_pack_answers_elsewhere_without_weights_and_a_miss_names_what_lacks(
    checkpoints, tmp_path, fill_hub_cache
):
    root = fill_hub_cache(checkpoints["bloom"], "bigscience/bloomz-560m")
    here, there = Store(tmp_path / "here.sqlite"), Store(tmp_path / "there.sqlite")
    sw = plan_of(languages=["sw"])
    measured = evaluate(load("bloomz-560m", store=here, device="cpu"), sw)
    export_pack(here, tmp_path / "answers.pack", models=["bloomz-560m"])
    shutil.rmtree(root)
    import_pack(there, tmp_path / "answers.pack")
    elsewhere = load("bloomz-560m", store=there, device="cpu")
    pd.testing.assert_frame_equal(evaluate(elsewhere, sw), measured)
    with pytest.raises(
        NotReachable, match=r"no answers of bloomz-560m to xcopa in zh, 'what_was_it': 4;.*40 of 80 answers"
    ):
        evaluate(elsewhere, plan_of())
    assert elsewhere.tally.misses == 40


@REAL
def test_real_xcopa_with_published_prompts_on_random_weights_is_at_chance(model):
    """End to end; random weights know nothing, so the pooled accuracy lies inside chance's interval (Holm over the cells)."""
    languages = ["id", "sw"]
    plan = make_plan("xcopa", languages, data=SHARED / "xcopa", templates=SHARED / "promptsource", limit=25)
    assert (plan.wordings, len(plan.items)) == ("published", 2 * 25 * 5)
    ranked = evaluate(model, plan)
    cells = by_template(ranked)
    halves = ranked["correct"].astype(float).to_numpy()
    pooled = [
        stats.sign_flip(np.full(len(part), 0.5), part["correct"].astype(float), part["cluster"])
        for _, part in ranked.groupby("language")
    ]
    assert len(cells) == 10
    assert stats.holm(pooled).min() > 0.05
    knows = np.where(
        np.random.default_rng(0).random(len(halves)) < 0.5, 1.0, halves
    )  # the twin: one that knows some
    assert stats.sign_flip(np.full(len(halves), 0.5), knows, ranked["cluster"]) < 0.05
