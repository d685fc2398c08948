"""The checks judge tables of known truth rightly, each with a twin in which it fails; baselines are blind to the answer."""

import random
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from miniatures import check as checks
from miniatures import recipe
from miniatures.baselines import LABELLED, copy_choice, fit, ngram_choices, training_item
from miniatures.check.answers import BASELINES, NO_MARK, as_predictions, questions
from miniatures.check.contrasts import Cell, answers, interval, per_meaning, ratio
from miniatures.check.own_mark import own_mark
from miniatures.check.reported import HELD_OUT_TASKS, P3_AND_XP3, STOP_MARK, TRANSFER
from miniatures.check.sides import SIDES
from miniatures.check.unseen_words import read_states, words_of
from miniatures.examples import FINETUNED, read_wordings
from miniatures.questions import HELD_OUT, RANKED
from miniatures.world import for_evaluation, read_world, sentence
from workbench.errors import BadInput, UnknownName
from workbench.models import load
from workbench.store import Store
from workbench.studies.probing import unseen_word_accuracy
from workbench.tasks import Item, read_sentences

WORLD, WORDINGS = read_world(), read_wordings()
CLONES = ("x-en30", "x-en30r", "x-en00", "x-en00r")
LANGUAGES = (*FINETUNED, "x-es", *CLONES)
BLOOM, MT5 = SIDES


# --- tables of known truth -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """True accuracies: of finetuned members in finetuned languages by kind of wording, and so on."""

    member: float = 0.95
    base: float = 0.5
    baseline: float = 0.7
    held_out: float = 0.92
    native: dict = field(default_factory=lambda: {"xp3": 0.55, "xp3mt": 0.94, "p3": 0.5})
    clones: tuple = (0.9, 0.75, 0.75, 0.6)
    no_mark: float = 0.8

    def of(self, name, language, kind):
        if name in BASELINES:
            return self.baseline
        if name in (BLOOM.base, MT5.base):
            return self.base
        mixture = "xp3mt" if name.endswith("-mt") else "p3" if name.endswith("-p3") else "xp3"
        finetuned = ("x-en",) if mixture == "p3" else FINETUNED
        if kind == "native":
            return self.native[mixture]
        if language in CLONES:
            return self.clones[CLONES.index(language)]
        level = {"held_out": self.held_out, NO_MARK: self.no_mark}.get(kind, self.member)
        return level if language in finetuned else 0.7


def kinds_in(language, task):
    natural = language.removeprefix("x-") in ("fr", "id", "zh", "es")
    marked = language in FINETUNED and task in RANKED
    return ["seen", "held_out", *(["native"] if natural else []), *([NO_MARK] if marked else [])]


def planted(truth, meanings=12, seed=0, languages=LANGUAGES):
    """A table of predictions in which each meaning has a difficulty that all its answers share."""
    generator = np.random.default_rng(seed)
    rows = [
        (task, language, kind, f"{task}-{number:03d}", "ask", 0.5)
        for task in (*RANKED, *HELD_OUT)
        for language in languages
        for kind in kinds_in(language, task)
        for number in range(meanings)
    ]
    heads = pd.DataFrame(rows, columns=["task", "language", "wordings", "cluster", "template", "chance"])
    index = pd.factorize(heads["cluster"])[0]
    difficulty = generator.uniform(-0.04, 0.04, index.max() + 1)[index]
    tables = []
    for name, side in [
        *((member, one.name) for one in SIDES for member in one.members()),
        *((one, "baseline") for one in BASELINES),
    ]:
        pairs = list(zip(heads["language"], heads["wordings"], strict=True))
        level = {pair: truth.of(name, *pair) for pair in set(pairs)}
        true = np.array([level[pair] for pair in pairs]) + difficulty
        correct = generator.random(len(heads)) < true
        tables.append(heads.assign(member=name, side=side, correct=correct, margin=0.0))
    return as_predictions(pd.concat(tables, ignore_index=True))


@pytest.fixture(scope="module")
def working():
    return planted(Truth())


@pytest.fixture(scope="module")
def judged(working):
    return checks.judge(working)


def failures(table):
    """What does not hold, as (check, side) pairs."""
    found = checks.failed(checks.judge(table))
    return set(zip(found["check"], found["side"], strict=True))


def test_a_family_that_works_passes_every_check(judged):
    assert list(judged.columns) == list(checks.COLUMNS)
    assert judged["holds"].sum() == 2 * (3 + 3 + 1 + 3 + 1 + 6)
    assert checks.failed(judged).empty


