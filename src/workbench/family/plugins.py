"""Families of checkpoints and their registry, the entry point group `workbench.families`.

An entry point names a function without arguments that returns a `Family`; one file and three lines of a project's
`pyproject.toml` are enough. The registry is read on first use; `find` does not need it for names in the catalogue.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from workbench.errors import BadInput, UnknownName
from workbench.family.catalogue import checkpoints, named, nearest
from workbench.family.checkpoints import Checkpoint
from workbench.family.gguf_names import is_gguf
from workbench.family.served import declared_checkpoint

Badge = Literal["PUBLISHED", "MEASURED", "SYNTHETIC"]
REAL_WORDS = "lexicon"  # the source of real data that is always available


@dataclass(frozen=True)
class Family:
    """Checkpoints that belong together, with their tasks and the provenance of their results.

    `badge` is shown on figures: MEASURED for checkpoints trained on real text, SYNTHETIC for those of an artificial world.
    `languages` are the language codes of its tasks, beginning with that of the English templates. `data` is a folder with those
    tasks: `tasks/<task>.jsonl`, `templates/<task>.toml`, `sentences.jsonl`, and `words.txt`, the vocabulary used to segment text
    without spaces; each is optional. `source` is the name by which these data are selected; by default `name`.
    `about` says in a sentence what these data are, and `attribute` is the one that probes read by default. `finetuned` are the
    languages of its multilingual mixtures, for codes outside `data/languages.csv`; that of its P3 is the first of `languages`.
    `check_prompts` takes prompts and returns a warning about them, or None.
    """

    name: str
    checkpoints: tuple[Checkpoint, ...]
    badge: Badge = "MEASURED"
    languages: tuple[str, ...] = ()
    data: Path | None = None
    check_prompts: Callable[[Sequence[str]], str | None] | None = None
    source: str = ""
    about: str = ""
    attribute: str = ""
    finetuned: tuple[str, ...] = ()

    def has_task(self, task: str) -> bool:
        """Whether its data contain a task."""
        return self.data is not None and (self.data / f"tasks/{task}.jsonl").is_file()


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """Return the families: BLOOMZ & mT0, then the registered ones."""
    return (Family("BLOOMZ & mT0", checkpoints()), *(make() for _, make in registered("workbench.families")))


def registered(group: str) -> list[tuple[str, Any]]:
    """Return the names and objects that installed packages register in an entry point group, sorted.

    A package that cannot be imported is skipped with a warning, so that it does not block all others.
    """
    found = []
    for entry in sorted(entry_points(group=group)):
        try:
            found.append((entry.name, entry.load()))
        except (ImportError, AttributeError) as error:
            warnings.warn(
                f"{entry.value!r}, which is registered in {group} as {entry.name!r}, cannot be imported: {error}; "
                "reinstall its package or remove it",
                stacklevel=2,
            )
    return found


def find(name: str) -> Checkpoint:
    """Return a checkpoint of any family by its short name or hub id; for a model on a server, the declared one.

    Raises:
        UnknownName: no such checkpoint; the message lists the nearest names.
    """
    name = declared_checkpoint(name)
    found = named(name, checkpoints()) or named(name, _all())
    if found is None:
        known = dict.fromkeys(text for one in _all() for text in (one.name, one.hub_id))
        raise UnknownName(f"no checkpoint called {name!r}; {nearest(name, [*known])}")
    return found


def family_of(name: str) -> Family | None:
    """Return the family of a checkpoint, or None; a folder is matched by its base name, as for a retrained checkpoint."""
    name = declared_checkpoint(name)
    last = Path(name).name
    return next(
        (one for one in families() if named(name, one.checkpoints) or named(last, one.checkpoints)), None
    )


def parents(names: Iterable[str]) -> list[str]:
    """Return what each checkpoint was finetuned from, by the catalogue.

    Raises:
        BadInput: a checkpoint that the catalogue does not have, or one that was only pretrained.
    """
    found = []
    for name in names:
        known = named(name, _all())
        if known is None or known.parent is None:
            why = "is not in the catalogue" if known is None else "was only pretrained"
            raise BadInput(f"{name} {why}, so no base is known for it; name the base of every model yourself")
        found.append(known.parent)
    return found


def data_files(pattern: str) -> list[Path]:
    """Return the files in the families' data folders that match a pattern, as `data_files("tasks/*.jsonl")`."""
    return [path for one in families() if one.data for path in sorted(one.data.glob(pattern))]


def badge_of(name: str) -> Badge:
    """Return the provenance of a model's results; MEASURED for a folder or hub id that belongs to no family.

    Raises:
        UnknownName: neither a checkpoint, nor a folder, nor a hub id; the message lists the nearest names.
    """
    is_file, name = is_gguf(name), declared_checkpoint(name)
    family = family_of(name)
    if family is None and not is_file and "/" not in name and not Path(name).is_dir():
        find(name)
    return family.badge if family else "MEASURED"


def family_with_data(source: str) -> Family | None:
    """Return the family whose data have this name, or None."""
    return next(
        (one for one in families() if one.data is not None and source == (one.source or one.name)), None
    )


def fitting_source(names: Iterable[str]) -> str:
    """Return the default source of data for these models: their family's own, or else real words, which need no network."""
    own = [one.source or one.name for name in names if (one := family_of(name)) and one.data is not None]
    return own[0] if own else REAL_WORDS


def data_badge(source: str) -> Badge:
    """Return the provenance of data: SYNTHETIC for those of an artificial world, by name or by path, else MEASURED (real text)."""
    synthetic = [one for one in families() if one.badge == "SYNTHETIC" and one.data is not None]
    path = Path(source).absolute()
    inside = any(
        one is family_with_data(source) or path.is_relative_to(one.data or path) for one in synthetic
    )
    return "SYNTHETIC" if inside else "MEASURED"


def shared_badge(names: Iterable[str], source: str = "") -> Badge:
    """Return the provenance of a figure that shows these models, asked on data of this source (by default, each on its own).

    An artificial world makes a figure SYNTHETIC, whether the models or the data belong to it.

    Raises:
        BadInput: models whose results must not share a figure.
        UnknownName: as `badge_of`.
    """
    badges = {name: badge_of(name) for name in names}
    synthetic = [name for name, badge in badges.items() if badge == "SYNTHETIC"]
    others = [name for name in badges if name not in synthetic]
    if synthetic and others:
        raise BadInput(
            f"{', '.join(synthetic)} with {', '.join(others)}: SYNTHETIC results never share a figure with others; "
            "set all model parameters of the notebook, not only one"
        )
    return "SYNTHETIC" if synthetic or (source and data_badge(source) == "SYNTHETIC") else "MEASURED"


def shipped() -> tuple[str, ...]:
    """Return the names of the checkpoints whose weights ship with their family and work without a network."""
    return tuple(one.name for one in _all() if one.folder is not None)


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Return the words of all families that have a `words.txt`."""
    lists = [path.read_text(encoding="utf-8") for path in data_files("words.txt")]
    return frozenset(word for words in lists for word in words.split())


def _all() -> list[Checkpoint]:
    return [checkpoint for family in families() for checkpoint in family.checkpoints]
