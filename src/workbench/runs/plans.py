"""A planned run: its parameters are validated, everything that can change its results is digested, and its id is known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workbench.errors import BadInput
from workbench.models import digest_of
from workbench.paths import expanded
from workbench.runs.identity import ground, models_named, run_id_of, stamp
from workbench.runs.notebooks import read_notebook
from workbench.runs.parameters import check
from workbench.runs.reads import Reader, Reads


@dataclass(frozen=True)
class Plan:
    """A planned run: its notebook, the parameters given, everything that its id hashes (`spec`), and its id."""

    notebook: Path
    given: dict[str, Any]
    spec: dict[str, Any]
    run_id: str
    stamp: str
    reads: Reads

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters, with defaults."""
        return dict(self.spec["parameters"])

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the parameters name."""
        return tuple(models_named(self.parameters))

    def folder(self, root: Path) -> Path:
        """Return the folder in which the run is stored."""
        return root / self.notebook.stem / self.run_id

    def still_holds(self) -> None:
        """Raise if the code or the package changed after planning, since the id would no longer identify what runs.

        Raises:
            BadInput: the notebook, a module beside it, or the package's code or data changed.
        """
        if read_notebook(self.notebook).digest != self.spec["notebook_sha256"]:
            raise BadInput(f"{self.notebook.name} changed while its runs were going on; start them again")
        if changed := self.reads.changed(self.reads.modules):
            raise BadInput(
                f"{', '.join(changed)}, which {self.notebook.name} imports, changed while its runs were going on; "
                "start them again"
            )
        if stamp() != self.stamp:
            now = ground()
            if any(now[name] != self.spec[name] for name in ("code_sha256", "data_sha256")):
                raise BadInput(
                    "the package's code or data changed while its runs were going on; start them again"
                )


def plan(notebook: Path | str, parameters: Mapping[str, Any] | None = None) -> Plan:
    """Validate one run.

    Raises:
        BadInput, UnknownName: unknown or mistyped parameters, not exactly one `parameters` cell, no such notebook or model.
    """
    return plan_all(notebook, [parameters or {}])[0]


def plan_all(notebook: Path | str, cases: Iterable[Mapping[str, Any]]) -> list[Plan]:
    """Validate many runs of one notebook; code, data and models are read once for all.

    Raises:
        BadInput, UnknownName: as `plan`, before anything is started.
    """
    source = read_notebook(expanded(notebook).absolute())
    taken, on, remembered, reader = stamp(), ground(), cache(digest_of), Reader(source)
    usual = check(source, {})[0]
    plans = []
    for case in cases:
        checked, given = check(source, case)
        found = {name: remembered(name) for name in models_named(checked)}
        digests = {name: digest for name, digest in found.items() if digest is not None}
        reads = reader.of(checked, digests)
        spec = {"notebook_sha256": source.digest, "parameters": checked, **on, "digests": digests}
        spec["reads"] = reads.digests
        unusual = {name: value for name, value in checked.items() if value != usual[name]}
        plans.append(Plan(source.path, given, spec, run_id_of(spec, unusual), taken, reads))
    return plans
