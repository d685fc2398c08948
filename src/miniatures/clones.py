"""Clones of English: the same sentences in other words, for some clones in inverted order.

Transfer between English and a clone differs for known reasons only: the share of common words, and the word order.
`python -m miniatures.clones` rewrites the clones' columns of `lexicon.csv` and their sections of
`constructions.toml` from the English ones; a test keeps the files equal to its output.
"""

import csv
import io
import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from workbench.atomic import write_atomically
from workbench.paths import data_path

ONSETS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "ch", "sh"]
# Never change the line above the derived sections: the file's bytes enter the recipe's hash.
MARK = re.compile(r"(\n# --- clones of English, derived.*\n)")
SHARED_CATEGORIES = ("person",)
COPIED = ("name", "join", "list")  # keys of a language's section that are not translated


@dataclass(frozen=True)
class Clone:
    """One clone: its code, its name in prompts, the share of words it keeps and whether its order is inverted."""

    code: str
    name: str
    shared: float
    inverted: bool


CLONES = (
    Clone("x-en30", "Thirlish", shared=0.3, inverted=False),
    Clone("x-en30r", "Rithlish", shared=0.3, inverted=True),
    Clone("x-en00", "Zerlish", shared=0.0, inverted=False),
    Clone("x-en00r", "Revlish", shared=0.0, inverted=True),
)


def clone_words(words: list[str], taken: set[str], clone: Clone) -> dict[str, str]:
    """Map each English word to the clone's word; new words are added to `taken`, so that no two words collide."""
    rng = random.Random(f"clone {clone.code}")
    shared = random.Random(f"shared {clone.shared}")  # clones with equal shares keep the same words
    kept = set(shared.sample(sorted(words), round(clone.shared * len(words))))
    mapping = {}
    for word in words:
        if word not in kept:
            new = _invent(rng)
            while new in taken:
                new = _invent(rng)
            taken.add(new)
        mapping[word] = word if word in kept else new
    return mapping


def _invent(rng: random.Random) -> str:
    return "".join(rng.choice(ONSETS) + rng.choice("aeiou") for _ in range(rng.choice((2, 2, 3))))


def translate(text: str, mapping: dict[str, str], inverted: bool) -> str:
    """Translate word by word; slots in braces, commas and colons keep their places between parts, a final stop stays final."""
    stop = "." if text.endswith(".") else ""
    pieces = re.split(r"([,:] )", text.removesuffix("."))
    parts = [[mapping.get(word, word) for word in part.split()] for part in pieces[::2]]
    marks = [*pieces[1::2], ""]
    if inverted:
        parts = [part[::-1] for part in reversed(parts)]
        marks = [*pieces[1::2][::-1], ""]
    return "".join(" ".join(part) + mark for part, mark in zip(parts, marks, strict=True)) + stop


def derive(lexicon: str, constructions: str) -> tuple[str, str]:
    """Return the text of `lexicon.csv` and `constructions.toml` with the clones' parts rewritten."""
    rows = list(csv.DictReader(io.StringIO(lexicon)))
    natural = [name for name in rows[0] if name not in {clone.code for clone in CLONES}]
    head, mark, _ = MARK.split(constructions, maxsplit=1)
    english = tomllib.loads(head)["x-en"]
    words, taken = _words_to_clone(rows, natural, english)
    sections = []
    for clone in CLONES:
        mapping = clone_words(words, taken, clone)
        for row in rows:
            keep = row["category"] in SHARED_CATEGORIES
            row[clone.code] = row["x-en"] if keep else translate(row["x-en"], mapping, clone.inverted)
        lines = [
            f'{kind} = "{translate(text, mapping, clone.inverted)}"'
            for kind, text in english.items()
            if kind not in COPIED
        ]
        head_lines = [f"\n[{clone.code}]", f'name = "{clone.name}"']
        head_lines += [f'{key} = "{english[key]}"' for key in COPIED[1:]]
        sections.append("\n".join([*head_lines, *lines]) + "\n")
    out = io.StringIO()
    writer = csv.DictWriter(out, [*natural, *(clone.code for clone in CLONES)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue(), head + mark + "".join(sections)


def _words_to_clone(
    rows: list[dict[str, str]], natural: list[str], english: dict[str, str]
) -> tuple[list[str], set[str]]:
    languages = [name for name in natural if name.startswith("x-")]
    phrases = [row["x-en"] for row in rows if row["category"] not in SHARED_CATEGORIES]
    sentences = [re.sub(r"\{\w+\}|[.,:]", " ", text) for kind, text in english.items() if kind not in COPIED]
    words = list(dict.fromkeys(" ".join(phrases + sentences).split()))
    taken = {word for row in rows for language in languages for word in row[language].split()}
    return words, taken | set(words)


def main(folder: Path | None = None) -> None:
    """Rewrite both files."""
    folder = folder or data_path("mini")
    lexicon, constructions = folder / "lexicon.csv", folder / "constructions.toml"
    texts = derive(lexicon.read_text(encoding="utf-8"), constructions.read_text(encoding="utf-8"))
    for path, text in zip((lexicon, constructions), texts, strict=True):
        write_atomically(path, text)


if __name__ == "__main__":
    main()
