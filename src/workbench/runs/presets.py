"""Presets: named parameters of notebooks, for a kind of machine; TOML files in `notebooks/presets/`, or files of your own.

`[run.NOTEBOOK]` holds parameters of one run, `[sweep.NOTEBOOK]` what a sweep's file says of many.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from workbench.errors import BadInput, UnknownName
from workbench.family import Checkpoint, checkpoints, find
from workbench.paths import expanded, notebook_path
from workbench.runs.sweep_file import SweepFile


class Preset(BaseModel):
    """A preset: what it is for, and by notebook the parameters of a run, or the content of a sweep's file without `notebook`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    about: str = ""
    run: dict[str, dict[str, Any]] = {}
    sweep: dict[str, dict[str, Any]] = {}

    def values(self, notebook: Path) -> dict[str, Any]:
        """Return the parameters of a run of a notebook.

        Raises:
            UnknownName: the preset has none for it.
        """
        if notebook.stem not in self.run:
            raise UnknownName(self._lacks(notebook.stem))
        return self.run[notebook.stem]

    def sweep_file(self, notebook: Path) -> SweepFile:
        """Return the sweep of a notebook.

        Raises:
            UnknownName: the preset has none for it.
            BadInput: it is not one.
        """
        if notebook.stem not in self.sweep:
            raise UnknownName(self._lacks(notebook.stem))
        try:
            name = f"{Path(self.name).stem}-{notebook.stem}"
            return SweepFile(**{"notebook": str(notebook), "name": name, **self.sweep[notebook.stem]})
        except (ValidationError, TypeError) as error:
            raise BadInput(
                f"the preset {self.name!r} has no sweep of {notebook.stem}: {_first(error)}"
            ) from error

    def with_models(self, names: Sequence[str]) -> "Preset":
        """Return the preset with other checkpoints of the catalogue: each name replaces those of its side.

        What a checkpoint was finetuned from, and its versions of other mixtures, are replaced by those of the new one.

        Raises:
            UnknownName: a name that is not in the catalogue.
            BadInput: two names of one side, or no version of a mixture that the preset asks for.
        """
        new = {find(name).architecture: find(name) for name in names}
        if len(new) < len(names):
            raise BadInput(
                f"{', '.join(names)}: give one checkpoint of each side, as bloomz-1b1 and mt0-base"
            )
        return self.model_copy(update={"run": _replaced(self.run, new)})

    def _lacks(self, stem: str) -> str:
        commands = [f"workbench run {name} --preset {self.name}" for name in self.run]
        commands += [f"workbench sweep {name} --preset {self.name}" for name in self.sweep]
        return f"the preset {self.name!r} has no such parameters for {stem}; it is for: {', '.join(commands) or 'nothing'}"


def _replaced(value: Any, new: Mapping[str, Checkpoint]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(part, new) for key, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, new) for part in value]
    old = next((one for one in checkpoints() if one.name == value), None)
    return _counterpart(old, new[old.architecture]) if old and old.architecture in new else value


def _counterpart(old: Checkpoint, new: Checkpoint) -> str:
    """Return the checkpoint of the new one's size that had the old one's finetuning."""
    base = new.parent or new.name
    of_size = [one for one in checkpoints() if base in (one.name, one.parent)]
    found = next((one.name for one in of_size if one.mixture == old.mixture), None)
    if found is None:
        raise BadInput(
            f"the preset uses {old.name} ({old.mixture}), but {new.name} has no such version; of its size there are: "
            f"{', '.join(one.name for one in of_size)}"
        )
    return found


def presets() -> list[str]:
    """Return the names of the presets that ship."""
    return sorted(path.stem for path in notebook_path("presets").glob("*.toml"))


def read_preset(name: str) -> Preset:
    """Return a preset that ships, by its name, or one in a TOML file of your own, by its path.

    Raises:
        UnknownName: there is none; the message lists those that ship.
        BadInput: a file that is no preset.
    """
    path = expanded(name) if name.endswith(".toml") else notebook_path("presets") / f"{name}.toml"
    if (name not in presets() and not name.endswith(".toml")) or not os.path.isfile(path):
        raise UnknownName(f"no preset {name!r}; choose one of: {', '.join(presets())}; or name a .toml file")
    try:
        return Preset.model_validate({"name": name, **tomllib.loads(path.read_text(encoding="utf-8-sig"))})
    except (OSError, ValueError, RecursionError) as error:  # pydantic's and TOML's errors are ValueErrors
        raise BadInput(
            f"{path} is no preset: {_first(error)}; it may say: about, [run.NOTEBOOK] and [sweep.NOTEBOOK]"
        ) from error


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
