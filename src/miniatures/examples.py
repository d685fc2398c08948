"""The three finetuning mixtures of the miniature family, P3, xP3 and xP3mt, over the same items.

Example number n has the same meaning and the same task in all three: P3 in English with English wordings, xP3 in
the finetuning languages with English wordings, xP3mt with half of the wordings in the language of the data.
`write_mixture` writes one in the published file format.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from miniatures.items import draw_text, draw_truncated, translation_row
from miniatures.questions import RANKED, draw_case, ranked_row
from miniatures.world import PIVOT, World, read_world
from workbench.errors import BadInput, UnknownName
from workbench.paths import data_path
from workbench.prompts import Template, read_templates, render
from workbench.training.mixtures.files import Pair, file_name, write

FINETUNED = (PIVOT, "x-fr", "x-id", "x-zh")  # the languages of the finetuning data
PIVOT_SHARE = 0.4  # of the examples, as English in xP3
WEIGHTS = dict.fromkeys(RANKED, 0.7) | {  # of ranked tasks; matching values is hardest
    "who": 1.5, "how_many": 1.5, "what": 1.5, "where": 2.5, "yes_no": 3.5, "paraphrase": 3.5,
}  # fmt: skip

Wordings = Mapping[str, Sequence[Template]]


@dataclass(frozen=True)
class Mixture:
    """The composition of a mixture, as shares of its examples."""

    languages: tuple[str, ...] = FINETUNED
    native: float = 0.0  # of wordings: in the language of the data
    translation: float = 0.15
    continuation: float = 0.06


MIXTURES = {
    "p3": Mixture(languages=(PIVOT,)),
    "xp3": Mixture(),
    "xp3mt": Mixture(native=0.5),
}


@dataclass(frozen=True)
class Example:
    """One finetuning pair and its origin."""

    inputs: str
    targets: str
    task: str
    language: str
    template: str
    target_language: str  # of the answer: not that of the data where a translation goes the other way


def read_wordings() -> dict[str, list[Template]]:
    """Read all wordings of all shipped tasks."""
    paths = sorted(data_path("mini/templates").glob("*.toml"))
    return {path.stem: read_templates(path) for path in paths}


def draw_example(world: World, mixture: Mixture, wordings: Wordings, rng: random.Random) -> Example:
    """Draw one example from the training side of the split.

    From one random state all mixtures draw the same meaning; translation needs two languages, so P3 has a ranked
    task in its place.
    """
    kind, task = rng.random(), rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    language = PIVOT if rng.random() < PIVOT_SHARE else rng.choice(FINETUNED[1:])
    language = language if language in mixture.languages else PIVOT
    target = language
    native, place, to_pivot = rng.random() < mixture.native, rng.random(), rng.random() < 0.5
    if kind < mixture.continuation:
        task, row = "continuation", draw_truncated(world, rng, language)
    elif kind < mixture.continuation + mixture.translation and len(mixture.languages) > 1:
        task, other = "translation", language if language != PIVOT else rng.choice(mixture.languages[1:])
        pair = (other, PIVOT) if to_pivot else (PIVOT, other)
        row = translation_row(world, draw_text(world, rng, evaluation=False), *pair)
        target = pair[1]
    else:
        row = ranked_row(world, task, draw_case(world, task, rng, evaluation=False), language)
    open_to_training = [one for one in wordings[task] if not one.held_out]
    found = [one for one in open_to_training if native and one.language == language]
    found = found or [one for one in open_to_training if one.language == PIVOT]
    wording = found[int(place * len(found))]
    prompt = render(wording, row)
    return Example(prompt.text, prompt.target, task, language, wording.name, target)


def draw_examples(world: World, name: str, count: int, seed: int = 0) -> Iterator[Example]:
    """Draw the first `count` examples of a mixture; each depends on the seed and its number alone.

    Raises:
        UnknownName: no such mixture.
    """
    if name not in MIXTURES:
        raise UnknownName(f"no mixture called {name!r}; choose one of: {', '.join(MIXTURES)}")
    wordings = read_wordings()
    for number in range(count):
        yield draw_example(world, MIXTURES[name], wordings, random.Random(f"{seed} {number}"))


def write_mixture(folder: Path, name: str, count: int, seed: int = 0) -> list[Path]:
    """Write examples in xP3's layout: a folder per language of the target, a file per task and wording.

    Raises:
        UnknownName: no such mixture.
        BadInput: the folder is not empty.
        StoreFailed: a file could not be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadInput(f"{folder} is not empty; give a new folder, so that no two mixtures are mixed")
    files = defaultdict(list)
    for one in draw_examples(read_world(), name, count, seed):
        files[one.target_language, file_name("mini", one.task, "train", one.template)].append(one)
    return [
        write(folder, language, path, (Pair(one.inputs, one.targets) for one in found))
        for (language, path), found in sorted(files.items())
    ]
