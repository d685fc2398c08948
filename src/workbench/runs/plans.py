"""A planned run: its parameters are validated, everything that can change its results is digested, and its id is known.

The id hashes which models were asked for: the digest of a folder, and the name and revision of a model on the hub, so that
the same run has the same id before and after a download. The manifest records the digests. If the weights that a name stands
for are no longer those of a finished run, that run is stale: it is neither repeated nor taken for the answer unless forced.
"""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workbench.errors import BadInput, StaleRun
from workbench.family import declared_checkpoint
from workbench.models import digest_of
from workbench.models.places import locate
from workbench.paths import expanded
from workbench.runs.folders import finished
from workbench.runs.inputs import Reader, Reads
from workbench.runs.notebooks import Notebook, read_notebook
from workbench.runs.parameters import check, models_in
from workbench.runs.run_id import ground, package_versions, run_id_of, stamp


@dataclass(frozen=True)
class RunPlan:
    """A planned run: its notebook, the parameters given, everything that its id hashes (`spec`), and its id."""

    notebook: Path
    given: dict[str, Any]
    spec: dict[str, Any]
    run_id: str
    stamp: str
    reads: Reads
    source: str  # the notebook as it was read, for the kernel

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters, with defaults."""
        return dict(self.spec["parameters"])

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the parameters name."""
        return tuple(self.spec["models"])

    def folder(self, root: Path) -> Path:
        """Return the folder in which the run is stored."""
        return root / self.notebook.stem / self.run_id

    def digests(self) -> dict[str, str]:
        """Return the digests of its models as far as they are known on this machine now."""
        found = {name: digest_of(name, revision=_revision(self.parameters, name)) for name in self.models}
        return {name: digest for name, digest in found.items() if digest is not None}

    def finished(self, root: Path) -> dict[str, Any] | None:
        """Return the manifest of this run if it is finished, else None.

        Raises:
            StaleRun: it is finished, but used other weights than those its models' names stand for now.
        """
        manifest = finished(self.folder(root))
        if manifest is None:
            return None
        recorded = manifest.get("digests", {})
        on_hub = any(
            "@" in asked for asked in self.spec["models"].values()
        )  # a folder's digest is part of the id
        now = self.digests() if on_hub else {}
        if other := [name for name, digest in now.items() if recorded.get(name, digest) != digest]:
            raise StaleRun(
                f"the run in {self.folder(root)} used other weights of {', '.join(other)} than that name stands for here now, "
                "so it does not count as done; --force runs it again, and a revision in the notebook's parameters pins the weights"
            )
        return manifest

    def still_holds(self) -> None:
        """Raise if this machine's code, data or packages are not those of the plan: the id would not identify what runs.

        Raises:
            BadInput: the notebook, a module beside it, a folder of weights, the package's code or data, or the version of a library
                differs.
        """
        for name, asked in self.spec["models"].items():
            if asked != _asked(name, _revision(self.parameters, name)):
                raise BadInput(
                    f"the weights in {name} are others than when the run was planned; start it again"
                )
        if differing := _differing(self.spec):
            raise BadInput(
                f"the environment here is not the one in which the run was planned: {differing}; "
                "use the same on every machine, or plan the run here"
            )
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


def plan(notebook: Notebook | Path | str, parameters: Mapping[str, Any] | None = None) -> RunPlan:
    """Validate one run.

    Raises:
        BadInput, UnknownName: unknown or mistyped parameters, not exactly one `parameters` cell, no such notebook or model.
    """
    return plan_all(notebook, [parameters or {}])[0]


def plan_all(notebook: Notebook | Path | str, cases: Iterable[Mapping[str, Any]]) -> list[RunPlan]:
    """Validate many runs of one notebook; notebook, code, data and models are read once for all.

    Raises:
        BadInput, UnknownName: as `plan`, before anything is started.
    """
    source = notebook if isinstance(notebook, Notebook) else read_notebook(expanded(notebook).absolute())
    taken, on, asked, reader = stamp(), ground(), cache(_asked), Reader(source)
    usual = check(source, {})[0]
    plans = []
    for case in cases:
        checked, given = check(source, case)
        models = {name: asked(name, _revision(checked, name)) for name in models_in(source, checked)}
        reads = reader.of(checked, models)
        spec = {"notebook_sha256": source.digest, "parameters": checked, **on, "models": models}
        spec["reads"] = reads.digests
        unusual = {name: value for name, value in checked.items() if value != usual[name]}
        plans.append(
            RunPlan(source.path, given, spec, run_id_of(spec, unusual), taken, reads, source.as_json())
        )
    return plans


def _asked(name: str, revision: str | None) -> str:
    """Return what a name asks for: the digest of a folder, which has no revisions, or a hub id with a revision."""
    hub_id = locate(declared_checkpoint(name)).hub_id
    return f"{hub_id}@{revision or 'main'}" if hub_id else str(digest_of(name))


def _revision(parameters: Mapping[str, Any], name: str) -> str | None:
    """Return the revision that a notebook's parameters give for its models on the hub, if they do."""
    given = parameters.get("revision")
    return given if isinstance(given, str) and given and locate(declared_checkpoint(name)).hub_id else None


def _differing(spec: Mapping[str, Any]) -> str:
    """Return which versions of this machine are not the planned ones; empty if all are equal."""
    planned = {"python": spec["python"], **spec["packages"]}
    here = {"python": platform.python_version(), **package_versions()}
    names = sorted(name for name in {*planned, *here} if planned.get(name) != here.get(name))
    return ", ".join(
        f"{name} {here.get(name, 'missing')} instead of {planned.get(name, 'none')}" for name in names
    )
