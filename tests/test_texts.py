"""The numbers that stand in texts about the miniature world are those of its data."""

import re
from pathlib import Path

import pytest

from miniatures import check, clones, recipe
from miniatures.examples import FINETUNED, MIXTURES, read_wordings
from miniatures.questions import HELD_OUT, RANKED
from miniatures.world import EVALUATION_SHARE, EVALUATION_SHARE_ELSE, PIVOT, read_world, sentence
from workbench import family
from workbench.paths import data_path
from workbench.studies import published
from workbench.tasks import read_rows, read_sentences

ROOT = Path(__file__).parents[1]
WORLD = read_world()
WORDS = {3: "three", 4: "four", 8: "eight", 10: "ten", 11: "eleven", 12: "twelve", 15: "fifteen"}
MINI = "data/mini/README.md"

LANGUAGES = len(WORLD.languages)
WORDINGS = sum(map(len, read_wordings().values()))
PIVOTS = [f"{100 * phase.dials.pivot:.0f}" for phase in recipe.MEMBERS[0].phases]
SCORES = f"{len(published.results()):,}".split(",")
KEPT = [f"{100 * one.shared:.0f}" for one in clones.CLONES]
SECOND = {
    (row.side, row.what): row
    for row in check.judge(check.read_predictions(data_path("mini/predictions/seed-1.parquet"))).itertuples()
}
SHARED_WORDS = SECOND["bloom", "shared words, above"]
HELD = [row.holds for row in SECOND.values() if row.needs]


def percent_of_second_seed(side, what):
    return f"{100 * SECOND[side, what].value:.0f}"


CLAIMS = [  # file, what it says, the numbers counted in the data
    (MINI, "in {} miniature languages, and {} tiny checkpoints", LANGUAGES, len(family.shipped())),
    (MINI, "{} wordings, promptsource style", WORDINGS),
    (MINI, "evaluation rows: {} meanings × all languages", len({row["cluster"] for row in read_rows("who")})),
    (MINI, "{} single sentences × all languages", len({row["id"] for row in read_sentences()})),
    (MINI, "the pivot: {} % of all but parallel documents, {} % in one stage", *PIVOTS),
    (MINI, "clone of English: {} % of the words shared, same order", KEPT[0]),
    (MINI, "clone: the same {} % shared, inverted order", KEPT[1]),
    (MINI, "one fact (person, number, object) in {}", EVALUATION_SHARE_ELSE),
    (MINI, "one mood (person, action) in {} are for evaluation", EVALUATION_SHARE["mood"]),
    (MINI, "{} % of the finetuning prompts are passages cut inside", f"{100 * MIXTURES['xp3'].continuation:.0f}"),
    (MINI, "{} of {} conditions of checks a to d", str(sum(HELD)), str(len(HELD))),
    (MINI, "`mini-mt0` reaches {} % of seen wordings", percent_of_second_seed("mt5", "mini-mt0: accuracy, at least")),
    (MINI, "`mini-bloomz-p3` keeps {} % of its score in families", percent_of_second_seed("bloom", "mini-bloomz-p3: held-out families / seen wordings, at least")),
    (MINI, "worth {} points [{}, {}], so", *(f"{100 * x:.0f}" for x in (SHARED_WORDS.value, SHARED_WORDS.low, SHARED_WORDS.high))),
    ("README.md", "one of {} tiny checkpoints that ship", len(family.shipped())),
    ("README.md", "load any of the {} checkpoints", str(len(family.checkpoints()))),
    ("README.md", "| {} checkpoints, languages seen", str(len(family.checkpoints()))),
    ("docs/python.md", "authors' {},{} scores", *SCORES),
    ("CHANGELOG.md", "{},{} published zero-shot scores", *SCORES),
    ("CHANGELOG.md", "{} checkpoints (BLOOM and mT5 side", len(family.shipped())),
    ("CHANGELOG.md", "{} languages in two scripts, {} tasks, {} templates", LANGUAGES, len(RANKED + HELD_OUT), WORDINGS),
]  # fmt: skip


def text_of(file):
    return " ".join((ROOT / file).read_text(encoding="utf-8").split())


def said(claim, numbers):
    return claim.format(*(WORDS.get(number, number) for number in numbers))


@pytest.mark.parametrize(
    ("file", "claim", "numbers"), [(file, claim, numbers) for file, claim, *numbers in CLAIMS]
)
def test_a_number_in_a_text_is_that_of_the_data(file, claim, numbers):
    text = text_of(file)
    assert said(claim, numbers) in text
    for place in range(len(numbers)):  # the twin: one more of any of them is not what it says
        others = [type(one)(int(one) + (at == place)) for at, one in enumerate(numbers)]
        assert said(claim, others) not in text


def test_no_number_about_the_miniature_world_stands_untied():
    """A number that is added to its page needs a claim above; the examples of languages are tested below."""
    text = text_of(MINI)
    for name in ("another seed (7)", "seed 0", "notebook 05"):
        text = text.replace(name, "")
    for file, claim, *numbers in CLAIMS:
        text = text.replace(said(claim, numbers), "") if file == MINI else text
    plain = re.sub(r"`[^`]*`|\"[^\"]*\"", "", text.partition("## Files")[2])
    left = re.findall(r"(?<![\w-])\d+(?!\w)", plain)
    assert left == []


def test_the_table_of_languages_is_that_of_the_world():
    rows = [
        [cell.strip(" *`") for cell in line.split("|")[1:-1]]
        for line in (ROOT / MINI).read_text(encoding="utf-8").splitlines()
        if line.startswith("| `x-")
    ]
    told = [
        sentence("owns_at", person="Anna", verb="has", number="3", object="apples", place="garden"),
        sentence("mood", person="Anna", mood="smiles"),
    ]
    assert [row[:3] + row[4:] for row in rows] == [
        [code, WORLD.name(code), WORLD.tell(told, code), "yes" if code in FINETUNED else "no"]
        for code in WORLD.languages
    ]
    assert rows[0][0] == PIVOT


def test_the_table_of_tasks_names_each_once():
    table = (ROOT / MINI).read_text(encoding="utf-8").split("## Tasks")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [task for row in rows for task in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted([*RANKED, *HELD_OUT, "translation", "continuation"])
