"""The hub's cache on this machine, and downloads of what is missing from it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from workbench import family
from workbench.downloads import Listing, NoConnection, RemoteFile, Repository, download, look_up
from workbench.downloads.repositories import MAIN
from workbench.errors import BadInput, NotReachable
from workbench.models.folders import (
    INDEX,
    PICKLED,
    PICKLED_INDEX,
    SETTINGS,
    SINGLE,
    TOKENIZER,
    lacking,
    listed,
)

_SHORT_COMMIT = re.compile(r"[0-9a-f]{4,39}")


def is_hub_id(name: str) -> bool:
    """Whether a name has the form `owner/model`."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1 and not name.startswith(".")


def cached(hub_id: str, revision: str | None) -> Path | None:
    """Return the folder of a revision in the hub's cache, complete or not; a commit may be abbreviated.

    Raises:
        BadInput: the revision is not a valid name.
    """
    name = revision or "main"
    if name.startswith("/") or ".." in name or "\0" in name:
        raise BadInput(f"{revision!r} is not a valid revision; give a commit, a branch or a tag")
    root = _root(hub_id)
    ref = root / "refs" / name
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else name
    if (root / "snapshots" / commit).is_dir():
        return root / "snapshots" / commit
    found = [path for path in _snapshots(hub_id) if path.name.startswith(commit)]
    return found[0] if len(found) == 1 and _SHORT_COMMIT.fullmatch(commit) else None


def repository_of(hub_id: str, revision: str | None) -> Repository:
    """Return a model's repository on the hub."""
    return Repository(hub_id, "model", revision or MAIN)


def fetch(
    name: str, hub_id: str, revision: str | None, *, pickled: bool = False, weights: bool = True
) -> Path:
    """Download a model's files; what is in the hub's cache is not downloaded again, and an interrupted file is continued.

    Args:
        pickled: fetch the weights as .bin, to be converted.
        weights: fetch them at all, and not only configuration and tokenizer.

    Raises:
        NotReachable: no network, no such model or revision, or no access to it.
        BadInput: the hub has the weights only as .bin.
        StoreFailed: the files could not be written.
    """
    with remedied(name, hub_id, revision):
        listing = look_up(repository_of(hub_id, revision))
        return download(listing, files_to_load(name, listing, pickled=pickled, weights=weights))


@contextmanager
def remedied(name: str, hub_id: str, revision: str | None) -> Iterator[None]:
    """Say what is here of a model, and what to do, where the hub cannot be reached.

    Raises:
        NotReachable: it cannot.
    """
    try:
        yield
    except NoConnection as error:
        raise NotReachable(
            f"{name!r} is {_what_is_here(hub_id, revision)}, and the hub cannot be reached; {_remedy(name, hub_id)}"
        ) from error


def files_to_load(
    name: str, listing: Listing, *, pickled: bool = False, weights: bool = True
) -> list[RemoteFile]:
    """Return the files of a listing that loading reads: weights (unless they are not wanted), configuration, tokenizer.

    Raises:
        BadInput: the hub has no weights as safetensors (unless `pickled` asks for .bin).
    """
    known = {file.name for file in listing.files}
    single, index, ending = (PICKLED, PICKLED_INDEX, ".bin") if pickled else (SINGLE, INDEX, ".safetensors")
    if weights and not pickled and not known & {single, index}:
        raise BadInput(
            f"{listing.repository.id} has no safetensors; on a machine with a network run "
            f"`workbench convert {name} --to safetensors --output FOLDER` and load that folder"
        )
    shards = {one for one in known if "/" not in one and one.endswith(ending)}
    heavy = {single} if single in known else {index, *shards}
    wanted = {*(heavy if weights else ()), *SETTINGS, *TOKENIZER}
    return [file for file in listing.files if file.name in wanted]


def _root(hub_id: str) -> Path:
    return repository_of(hub_id, None).root


def _snapshots(hub_id: str) -> list[Path]:
    return sorted((_root(hub_id) / "snapshots").glob("*"))


def _what_is_here(hub_id: str, revision: str | None) -> str:
    snapshot = cached(hub_id, revision)
    if snapshot is not None:
        return f"only partly in the hub's cache (it lacks {listed(lacking(snapshot))})"
    others = [path.name for path in _snapshots(hub_id)]
    if others:
        return f"in the hub's cache only at {', '.join(others[:3])} (name one as the revision)"
    return "neither on this machine nor in the store"


def _remedy(name: str, hub_id: str) -> str:
    for folder in (name, hub_id):
        if (Path(folder) / SETTINGS[0]).is_file():
            return f"to load the folder of that name, give './{folder}'"
    return (
        f"with a network, `workbench fetch {name}` fetches it, or copy {_root(hub_id).name} from another machine's cache of the hub "
        f"to {_root(hub_id).parent}; these ship with their weights and work offline: "
        f"{', '.join(family.shipped()) or 'none'}"
    )
