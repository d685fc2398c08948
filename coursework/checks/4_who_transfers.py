"""Checks of assignment 4, "Who transfers?": tables whose gap is planted under a composition effect, and texts with a planted cue."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from workbench.grading import Choice, check
from workbench.stats.few_clusters import cell_contrast

SIMULATIONS = 200
FEWEST = 160  # intervals that contain the truth: with 90 % true, fewer occur once in 100,000 times

Rows = list[tuple[float, str, bool, str]]
Table = tuple[np.ndarray, ...]


def columns(draw: np.random.Generator, rows: Rows) -> Table:
    """Gains, tasks, groups and languages of rows in random order."""
    picked = [rows[place] for place in draw.permutation(len(rows))]
    return tuple(np.array(column) for column in zip(*picked, strict=True))


def answers(draw: np.random.Generator, chance_right: np.ndarray, prefix: str = "item") -> dict[str, int]:
    """Right and wrong answers to items, each with its own chance to be right, in random order."""
    right = (draw.random(len(chance_right)) < chance_right).astype(int)
    return {f"{prefix}-{place}": int(right[place]) for place in draw.permutation(len(right))}


def composed(draw: np.random.Generator, gaps: list[float]) -> Rows:
    """Tasks of unequal gains, with many languages of one group where gains are small; without noise."""
    rows = []
    for task, gap in enumerate(gaps):
        level = 60.0 * task / len(gaps) + float(draw.uniform(0, 8))
        many, few = int(draw.integers(7, 12)), int(draw.integers(1, 4))
        for first, size in ((True, few), (False, many)) if task % 2 else ((True, many), (False, few)):
            rows += [(level + gap * first, f"task-{task}", first, f"{first}-{n}") for n in range(size)]
    return rows


@check(
    "same-items",
    "gain",
    "An item that only one of the two models answered compares nothing. Which items may the difference be taken over?",
)
def same_items(draw: np.random.Generator) -> Iterator[Any]:
    """The gain over the items that both answered, where each lacks some and the lacking ones are not like the others."""
    cases, wanted = [], []
    for _ in range(8):
        hard = np.linspace(0.1, 0.8, 60)
        base, tuned = answers(draw, hard), answers(draw, hard + 0.15)
        base = {key: value for key, value in base.items() if int(key[5:]) >= draw.integers(5, 25)}
        tuned = {key: value for key, value in tuned.items() if int(key[5:]) < draw.integers(40, 58)}
        both = [key for key in base if key in tuned]
        cases.append((base, tuned, 0.5))
        wanted.append(np.mean([tuned[key] - base[key] for key in both]))
    found = yield cases
    return bool(np.allclose([each["gain"] for each in found], wanted, atol=1e-9))


@check(
    "headroom",
    "gain",
    "Which is the range from guessing to perfect? And what does a model know that is below guessing?",
)
def headroom(draw: np.random.Generator) -> Iterator[Any]:
    """The share of the room above chance; below chance is chance."""
    cases, wanted = [], []
    for chance, low, high in (
        (0.5, 0.6, 0.9),
        (0.25, 0.3, 0.8),
        (1 / 3, 0.1, 0.7),
        (0.5, 0.3, 0.4),
        (0.5, 0.8, 0.3),
    ):
        base, tuned = (answers(draw, np.full(50, level)) for level in (low, high))
        before, after = (max(np.mean(list(each.values())), chance) for each in (base, tuned))
        cases.append((base, tuned, chance))
        wanted.append((after - before) / (1 - chance))
    found = yield cases
    return bool(np.allclose([each["share"] for each in found], wanted, atol=1e-9))


@check(
    "composition",
    "within_task",
    "In a table whose gap is the same in every task you find another one. What do the two groups still differ in, besides their languages?",
)
def composition(draw: np.random.Generator) -> Iterator[Any]:
    """The planted gap, though the groups have unequal numbers of languages in tasks of unequal gains."""
    gaps = draw.uniform(-12, 12, 8)
    found = yield [columns(draw, composed(draw, [gap] * int(draw.integers(2, 6))))[:3] for gap in gaps]
    return bool(np.allclose(found, gaps, atol=1e-6))


@check(
    "equal-tasks",
    "within_task",
    "Each task is to count equally. In yours a task with more languages counts more.",
)
def equal_tasks(draw: np.random.Generator) -> Iterator[Any]:
    """The plain mean of the tasks' gaps, which differ."""
    gaps = [draw.uniform(-15, 15, 4).tolist() for _ in range(6)]
    found = yield [columns(draw, composed(draw, each))[:3] for each in gaps]
    return bool(np.allclose(found, np.mean(gaps, axis=1), atol=1e-6))