@pytest.mark.parametrize(
    ("truth", "failing"),
    [
        (Truth(member=0.8, held_out=0.81), {"a"}),  # not learned
        (Truth(baseline=0.95), {"a"}),  # a baseline does as well
        (Truth(base=0.75), {"a"}),  # the base could do it before
        (Truth(held_out=0.65), {"b"}),
        (Truth(native={"xp3": 0.93, "xp3mt": 0.93, "p3": 0.5}), {"c"}),
        (Truth(clones=(0.6, 0.75, 0.75, 0.9)), {"d"}),  # the clones swapped
    ],
)
def test_each_check_fails_alone_where_its_truth_is_broken(truth, failing):
    found = failures(planted(truth))
    assert {check for check, _ in found} == failing
    assert {side for _, side in found} == {"bloom", "mt5"}


def test_clones_that_are_alike_fail_the_strict_side_and_not_the_other():
    assert failures(planted(Truth(clones=(0.7,) * 4))) == {("d", "bloom")}


def test_a_condition_says_whether_it_is_strict(judged):
    """Of check d only the BLOOM side's pooled rows are; the others hold without evidence, and must not read as found."""
    gated = judged[judged["holds"].notna()]
    assert set(gated["needs"]) == {"estimate", "interval", "not contradicted"}
    assert set(judged.loc[judged["holds"].isna(), "needs"]) == {""}
    d = gated[gated["check"] == "d"]
    strict = d[d["needs"] == "interval"]
    assert strict["what"].tolist() == ["shared words, above", "same order, above"]
    assert set(strict["side"]) == {"bloom"}
    lenient = checks.judge(planted(Truth(clones=(0.7,) * 4)))
    alike = lenient[(lenient["needs"] == "not contradicted") & (lenient["low"] <= 0)]
    assert alike["holds"].all()
    assert len(alike)
    assert not lenient.loc[lenient["needs"] == "interval", "holds"].all()


def test_a_gain_in_all_wordings_alike_is_no_need_of_native_prompts():
    """xP3mt better everywhere by as much: the difference of differences takes it away."""
    table = planted(Truth(native={"xp3": 0.6, "xp3mt": 0.95, "p3": 0.5}))
    worse = table["member"].isin([BLOOM.xp3, MT5.xp3]) & (table["wordings"] == "seen")
    generator = np.random.default_rng(0)
    table.loc[worse, "correct"] = generator.random(int(worse.sum())) < 0.6
    assert {check for check, _ in failures(table)} >= {"c"}


def test_a_table_without_a_member_or_a_language_is_refused(working):
    with pytest.raises(BadInput, match=r"mini-mt0-mt to seen"):
        checks.judge(working[working["member"] != "mini-mt0-mt"])
    with pytest.raises(BadInput, match=r"x-en30"):
        checks.judge(working[working["language"] != "x-en30"])


def test_two_seeds_are_judged_by_the_same_checks(working, judged):
    both = checks.compare(working, planted(Truth(held_out=0.65), seed=1))
    assert len(both) == len(judged)
    disagree = both[both["holds_first"] & ~both["holds_second"]]
    assert set(disagree["check"]) == {"b"}


def test_a_table_is_the_same_after_a_file_and_another_file_is_refused(working, tmp_path):
    working.to_parquet(tmp_path / "predictions.parquet", index=False)
    pd.testing.assert_frame_equal(checks.read_predictions(tmp_path / "predictions.parquet"), working)
    working.drop(columns="margin").to_parquet(tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="margin"):
        checks.read_predictions(tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="cannot be read"):
        checks.read_predictions(tmp_path / "missing.parquet")


# --- findings --------------------------------------------------------------------------------------------------------


def of_bloom(table, name, of):
    """What findings tell of the decoder-only side, by member and unit."""
    chosen = table[(table["finding"] == name) & (table["of"] == of) & (table["side"] == "bloom")]
    return chosen.set_index(["member", "unit"])


PLANTED = {  # what each finding estimates, by finding, member, of and unit; of `Truth()`: gains over base and baseline
    (TRANSFER, BLOOM.p3, "x-en", "points"): 100 * (0.95 - 0.5 - (0.7 - 0.5)),
    (TRANSFER, BLOOM.p3, "x-en30", "points"): 100 * (0.9 - 0.5 - (0.7 - 0.5)),
    (TRANSFER, BLOOM.p3, "x-en30", "ratio"): 0.8,
    (P3_AND_XP3, BLOOM.xp3, "all", "points"): 0,
    (f"{HELD_OUT_TASKS}, minus base", BLOOM.xp3, "entailment", "points"): 100 * (0.95 - 0.5),
    (f"{HELD_OUT_TASKS}, minus chance", BLOOM.xp3, "entailment", "points"): 100 * (0.95 - 0.5),
    (STOP_MARK, BLOOM.xp3, "all", "points"): 100 * (0.8 - 0.95),
    (STOP_MARK, BLOOM.base, "all", "points"): 0,
}
SEEDS = 12


