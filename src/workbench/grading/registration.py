"""A registered replication: what a pair of students will compare, written down before results are seen, and the receipt for it.

registration.toml    question, contrasts, and what the answer pack is asked, written by students
receipt.json         the file's digest and the time, sealed by the instructor with the course's salt
"""

import hmac
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.atomic import write_atomically
from workbench.errors import BadInput
from workbench.runs.manifests import read_as

if TYPE_CHECKING:
    import pandas as pd

REGISTRATION, RECEIPT = "registration.toml", "receipt.json"
ITEM = ("task", "language", "wordings", "template", "cluster")  # the columns that name an item
Stage = Literal["exploration", "replication", "pack"]
Filter = dict[str, str | list[str]]
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,39}$")]


@dataclass(frozen=True)
class Paired:
    """Outcomes of both sides of a contrast on the same N items (fractions from 0 to 1), and the cluster of each."""

    first: np.ndarray
    second: np.ndarray
    cluster: np.ndarray


class Contrast(BaseModel):
    """Second minus first, in accuracy; each side is described by values of columns.

    Attributes:
        on: The stage whose data decide; those of "replication" can be explored on the first seed.
        expect: "above" `margin`, "below" minus `margin`, or "within" `margin` of 0; what is expected is confirmed if the whole
            interval lies there.
        margin: A fraction of 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: _Name
    on: Literal["replication", "pack"]
    first: Filter
    second: Filter
    expect: Literal["above", "below", "within"]
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _within_something(self) -> "Contrast":
        if self.expect == "within" and not self.margin:
            raise ValueError(f"{self.name} expects a difference within a margin of 0; give a margin above 0")
        if self.first == self.second:
            raise ValueError(f"{self.name} compares something with itself")
        return self

    def paired(self, table: "pd.DataFrame") -> Paired:
        """Return the outcomes of both sides, paired by item; columns in which the sides differ are averaged over.

        Args:
            table: One row per answer: member, the columns of `ITEM`, and correct.

        Raises:
            BadInput: a column that the table lacks, or no item that both sides have.
        """
        apart = {name for name in ITEM if self.first.get(name) != self.second.get(name)}
        keys = [name for name in ITEM if name not in apart]
        sides = [_chosen(table, each).groupby(keys, observed=True)["correct"].mean() for each in (self.first, self.second)]  # fmt: skip
        both = sides[0].to_frame("first").join(sides[1].rename("second"), how="inner").reset_index()
        if both.empty:
            raise BadInput(
                f"the contrast {self.name} pairs no items: {self.first} and {self.second} have none in common"
            )
        first, second = (both[name].to_numpy(dtype=float) for name in ("first", "second"))
        return Paired(first, second, both["cluster"].astype(str).to_numpy())

    def confirmed(self, low: float, high: float) -> bool:
        """Return whether an interval confirms what is expected."""
        inside = {
            "above": low > self.margin,
            "below": high < -self.margin,
            "within": -self.margin < low and high < self.margin,
        }
        return bool(inside[self.expect])


class Pack(BaseModel):
    """What the models of the answer pack are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    models: list[str]
    tasks: list[str]
    source: str | None = None
    languages: list[str] | None = None
    limit: int | None = None


class Registration(BaseModel):
    """What a pair of students registered."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pair: Annotated[str, Field(pattern=r"^\w[\w.@-]{0,63}$")]
    question: Annotated[str, Field(min_length=20)]
    contrast: Annotated[list[Contrast], Field(min_length=1)]
    pack: Pack

    @model_validator(mode="after")
    def _distinct(self) -> "Registration":
        names = [each.name for each in self.contrast]
        if len({*names}) < len(names):
            raise ValueError("two contrasts have the same name")
        return self

    def on(self, stage: Stage) -> list[Contrast]:
        """Return the contrasts of a stage; those of the replication are also what is explored."""
        return [
            each for each in self.contrast if each.on == ("replication" if stage == "exploration" else stage)
        ]


class Receipt(BaseModel):
    """That a registration was received: its digest, when, and the seal."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    registration: str
    received: AwareDatetime
    seal: str


def read_registration(path: Path | str) -> Registration:
    """Read a registration.

    Raises:
        BadInput: the file cannot be read or is no registration; the message says where.
    """
    try:
        return Registration.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BadInput(
            f"{path} is no registration: {where}: {first['msg']}; the template shows the form"
        ) from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as TOML: {error}") from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, as a run's manifest has it of what the run read."""
    return sha256(path.read_bytes()).hexdigest()


def receive(path: Path, salt: str) -> Receipt:
    """Write the receipt for a registration beside it; one that is there and holds stays as it is.

    Raises:
        BadInput: as `read_registration`; or a receipt for an earlier version of the file, which the pair must keep or withdraw.
        StoreFailed: the receipt cannot be written.
    """
    read_registration(path)
    place, digest = path.parent / RECEIPT, digest_of(path)
    if place.exists():
        known = read_receipt(place)
        if is_genuine(known, salt) and known.registration == digest:
            return known
        raise BadInput(
            f"{place} is for another version of {path.name}; delete it to register anew, which sets the time to now"
        )
    now = datetime.now(UTC).replace(microsecond=0)
    made = Receipt(registration=digest, received=now, seal=_seal(salt, digest, now))
    write_atomically(place, made.model_dump_json(indent=1) + "\n")
    return made


def read_receipt(path: Path) -> Receipt:
    """Read a receipt.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    return read_as(path, Receipt, "is no receipt", "ask your instructor for it again")


def is_genuine(receipt: Receipt, salt: str) -> bool:
    """Return whether a receipt was sealed with this salt."""
    return hmac.compare_digest(receipt.seal, _seal(salt, receipt.registration, receipt.received))


def _seal(salt: str, digest: str, when: datetime) -> str:
    return hmac.new(salt.encode(), f"{digest} {when.isoformat()}".encode(), "sha256").hexdigest()


def _chosen(table: "pd.DataFrame", values: Mapping[str, str | list[str]]) -> "pd.DataFrame":
    """Return the rows that have one of the values in each column.

    Raises:
        BadInput: a column that the table lacks.
    """
    strange = [name for name in values if name not in table]
    if strange:
        raise BadInput(f"no column {', '.join(strange)}; the table has {', '.join(map(str, table.columns))}")
    for name, wanted in values.items():
        table = table[table[name].isin([wanted] if isinstance(wanted, str) else wanted)]
    return table
