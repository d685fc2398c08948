"""The hub's cache on this machine, and downloads of what is missing from it."""

import re
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id

from workbench import family
from workbench.errors import BadInput, NotReachable, StoreFailed
from workbench.models.folders import INDEX, PICKLED_INDEX, SETTINGS, SINGLE, TOKENIZER, lacking, listed

_SHORT_COMMIT = re.compile(r"[0-9a-f]{4,39}")
_SECONDS_FOR_A_SIGN_OF_LIFE = 5.0


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
        raise BadInput(f"no revision is called {revision!r}; give a commit, a branch or a tag")
    root = _root(hub_id)
    ref = root / "refs" / name
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else name
    if (root / "snapshots" / commit).is_dir():
        return root / "snapshots" / commit
    found = [path for path in _snapshots(hub_id) if path.name.startswith(commit)]
    return found[0] if len(found) == 1 and _SHORT_COMMIT.fullmatch(commit) else None


def fetch(
    name: str, hub_id: str, revision: str | None, *, pickled: bool = False, weights: bool = True
) -> Path:
    """Download a model's files, after a quick check that the hub responds (the client alone would retry for 20 seconds).

    Args:
        pickled: fetch the weights as .bin, to be converted.
        weights: fetch them at all, and not only configuration and tokenizer.

    Raises:
        NotReachable: no network, or the hub has no such model or revision.
        BadInput: the hub has the weights only as .bin.
        StoreFailed: the files could not be written.
    """
    try:
        listing = HfApi().model_info(hub_id, revision=revision, timeout=_SECONDS_FOR_A_SIGN_OF_LIFE)
        files = {sibling.rfilename for sibling in listing.siblings or []}
        if files and weights and not pickled and not files & {SINGLE, INDEX}:
            raise BadInput(
                f"{hub_id} has no safetensors; on a machine with a network run "
                f"`workbench convert {name} --to safetensors --output FOLDER` and load that folder"
            )
        heavy = ["*.bin", PICKLED_INDEX] if pickled else ["*.safetensors", INDEX]
        patterns = [*(heavy if weights else []), *SETTINGS, *TOKENIZER]
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except (RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError) as error:
        raise NotReachable(
            f"the hub has no {hub_id!r} at revision {revision or 'main'!r} for you: {error}"
        ) from error
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise NotReachable(
            f"{name!r} is {_what_is_here(hub_id, revision)}, and the hub cannot be reached; {_remedy(name, hub_id)}"
        ) from error
    except OSError as error:
        raise StoreFailed(
            f"{hub_id} could not be written to the hub's cache: {error}; free some space, or name another in HF_HUB_CACHE"
        ) from error


def _root(hub_id: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=hub_id, repo_type="model")


def _snapshots(hub_id: str) -> list[Path]:
    return sorted((_root(hub_id) / "snapshots").glob("*"))


def _what_is_here(hub_id: str, revision: str | None) -> str:
    snapshot = cached(hub_id, revision)
    if snapshot is not None:
        return f"in the hub's cache only in part (it lacks {listed(lacking(snapshot))})"
    others = [path.name for path in _snapshots(hub_id)]
    if others:
        return f"in the hub's cache only at {', '.join(others[:3])} (name one as the revision)"
    return "neither on this machine nor in the store"


def _remedy(name: str, hub_id: str) -> str:
    for folder in (name, hub_id):
        if (Path(folder) / SETTINGS[0]).is_file():
            return f"the folder of that name here is './{folder}'"
    return (
        f"with a network, `hf download {hub_id}` fetches it once; these ship with their weights and work offline: "
        f"{', '.join(family.shipped()) or 'none'}"
    )