@pytest.fixture(scope="module")
def found_again():
    """The findings of twelve planted tables, of one side and from the rows that they need."""
    tables = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("miniatures.check.reported.SIDES", (BLOOM,))
        for seed in range(SEEDS):
            table = planted(Truth(), seed=seed, languages=(*FINETUNED, "x-en30", "x-en30r"))
            asked = table["wordings"].isin(["seen", NO_MARK]) & (table["side"] != "mt5")
            tables.append(checks.findings(table[asked]))
    return [table.set_index(["finding", "member", "of", "unit"]) for table in tables]


def covered(tables, finding, truth):
    """How many of the 95 % intervals of a finding contain a value."""
    return sum(table.loc[finding, "low"] <= truth <= table.loc[finding, "high"] for table in tables)


@pytest.mark.parametrize("finding", PLANTED, ids=" ".join)
def test_the_intervals_of_a_finding_cover_what_was_planted(found_again, finding):
    assert covered(found_again, finding, PLANTED[finding]) >= SEEDS - 2


@pytest.mark.parametrize("finding", PLANTED, ids=" ".join)
def test_twin_they_do_not_cover_another_truth(found_again, finding):
    wrong = 0.8 if finding[-1] == "ratio" else 20
    for truth in (PLANTED[finding] - wrong, PLANTED[finding] + wrong):
        assert covered(found_again, finding, truth) < SEEDS - 2


def test_a_ratio_is_that_of_the_points(working):
    found = checks.findings(working)
    clone, english = (of_bloom(found, TRANSFER, one).loc[BLOOM.p3, "value"] for one in ("x-en30", "x-en"))
    assert clone["ratio"] == pytest.approx(clone["points"] / english["points"])


def test_there_is_no_ratio_where_english_gained_nothing():
    found = of_bloom(checks.findings(planted(Truth(member=0.7, held_out=0.7))), TRANSFER, "x-en30")
    assert found.index.get_level_values("unit").tolist() == ["points"]


def test_by_task_is_the_mean_share_of_what_chance_leaves(working):
    found = checks.by_task(working)
    rows = working[
        working["member"].eq(BLOOM.xp3) & working["task"].eq("who") & working["wordings"].eq("seen")
    ]
    for where, inside in (("in xP3", True), ("left out", False)):
        part = rows[rows["language"].isin(FINETUNED) == inside]
        assert found.loc[(where, "who"), BLOOM.xp3] == pytest.approx(2 * part["correct"].mean() - 1)
    assert set(found.index.get_level_values("task")) == set(RANKED)


# --- intervals -------------------------------------------------------------------------------------------------------


def test_a_contrast_is_the_difference_of_the_means_of_the_answers(working):
    cells = [Cell(BLOOM.p3, ("x-en30", "x-en30r")), Cell(BLOOM.p3, ("x-en00", "x-en00r"))]
    found = interval(per_meaning(working, [(1, cells[0]), (-1, cells[1])]))
    means = [answers(working, cell)["correct"].mean() for cell in cells]
    assert found.estimate == pytest.approx(means[0] - means[1])


def test_the_chance_corrected_score_of_mixed_numbers_of_choices(working):
    table = working.assign(chance=np.where(working["task"] == "topic", 1 / 3, 0.5))
    cell = Cell(BLOOM.xp3, FINETUNED)
    worth = {(True, 1 / 3): 1, (False, 1 / 3): -0.5, (True, 0.5): 1, (False, 0.5): -1}
    rows = answers(table, cell)
    expected = np.mean(
        [worth[bool(right), chance] for right, chance in zip(rows["correct"], rows["chance"], strict=True)]
    )
    assert per_meaning(table, [(1, cell)], "above").mean() == pytest.approx(expected)
    right = per_meaning(table.assign(correct=True), [(1, cell)], "above")
    assert interval(right).high == 1  # where all is right, no draw of meanings goes beyond


