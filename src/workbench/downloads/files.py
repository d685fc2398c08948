"""Downloads of files into the cache of the hub's client.

The client restarts an interrupted file from the beginning. Large files are therefore fetched here, into the blob where the client
looks for them: an interrupted one resumes where it stopped, and its SHA-256 is compared with the hub's. The client then
does the rest: small files, links and refs.
"""

import shutil
import time
from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.utils import WeakFileLock, build_hf_headers, get_session, hf_raise_for_status
from tqdm import tqdm

from workbench.downloads.repositories import Listing, RemoteFile, explained
from workbench.errors import NotReachable, StoreFailed

_TRIES = 5  # without a new byte
_PAUSE = 1.0  # seconds between tries


def download(listing: Listing, files: Sequence[RemoteFile]) -> Path:
    """Download files of a listing into the hub's cache, and return the folder of the snapshot; nothing is downloaded twice.

    Raises:
        NoConnection, NotReachable, StoreFailed: as `look_up`; or what arrived is not what the hub announced. Finished files, and the
            part of an unfinished one, are kept.
    """
    missing = [file for file in files if not listing.is_here(file)]
    repository = listing.repository
    with explained(repository):
        _expect_space(listing, missing)
        for file in missing:
            if file.sha256 is not None:
                _fetch_blob(listing, file, file.sha256)
        folder = snapshot_download(
            repository.id,
            repo_type=repository.kind,
            revision=repository.revision,
            allow_patterns=[_literal(file.name) for file in files],
        )
    return Path(folder)


def _expect_space(listing: Listing, missing: Sequence[RemoteFile]) -> None:
    """Refuse before the first byte what the disk cannot hold."""
    there = sum(part.stat().st_size for file in missing if (part := _part(listing, file)).exists())
    needed, place = sum(file.size for file in missing) - there, Path(constants.HF_HUB_CACHE)
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if needed > free:
        raise StoreFailed(
            f"{listing.repository} needs {needed / 1e9:.3g} GB more in {place}, which has {free / 1e9:.3g} GB; free some space, "
            "or name another folder in HF_HUB_CACHE"
        )


def _part(listing: Listing, file: RemoteFile) -> Path:
    return listing.repository.root / "blobs" / f"{file.sha256 or file.git}.part.incomplete"


def _fetch_blob(listing: Listing, file: RemoteFile, sha256: str) -> None:
    """Fetch a large file, from where an earlier download of it stopped."""
    part, locks = _part(listing, file), Path(constants.HF_HUB_CACHE) / ".locks" / listing.repository.root.name
    blob = part.with_name(sha256)
    for folder in (blob.parent, locks):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(locks / f"{sha256}.lock"):
        if blob.exists():
            return
        with tqdm(
            total=file.size, unit="B", unit_scale=True, desc=file.name, leave=False, disable=None
        ) as bar:
            _continue(listing, file, part, bar)
        with part.open("rb") as content:
            arrived = file_digest(content, "sha256").hexdigest()
        if arrived != sha256:
            part.unlink()
            raise NotReachable(
                f"{file.name} of {listing.repository} arrived damaged (SHA-256 {arrived[:12]}…, announced {sha256[:12]}…) and was "
                "thrown away; fetch it again"
            )
        part.replace(blob)


def _continue(listing: Listing, file: RemoteFile, part: Path, bar: Any) -> None:
    """Append to a part until it is whole; a connection that breaks is tried again as long as bytes arrive."""
    tries = _TRIES
    while (have := part.stat().st_size if part.exists() else 0) < file.size:
        try:
            _append(listing, file, part, have, bar)
        except HfHubHTTPError:
            raise
        except HTTPError:
            tries = _TRIES if part.exists() and part.stat().st_size > have else tries - 1
            if not tries:
                raise
            time.sleep(_PAUSE)
    part.touch()  # an empty file


def _append(listing: Listing, file: RemoteFile, part: Path, have: int, bar: Any) -> None:
    repository = listing.repository
    url = hf_hub_url(repository.id, file.name, repo_type=repository.kind, revision=listing.commit)
    headers = {**build_hf_headers(), "Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        continues = response.status_code == 206
        bar.reset(file.size)
        bar.update(have if continues else 0)
        with part.open("ab" if continues else "wb") as content:
            for chunk in response.iter_bytes():  # as they come, so that a break loses none
                content.write(chunk)
                bar.update(len(chunk))


def _literal(name: str) -> str:
    """Return a pattern that matches this name alone."""
    return name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
