"""The folder of an answer pack: the answers of a preset's runs, and what somebody needs who has not the weights.

`answers.sqlite` holds the answers, `expected/` what the runs gave, `runs/` their manifests, metrics and reports, `preset.toml` the
parameters, README.md how to use it, and SHA256SUMS the digests of all files, as `sha256sum -c` reads them.
"""

import os
from hashlib import file_digest
from pathlib import Path

from workbench.errors import BadInput

ANSWERS, EXPECTED, SUMS = "answers.sqlite", "expected", "SHA256SUMS"


def is_answer_pack(folder: Path) -> bool:
    """Whether a path is the folder of an answer pack."""
    return all(
        os.path.isfile(folder / name) for name in (SUMS, ANSWERS)
    )  # Path.is_file raises for a long name


def answers_in(path: Path) -> Path:
    """Return the file of answers: the path itself, or that of a folder whose files have the digests that it says.

    Raises:
        BadInput: a file of the folder is missing, or is not what it was.
    """
    if not is_answer_pack(path):
        return path
    wrong = []
    for line in (path / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if not (path / name).is_file() or _sha256(path / name) != digest:
            wrong.append(name)
    if wrong:
        raise BadInput(f"the answer pack {path} is damaged: {', '.join(wrong)} (SHA256SUMS); copy it again")
    return path / ANSWERS


def write_sums(folder: Path) -> None:
    """Write the digests of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