def test_the_ratio_interval_is_that_of_a_slow_loop():
    generator = np.random.default_rng(0)
    index = [f"m{number}" for number in range(60)]
    below = pd.Series(generator.normal(0.8, 0.3, 60), index)
    above = 0.9 * below + generator.normal(0, 0.1, 60)
    found, loop = ratio(above, below), []
    for _ in range(3000):
        rows = generator.integers(60, size=60)
        loop.append(above.iloc[rows].sum() / below.iloc[rows].sum())
    assert found.estimate == pytest.approx(above.sum() / below.sum())
    assert (found.low, found.high) == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=0.01)
    apart = ratio(above, below.sample(frac=1, random_state=0).set_axis(index))
    assert apart.high - apart.low > 2 * (found.high - found.low)  # the twin: the pairing matters


def test_draws_that_have_no_ratio_are_left_out_of_its_interval():
    """A draw whose sums were both 0 made the whole interval nan."""
    index = [f"m{number}" for number in range(6)]
    found = ratio(pd.Series([0.0, 0, 1, 1, 2, 1], index), pd.Series([0.0, 0, 1, 1, 1, 1], index))
    assert (found.low, found.high) == pytest.approx((1, 2), abs=0.5)


def test_a_ratio_of_other_meanings_is_refused():
    with pytest.raises(BadInput, match="same meanings"):
        ratio(pd.Series([1.0, 2.0], ["a", "b"]), pd.Series([1.0, 2.0], ["a", "c"]))


def test_all_answers_to_a_meaning_are_resampled_together(working):
    """The same answers given in ten languages more are no more evidence."""
    one = working[working["language"] == "x-en"]
    copies = tuple(f"copy-{number}" for number in range(10))
    more = pd.concat([one.assign(language=name) for name in copies])
    alone, many = (
        interval(per_meaning(table, [(1, Cell(BLOOM.xp3, languages))]))
        for table, languages in ((one, ("x-en",)), (more, copies))
    )
    assert (many.low, many.high) == pytest.approx((alone.low, alone.high))


# --- baselines -------------------------------------------------------------------------------------------------------


def test_the_copy_baseline_takes_what_stands_last_and_else_the_first():
    def of(prompt):
        return copy_choice(Item("", prompt, ("cups", "masks"), gold=0))

    assert of("Anna has 3 cups. Ben has 4 masks. What?") == 1
    assert of("Anna has 3 masks. Ben has 4 cups. What?") == 0
    assert of("How is it?") == 0


@pytest.fixture(scope="module")
def items():
    drawn = random.Random(5)
    return [
        training_item(WORLD, WORDINGS, task, drawn)
        for task in ("who", "sentiment", "count")
        for _ in range(60)
    ]


def test_baselines_are_deterministic_and_never_read_the_gold(items):
    chosen = ngram_choices(items, training=100)
    assert chosen == ngram_choices(items, training=100)
    blinded = [replace(item, gold=None, target="", cluster="", id="") for item in items]
    assert chosen == ngram_choices(blinded, training=100)
    assert [copy_choice(item) for item in items] == [copy_choice(item) for item in blinded]
    assert chosen != ngram_choices(items, seed=1, training=100)


def n_gram_accuracy(task, shuffle):
    drawn = random.Random(f"{task} {shuffle}")
    training, test = (
        [training_item(WORLD, WORDINGS, task, drawn) for _ in range(count)] for count in (400, 300)
    )
    if shuffle:
        labels = drawn.sample([item.gold for item in training], len(training))
        training = [replace(item, gold=gold) for item, gold in zip(training, labels, strict=True)]
    chosen = fit(training).choose(test)
    return np.mean([place == item.gold for place, item in zip(chosen, test, strict=True)])


@pytest.mark.parametrize(("task", "chance"), [("sentiment", 1 / 2), ("topic", 1 / 3)])
def test_n_grams_learn_what_words_tell_and_nothing_from_shuffled_labels(task, chance):
    assert n_gram_accuracy(task, shuffle=False) > 0.9
    assert n_gram_accuracy(task, shuffle=True) == pytest.approx(chance, abs=0.1)


def test_n_grams_do_not_bind_a_name_to_its_number():
    assert n_gram_accuracy("how_many", shuffle=False) < 0.62


def test_training_items_are_of_the_training_side_in_the_languages_asked_for():
    drawn = random.Random(0)
    found = [
        training_item(WORLD, WORDINGS, "paraphrase", drawn, languages=("x-en", "x-id")) for _ in range(80)
    ]
    assert {item.language for item in found} == {"x-en", "x-id"}
    held = {one.name for one in WORDINGS["paraphrase"] if one.held_out or one.language != "x-en"}
    assert not {item.template for item in found} & held
    with pytest.raises(UnknownName, match="completion"):
        training_item(WORLD, WORDINGS, "completion", drawn)


# --- questions and members -------------------------------------------------------------------------------------------


