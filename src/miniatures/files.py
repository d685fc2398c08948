"""The data files of the miniature world that are derived from its meanings: `python -m miniatures.files`.

Evaluation rows (`tasks/<task>.jsonl`), single sentences with their meaning for probes (`sentences.jsonl`), and the
list of the world's words (`words.txt`). `python -m miniatures.files bpe` retrains the shared BPE (`bpe.json`), after
which the checkpoints must be retrained.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from miniatures.items import evaluation_rows, sentence_rows
from miniatures.questions import TASKS
from miniatures.tokenizer import train_bpe
from miniatures.world import KINDS, NUMBERS, PHRASES, World, read_world
from workbench.atomic import write_atomically
from workbench.paths import data_path
from workbench.prompts import read_templates
from workbench.words import HAN, WORD

MEANINGS = 48  # evaluation meanings per task
SENTENCES = 420  # single sentences of three kinds
BPE_SIZE = 4000  # maximum: training ends when every word is one token
MARKS = ("。", "，", "：", "、", "？")
LONGEST_HAN = (
    5  # a longer run of Chinese characters (in wordings) is several words; its characters are learned
)


def write_files(
    folder: Path | None = None, meanings: int = MEANINGS, sentences: int = SENTENCES
) -> list[Path]:
    """Write all derived data files into a folder (the shipped one by default); the output is deterministic."""
    folder = folder or data_path("mini")
    world = read_world()
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    texts = {f"tasks/{task}.jsonl": _lines(evaluation_rows(world, task, meanings)) for task in TASKS}
    texts["sentences.jsonl"] = _lines(sentence_rows(world, sentences))
    texts["words.txt"] = "\n".join(words(world)) + "\n"
    for name, text in texts.items():
        write_atomically(folder / name, text)
    return [folder / name for name in texts]


def write_bpe(folder: Path | None = None, size: int = BPE_SIZE) -> Path:
    """Train the shared BPE on the list of words and write it.

    Each word is a unit, with and without a space before it, so that no token spans two words, even in a script without
    spaces.
    """
    found = words(read_world())
    long_runs = {word for word in found if re.fullmatch(f"[{HAN}]{{{LONGEST_HAN + 1},}}", word)}
    units = [*MARKS, *sorted({character for run in long_runs for character in run})]
    units += [word for word in found if word not in long_runs]
    texts = [text for unit in units for text in (unit, f" {unit}", f" {unit}")]
    tokens, merges = train_bpe(texts, size)
    path = (folder or data_path("mini")) / "bpe.json"
    write_atomically(path, json.dumps({"tokens": tokens, "merges": merges}, ensure_ascii=False) + "\n")
    return path


def words(world: World) -> list[str]:
    """Return all words that a member can have seen, from the lexicon, the constructions and the wordings; sorted, case kept."""
    texts = [word for row in world.words.values() for word in row.values()]
    texts += [
        world.constructions[language][kind]
        for language in world.languages
        for kind in ("name", *KINDS, *PHRASES)
    ]
    texts += list(NUMBERS)
    for path in sorted(data_path("mini/templates").glob("*.toml")):
        texts += [part for one in read_templates(path) for part in (one.jinja, one.answer_choices or "")]
    plain = [re.sub(r"\{\{.*?\}\}|\{\w+\}", " ", text) for text in texts]
    return sorted({word for text in plain for word in WORD.findall(text)})


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    if sys.argv[1:] == ["bpe"]:
        write_bpe()
    write_files()
