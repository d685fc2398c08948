"""Digests of a checkpoint's files: one of the weights and settings, one of the tokenizer; a copy elsewhere has the same."""

import os
import re
import time
from collections.abc import Iterable
from hashlib import blake2b, file_digest
from pathlib import Path

from workbench.models.folders import settings_files, tokenizer_files, weight_files
from workbench.store import Store, canonical

FileState = tuple[int, ...] | None
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COARSEST_CLOCK = 2_000_000_000  # ns; some file systems have a time resolution of two seconds


def digests(folder: Path, store: Store) -> tuple[str, str]:
    """Return the digests of the weights with their settings, and of the tokenizer; the store remembers those of files."""
    weights = _digest_of([*weight_files(folder), *settings_files(folder)], store)
    return weights, tokenizer_digest(folder, store)


def tokenizer_digest(folder: Path, store: Store) -> str:
    """Return the digest of the tokenizer alone."""
    return _digest_of(tokenizer_files(folder), store)


def settings_digest(folder: Path, store: Store) -> str:
    """Return the digest of the configuration alone."""
    return _digest_of(settings_files(folder), store)


def file_digests(file: Path, folder: Path, store: Store) -> tuple[str, str]:
    """Return the digests of weights in one file with the settings of a folder, and of the tokenizer in that folder."""
    return combined([_sha256(file, store), settings_digest(folder, store)]), tokenizer_digest(folder, store)


def file_states(folder: Path, *, weights: bool = True) -> tuple[tuple[str, FileState], ...]:
    """Return the state of each digested file of a folder, with or without its weights, by its path."""
    files = [*(weight_files(folder) if weights else []), *settings_files(folder), *tokenizer_files(folder)]
    return tuple((str(path), file_state(path)) for path in files)


def file_state(path: Path) -> FileState:
    """Return a value that changes with a file's content, even if size and time are kept; None if the file is gone."""
    try:
        return _state_of(path.stat())
    except FileNotFoundError:
        return None


def combined(parts: object) -> str:
    """Return the digest of a value that JSON can represent."""
    return blake2b(canonical(parts).encode(), digest_size=20).hexdigest()


def _digest_of(files: Iterable[Path], store: Store) -> str:
    return combined(sorted((path.name, _sha256(path, store)) for path in files))


def _sha256(path: Path, store: Store) -> str:
    if path.is_symlink():
        # the hub's cache names a large file's blob by its sha256; only one link is followed, since the blob may be one too
        target = path.readlink()
        if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
            return target.name
    stat = path.stat()
    known = store.file_digest(path, stat)
    if known is None:
        with path.open("rb") as file:
            known = file_digest(file, "sha256").hexdigest()
        if time.time_ns() - stat.st_ctime_ns > _COARSEST_CLOCK and file_state(path) == _state_of(stat):
            store.remember_file(path, stat, known)
    return known


def _state_of(stat: os.stat_result) -> tuple[int, ...]:
    """Inode, size and times: a replaced file has another inode, and the change time of an inode cannot be set."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
