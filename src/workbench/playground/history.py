"""What was asked before: one line of JSON for each answer, in a file beside the store, and as CSV for other programs."""

import base64
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.errors import StoreFailed
from workbench.playground.answers import Reply
from workbench.playground.page import Html, page, table, tag, text_of
from workbench.playground.settings import Settings
from workbench.store import default_path

_SHOWN = 20
COLUMNS = ("asked", "model", "prompt", "settings", "answer")


@dataclass(frozen=True)
class History:
    """The prompts and answers in a file (by default `<store>.history.jsonl`), oldest first."""

    path: Path

    @classmethod
    def beside_the_store(cls) -> "History":
        """Return the history that belongs to the default store."""
        store = default_path()
        return cls(store.with_name(f"{store.stem}.history.jsonl"))

    def add(self, replies: Sequence[Reply], settings: Settings) -> None:
        """Append finished answers.

        Raises:
            StoreFailed: the file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        about = {"asked": now, "settings": asdict(settings)}
        rows = [{**about, "model": one.model.label, "prompt": one.prompt, "answer": one.text} for one in replies if one.is_done]  # fmt: skip
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        except OSError as error:
            raise StoreFailed(
                f"cannot write the history {self.path}: {error}; set WORKBENCH_STORE to a writable place"
            ) from error

    def rows(self) -> list[dict[str, Any]]:
        """Return all entries; an incomplete line, of a process that was killed, is left out."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def csv(self) -> str:
        """Return all entries as CSV."""
        file = io.StringIO()
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: row.get(name) for name in COLUMNS} for row in self.rows())
        return file.getvalue()

    def page(self) -> Html:
        """Return the latest entries, and a link that saves all as CSV."""
        rows = self.rows()
        latest = [(row["model"], text_of(row["prompt"]), text_of(row["answer"]), row["settings"]["strategy"], row["asked"]) for row in rows[: -_SHOWN - 1 : -1]]  # fmt: skip
        encoded = base64.b64encode(self.csv().encode()).decode()
        link = tag(
            "a",
            f"Save all {len(rows)} as CSV",
            href=f"data:text/csv;base64,{encoded}",
            download="history.csv",
        )
        head = ("model", "prompt", "answer", "settings", "asked")
        return page(
            tag("p", link), table(head, latest, caption=f"The latest of {len(rows)} answers"), label="History"
        )