@check(
    "one-sided",
    "within_task",
    "A task with languages of one group only has no gap. What did you put in its place?",
)
def one_sided(draw: np.random.Generator) -> Iterator[Any]:
    """Tasks that one of the groups lacks change nothing."""
    tables, gaps = [], draw.uniform(2, 9, 6)
    for gap in gaps:
        rows = composed(draw, [gap] * 3)
        rows += [(80.0, "only-first", True, f"True-{n}") for n in range(5)]
        rows += [(-20.0, "only-second", False, f"False-{n}") for n in range(3)]
        tables.append(columns(draw, rows)[:3])
    found = yield tables
    return bool(np.allclose(found, gaps, atol=1e-6))


def reverses(table: dict[str, Any], gap: float) -> bool:
    """Whether every task has at least this gap, and the plain means have the opposite one."""
    gains, groups = np.asarray(table["gains"], dtype=float), np.asarray(table["groups"]).astype(bool)
    tasks = np.asarray([str(each) for each in table["tasks"]])
    if not 4 <= len(gains) == len(tasks) == len(groups) <= 40 or np.abs(gains).max() > 100:
        return False
    within = [
        gains[(tasks == one) & groups].mean() - gains[(tasks == one) & ~groups].mean()
        if 0 < groups[tasks == one].sum() < np.sum(tasks == one)
        else -np.inf
        for one in np.unique(tasks)
    ]
    return min(within) >= gap - 1e-6 and bool(gains[groups].mean() < gains[~groups].mean())


@check(
    "reversal-works",
    "reversal",
    "Compute, from your own table, the gap of every task and the difference of the plain means: are they as asked, for a small gap and for a large one?",
)
def reversal(draw: np.random.Generator) -> Iterator[Any]:
    """Tables that reverse, for gaps of 1 to 25 points."""
    gaps = [float(draw.uniform(*ends)) for ends in ((1, 2), (4, 9), (12, 18), (22, 25))]
    found = yield [(gap,) for gap in gaps]
    return all(reverses(table, gap) for table, gap in zip(found, gaps, strict=True))


def simulated(draw: np.random.Generator, gap: float, tasks: int = 4, most: int = 20) -> Table:
    """Gains with a true gap: languages differ, some have fewer tasks, and gains depend on the task."""
    levels = np.where(np.arange(tasks) % 2, 5.0, 40.0) + draw.uniform(-5, 5, tasks)
    own = draw.normal(0, 6, 2 * most)
    rows = []
    for task in range(tasks):
        for first in (True, False):
            size = most - int(draw.integers(4)) - (6 if first != bool(task % 2) else 0)
            for n in range(size):
                told = levels[task] + gap * first + own[n + most * first] + draw.normal(0, 1)
                rows.append((float(told), f"task-{task}", first, f"{first}-{n}"))
    return columns(draw, rows)


def ends(found: list[Any]) -> np.ndarray:
    """Low and high of each interval, shape (N, 2)."""
    return np.asarray(found, dtype=float).reshape(len(found), 2)


@check(
    "coverage",
    "interval",
    "Of 200 intervals, far fewer than 19 in 20 contain the gap that was planted. What should be drawn anew, and which number should be computed from each draw?",
)
def coverage(draw: np.random.Generator) -> Iterator[Any]:
    """Intervals contain the planted gap nearly as often as they say."""
    gaps = draw.uniform(-6, 6, SIMULATIONS)
    found = yield [(*simulated(draw, gap), number) for number, gap in enumerate(gaps)]
    low, high = ends(found).T
    return int(np.sum((low <= gaps) & (gaps <= high))) >= FEWEST


@check(
    "clusters",
    "interval",
    "The same languages in four tasks instead of one are no further languages, yet your interval becomes narrower.",
)
def clusters(draw: np.random.Generator) -> Iterator[Any]:
    """Intervals of the same width for one task and for four in which every language gains alike."""
    once, often = [], []
    for number in range(8):
        gains, tasks, groups, languages = simulated(draw, 5.0, tasks=1)
        once.append((gains, tasks, groups, languages, number))
        names = np.repeat([f"task-{n}" for n in range(4)], len(gains))
        four = np.concatenate([gains + 7.0 * n for n in range(4)])
        often.append((four, names, np.tile(groups, 4), np.tile(languages, 4), number))
    found = yield [*once, *often]
    first, second = np.ptp(ends(found), axis=1).reshape(2, 8).mean(axis=1)
    return 0.8 < second / first < 1.25


