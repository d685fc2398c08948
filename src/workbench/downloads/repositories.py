"""Repositories on the hub: what one holds at a revision, and what the hub's refusals mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from workbench.errors import NotReachable, StoreFailed

SECONDS_FOR_A_SIGN_OF_LIFE = 5.0
MAIN = "main"
_KINDS = {"model": "model", "dataset": "data set"}


class NoConnection(NotReachable):
    """There is no network, the hub does not answer, or its client was told to stay offline."""


@dataclass(frozen=True)
class Repository:
    """A model or a data set on the hub at a revision: a branch, a tag or a commit."""

    id: str
    kind: Literal["model", "dataset"]
    revision: str = MAIN

    @property
    def root(self) -> Path:
        """Its folder in the cache of the hub's client, which may not exist."""
        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.id, repo_type=self.kind)

    @property
    def url(self) -> str:
        """Its page on the hub."""
        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"

    def __str__(self) -> str:
        return f"the {_KINDS[self.kind]} {self.id}"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its name, its size in bytes, and its SHA-256 (large files) or its git hash."""

    name: str
    size: int
    sha256: str | None
    git: str

    @property
    def digest(self) -> str:
        """Its digest, with the name of the algorithm."""
        return f"sha256:{self.sha256}" if self.sha256 else f"git:{self.git}"


@dataclass(frozen=True)
class Listing:
    """The files of a repository at a commit."""

    repository: Repository
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def snapshot(self) -> Path:
        """The folder of this commit in the cache, which may not exist."""
        return self.repository.root / "snapshots" / self.commit

    def is_here(self, file: RemoteFile) -> bool:
        """Whether a file is in the cache."""
        return (self.snapshot / file.name).exists()


def look_up(repository: Repository) -> Listing:
    """Ask the hub for the files of a repository.

    Raises:
        NoConnection: no network, or no answer within seconds (the client alone would retry for 20).
        NotReachable: no such repository or revision, no access to it, or the hub refuses for another reason.
    """
    with explained(repository):
        info: Any = HfApi().repo_info(
            repository.id,
            repo_type=repository.kind,
            revision=repository.revision,
            timeout=SECONDS_FOR_A_SIGN_OF_LIFE,
            files_metadata=True,
        )
    return Listing(repository, str(info.sha), tuple(map(_file, info.siblings or ())))


@contextmanager
def explained(repository: Repository) -> Iterator[None]:
    """Turn what the hub's client raises into an error that says in one sentence what to do.

    Raises:
        NoConnection, NotReachable: as `look_up`.
        StoreFailed: the cache cannot be written.
    """
    name, revision = repository, repository.revision
    try:
        yield
    except GatedRepoError as error:
        raise NotReachable(
            f"{name} is gated: accept its conditions at {repository.url}, and set HF_TOKEN to a token of that account"
        ) from error
    except RepositoryNotFoundError as error:
        raise NotReachable(
            f"the hub has no {str(name).removeprefix('the ')}, or it is private; check the name, or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise NotReachable(
            f"{name} has no revision {revision!r} on the hub; name a branch, a tag or a commit that it has"
        ) from error
    except HfHubHTTPError as error:
        raise NotReachable(
            f"the hub answered {error.response.status_code} when asked for {name}; what arrived is kept, try again later"
        ) from error
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise NoConnection(f"the hub ({constants.ENDPOINT}) cannot be reached") from error
    except OSError as error:
        raise StoreFailed(
            f"{name} could not be written to the hub's cache: {error}; free some space (what arrived is kept), or name "
            "another folder in HF_HUB_CACHE"
        ) from error


def _file(sibling: Any) -> RemoteFile:
    large = sibling.lfs
    return RemoteFile(
        sibling.rfilename, int(sibling.size or 0), large.sha256 if large else None, sibling.blob_id or ""
    )