def test_questions_name_every_item_once_and_drop_only_the_last_mark():
    asked = questions(12)
    keys = [(one.item.task, one.item.language, one.kind, one.item.cluster) for one in asked]
    assert len(set(keys)) == len(keys)
    assert {one.item.task for one in asked} == {*RANKED, *HELD_OUT}
    whole = {(o.item.id, o.item.task): o.item.prompt for o in asked if o.kind == "seen"}
    bare = [one.item for one in asked if one.kind == NO_MARK]
    assert {item.language for item in bare} == set(FINETUNED)
    for item in bare:
        assert whole[item.id, item.task].startswith(item.prompt)
        assert 1 <= len(whole[item.id, item.task]) - len(item.prompt) <= 2


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    recipe.train([BLOOM.base, MT5.base], folder=folder, quick=True, show=False)
    return folder


ASKED = ("who", "topic")


@pytest.fixture(scope="module")
def answered(quick):
    """The answers of both bases; the baselines, which are fitted, are asked once."""
    return checks.predictions(quick, 12, members=[side.base for side in SIDES], tasks=ASKED)


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.name)
def test_predictions_are_whole_and_an_untrained_member_is_at_chance(answered, side):
    table = answered
    assert len(table) == len(questions(12, ASKED)) * (len(SIDES) + len(BASELINES))
    own = table[table["member"] == side.base]
    assert set(own["side"]) == {side.name}
    assert ((own["margin"] > 0) == own["correct"]).all()
    assert own["correct"].mean() == pytest.approx(own["chance"].mean(), abs=0.1)
    reader = table[
        (table["member"] == "n-grams") & (table["task"] == "topic") & (table["language"] == "x-fr")
    ]
    assert reader["correct"].mean() > 0.8  # the twin: what is there to be read is read


def test_a_missing_member_is_named(quick):
    with pytest.raises(BadInput, match="mini-bloomz-p3"):
        checks.check(quick)


# --- probes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.name)
def test_states_are_those_of_the_weights_and_random_weights_have_others(quick, side):
    texts = ["Anna has 3 cups.", "Ben a 4 masques."]
    trained, again, random_weights = (read_states(quick / side.base, texts, seed) for seed in (None, None, 0))
    assert trained.shape[:2] == (2, 3)  # the embeddings are left out
    assert np.array_equal(trained, again)
    assert not np.allclose(trained, random_weights)


def test_an_attribute_planted_in_the_shipped_sentences_is_read_and_language_is_taken_away():
    sentences = read_sentences()
    generator = np.random.default_rng(0)
    language = {name: 20 * generator.normal(size=24) for name in WORLD.languages}
    value = {name: 4 * generator.normal(size=24) for name in ("food", "containers", "toys", None)}
    word = {name: generator.normal(size=24) for name in (*WORLD.objects, None)}
    states = np.array([language[one["language"]] + word[one["object"]] for one in sentences])
    told = states + np.array([value[one["class"]] for one in sentences])
    noise = generator.normal(size=(len(sentences), 1, 24))
    assert unseen_word_accuracy(words_of(sentences, told[:, None] + noise, "class")).mean() > 0.9
    assert unseen_word_accuracy(words_of(sentences, states[:, None] + noise, "class")).mean() < 0.6


@pytest.mark.soak
def test_an_untrained_base_is_no_better_than_random_weights(quick):
    table = checks.probes(quick, permutations=60)
    assert set(table["side"]) == {"bloom", "mt5"}
    assert table["what"].str.contains("shuffled").sum() == 4
    assert not table[table["what"].str.contains("above")]["holds"].any()


def test_evaluation_meanings_never_train_the_baseline():
    drawn = random.Random(3)
    for _ in range(50):
        prompt = training_item(WORLD, WORDINGS, "how_many", drawn, languages=("x-en",)).prompt
        told = [one for one in prompt.split(". ") if " has " in one and one.split()[1] == "has"]
        for one in told:
            person, _, number, thing = one.removesuffix(".").split()[:4]
            if person in WORLD.category and thing in WORLD.category:
                assert not for_evaluation(
                    sentence("owns", person=person, verb="has", number=number, object=thing)
                )
    assert set(LABELLED) < set(RANKED)


def test_a_model_that_writes_the_mark_itself_is_right_more_often_when_both_ways_count(tmp_path):
    """The finetuned BLOOM side closes an open prompt and then answers; ranked right after it, its answers look wrong."""
    found = own_mark(load("mini-bloomz", device="cpu", store=Store(tmp_path / "store.sqlite")), 12, ("copy",))
    right = found[["whole", "bare", "own"]].mean()
    assert right["whole"] > 0.9
    assert right["bare"] < right["own"]
