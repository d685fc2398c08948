"""Where the files of a model are: the name of a checkpoint, a folder or a hub id becomes a place, without using the network."""

import os
from dataclasses import dataclass
from pathlib import Path

from workbench import family
from workbench.errors import BadInput, UnknownName
from workbench.models.folders import SETTINGS, expect_loadable, is_pickled, lacking, model_type, settings
from workbench.models.hub import cached, is_hub_id
from workbench.paths import expanded


@dataclass(frozen=True)
class Place:
    """A folder or, if `hub_id` is given, a revision on the hub, whose files may be in its cache on this machine."""

    name: str
    local: Path | None
    hub_id: str | None
    revision: str | None

    @property
    def snapshot(self) -> Path | None:
        """The folder on this machine, complete or not; None if there is none."""
        return self.local if self.hub_id is None else cached(self.hub_id, self.revision)

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None if it is incomplete in the hub's cache, or not there."""
        folder = self.snapshot
        return None if folder is None or (self.hub_id and lacking(folder)) else folder

    @property
    def key(self) -> str:
        """The key under which the store remembers the identity."""
        return f"{self.hub_id}@{self.revision or 'main'}" if self.hub_id else str(self.local)


def locate(name: str, revision: str | None = None) -> Place:
    """Return the place that a name stands for.

    Raises:
        UnknownName: neither a name of a family, nor a folder, nor of the form `owner/model`.
        BadInput: a file, a folder that is not a checkpoint, a revision of a model that is not on the hub, or a model on a server.
    """
    if family.is_served(name):
        raise BadInput(
            f"{name!r} is a model on a server, and its files are needed here; name a checkpoint, a folder or a hub id"
        )
    place = _place(name, revision)
    if place.hub_id is None and revision is not None:
        raise BadInput(f"{name!r} is a folder and has no revisions; drop revision={revision!r}")
    if place.hub_id is not None:
        cached(place.hub_id, revision)  # raises for what cannot be a revision
    return place


def architecture_of(place: Place) -> str | None:
    """Return the model type if it is known without a network, else None."""
    if (folder := place.folder) is not None:
        return model_type(folder)
    known = _catalogued(place)
    return known.architecture if known else None


def dtype_of(place: Place) -> str | None:
    """Return the dtype that config.json or the catalogue gives, None if neither is here; without a statement, it is float32."""
    if (folder := place.folder) is not None:
        config = settings(folder / SETTINGS[0])
        return str(config.get("dtype", config.get("torch_dtype")) or "float32")
    known = _catalogued(place)
    return known.precision if known else None


def whereabouts(name: str) -> str:
    """Describe briefly where a model's files are on this machine; empty if they are not here."""
    place = locate(name)
    if place.hub_id is None:
        return "ships" if name in family.shipped() else str(place.local)
    if place.snapshot is None:
        return ""
    if is_pickled(place.snapshot):
        return "as .bin only: convert"
    return "in part" if place.folder is None else "in the hub's cache"


def _catalogued(place: Place) -> family.Checkpoint | None:
    """Return the catalogue's record of a model on the hub."""
    found = (one for each in family.families() for one in each.checkpoints)
    return next((one for one in found if one.hub_id == place.hub_id), None)


def _place(name: str, revision: str | None) -> Place:
    try:
        checkpoint = family.find(name)
        return Place(name, checkpoint.folder, None if checkpoint.folder else checkpoint.hub_id, revision)
    except UnknownName as error:
        path = expanded(name)
        if name and os.path.isdir(path):  # pathlib's version raises if the name is too long
            return Place(name, _checkpoint_folder(path.absolute()), None, revision)
        if name and os.path.isfile(path):
            raise BadInput(f"{path} is a file; name the folder that holds the checkpoint") from error
        if is_hub_id(name):
            return Place(name, None, name, revision)
        raise


def _checkpoint_folder(path: Path) -> Path:
    if (path / "config.json").is_file():
        return path
    if (path / "adapter_config.json").is_file():
        expect_loadable(path)
    raise BadInput(f"the folder {path} holds no config.json; name a folder in transformers' format")