@check(
    "narrow",
    "interval",
    "Your interval contains the truth because it is too wide: a 95 % interval leaves out one draw in twenty.",
)
def narrow(draw: np.random.Generator) -> Iterator[Any]:
    """Intervals no wider than 1.3 times those of a variance that is robust to clusters."""
    tables = [simulated(draw, 5.0) for _ in range(12)]
    found = yield [(*table, number) for number, table in enumerate(tables)]
    wanted = 0.0
    for gains, tasks, groups, languages in tables:
        cells = list(zip(tasks.tolist(), groups.tolist(), strict=True))
        weights = {cell: (1 if cell[1] else -1) / 4 for cell in cells}
        one = cell_contrast(gains, cells, languages.tolist(), weights)
        wanted += one.high - one.low
    width = np.diff(ends(found), axis=1)
    return bool((width > 0).all() and width.sum() < 1.3 * wanted)


def word(draw: np.random.Generator) -> str:
    """An invented word of two or three syllables."""
    return "".join(
        str(draw.choice([*"bdgklmnprst"])) + str(draw.choice([*"aeiou"])) for _ in range(draw.integers(2, 4))
    )


def cued(draw: np.random.Generator, label: str, cue: str) -> tuple[str, str]:
    """A text of new words, one of which ends in a cue of its label, and the label."""
    words = [word(draw) for _ in range(4)]
    words[int(draw.integers(4))] += cue
    return " ".join(words), label


def cues(draw: np.random.Generator) -> list[str]:
    """Three cues of the same letters."""
    return [str(each) for each in draw.permutation(["zof", "foz", "ozf", "fzo"])[:3]]


def texts_of(draw: np.random.Generator, sizes: list[int], kinds: list[str]) -> tuple[list[str], list[str]]:
    """Texts with their labels, so many of each kind, in random order."""
    labels = ["good", "bad", "so-so"]
    pairs = [
        cued(draw, label, cue)
        for label, cue, size in zip(labels, kinds, sizes, strict=False)
        for _ in range(size)
    ]
    picked = [pairs[place] for place in draw.permutation(len(pairs))]
    return [text for text, _ in picked], [label for _, label in picked]


def right(found: list[str], wanted: list[str]) -> float:
    """The share of labels that are right."""
    return float(np.mean([one == other for one, other in zip(found, wanted, strict=True)]))


@check(
    "letters",
    "ngram_choices",
    "The label could be told from three letters in a row, at the end of words that are new: what are your features?",
)
def letters(draw: np.random.Generator) -> Iterator[Any]:
    """A cue of three letters in new words is found, with two labels and with three."""
    calls, wanted = [], []
    for sizes in ([70, 70], [70, 70, 70]):
        kinds = cues(draw)
        new, labels = texts_of(draw, [20] * len(sizes), kinds)
        calls.append((*texts_of(draw, sizes, kinds), new))
        wanted.append(labels)
    found = yield calls
    return all(right(one, other) >= 0.75 for one, other in zip(found, wanted, strict=True))


@check(
    "unbalanced",
    "ngram_choices",
    "With seven times as many training texts of one label, nearly all new texts get that label, against what their letters say.",
)
def unbalanced(draw: np.random.Generator) -> Iterator[Any]:
    """The cue is found though labels are unequally frequent in training."""
    kinds = cues(draw)
    new, wanted = texts_of(draw, [30, 30], kinds)
    found = yield [(*texts_of(draw, [30, 210], kinds), new)]
    return right(found[0], wanted) >= 0.8


@check(
    "alone",
    "ngram_choices",
    "What you answer for a text depends on which other new texts are asked with it. A baseline sees one prompt at a time.",
)
def alone(draw: np.random.Generator) -> Iterator[Any]:
    """The same answers for texts together, in reverse, and in unequal parts."""
    kinds = cues(draw)
    training = texts_of(draw, [40, 40], kinds)
    new = sorted(texts_of(draw, [12, 12], kinds)[0])
    few = sorted(new, key=lambda text: kinds[0] in text)[:9]
    found = yield [(*training, new), (*training, new[::-1]), (*training, few)]
    whole = dict(zip(new, found[0], strict=True))
    return [*found[0]] == [*found[1]][::-1] and [*found[2]] == [whole[text] for text in few]


script = Choice(
    "script", "script", ("Latin", "others", "not known"), "not known",
    "Look at the interval over languages once more: which signs of the difference does it allow?",
)  # fmt: skip
surface = Choice(
    "surface", "surface", ("sentiment", "yes_no", "both", "neither"), "sentiment",
    "For each task, set the accuracy of the finetuned model in these languages beside that of the n-grams: which is higher?",
)  # fmt: skip
