"""Downloads of a branch of a GitHub repository, of which only chosen text files are kept."""

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

import httpx

from workbench.atomic import make_folder, read_json
from workbench.downloads.repositories import SECONDS_FOR_A_SIGN_OF_LIFE, NoConnection
from workbench.errors import NotReachable, StoreFailed

HOST = "https://codeload.github.com"
_RECORD = ".fetched.json"
_LARGEST = 200 << 20  # bytes of an archive; promptsource's has a few million
_LARGEST_FILE = 5 << 20


@dataclass(frozen=True)
class Checkout:
    """A branch of a repository on GitHub, and which of its files are kept."""

    repository: str
    branch: str

    @property
    def url(self) -> str:
        """Where its archive is."""
        return f"{HOST}/{self.repository}/tar.gz/refs/heads/{self.branch}"


@dataclass(frozen=True)
class Arrived:
    """What a folder holds of a checkout: the commit, the archive's SHA-256, number and bytes of the files, and the server's tag."""

    url: str
    commit: str
    sha256: str
    files: int
    bytes: int
    etag: str = ""


def arrived(folder: Path) -> Arrived | None:
    """Return what an earlier download left in a folder; None if there is none.

    Raises:
        BadInput: its record is damaged.
    """
    known = read_json(folder / _RECORD)
    return Arrived(**known) if known else None


def fetch_checkout(checkout: Checkout, folder: Path, keep: Callable[[str], bool]) -> tuple[Arrived, bool]:
    """Download a branch into a folder, and return what it holds and whether anything was downloaded.

    The folder is replaced when the download is whole; if the branch has not changed since, nothing is downloaded.

    Args:
        keep: whether to keep a file, by its path in the repository.

    Raises:
        NoConnection: GitHub cannot be reached.
        NotReachable: no such branch, or GitHub refuses.
        StoreFailed: the folder cannot be written.
    """
    known = arrived(folder)
    if known is not None and known.url != checkout.url:
        known = None
    response = _get(checkout, {"If-None-Match": known.etag} if known and known.etag else {})
    if response is None and known is not None:
        return known, False
    make_folder(folder.parent)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        found = _unpack(checkout, *(response or (b"", "")), aside, keep)
        shutil.rmtree(folder, ignore_errors=True)  # one that is not empty cannot be replaced
        aside.replace(folder)
    except OSError as error:
        raise StoreFailed(f"could not write {folder}: {error}; free some space") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return found, True


def _get(checkout: Checkout, headers: Mapping[str, str]) -> tuple[bytes, str] | None:
    """Return the archive and its tag; None if it has not changed."""
    timeout = httpx.Timeout(60.0, connect=SECONDS_FOR_A_SIGN_OF_LIFE)
    try:
        with httpx.stream(
            "GET", checkout.url, headers=headers, timeout=timeout, follow_redirects=True
        ) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return None
            if response.status_code != httpx.codes.OK:
                raise NotReachable(
                    f"GitHub answered {response.status_code} when asked for {checkout.repository}, branch {checkout.branch}; "
                    "try again later, or clone it with git"
                )
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _LARGEST:
                    raise NotReachable(
                        f"{checkout.url} has more than {_LARGEST >> 20} MiB; clone it with git"
                    )
            return bytes(content), response.headers.get("etag", "")
    except httpx.HTTPError as error:
        raise NoConnection(f"GitHub ({HOST}) cannot be reached") from error


def _unpack(
    checkout: Checkout, content: bytes, etag: str, folder: Path, keep: Callable[[str], bool]
) -> Arrived:
    """Write the files that are kept; the first folder of every path, which names the commit's archive, is dropped."""
    count = size = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            commit = archive.pax_headers.get("comment", "")
            for member in archive:
                inside = PurePosixPath(*PurePosixPath(member.name).parts[1:])
                if (
                    not member.isfile()
                    or ".." in inside.parts
                    or member.size > _LARGEST_FILE
                    or not keep(str(inside))
                ):
                    continue
                opened = archive.extractfile(member)
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(opened.read() if opened else b"")
                count, size = count + 1, size + member.size
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise NotReachable(
            f"the download from {checkout.url} is not a valid archive ({error}); fetch it again"
        ) from error
    if not count:
        raise NotReachable(f"{checkout.url} holds none of the files that are needed; name another branch")
    commit = commit if re.fullmatch(r"[0-9a-f]{40}", commit) else ""
    found = Arrived(checkout.url, commit, sha256(content).hexdigest(), count, size, etag)
    (folder / _RECORD).write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    return found
