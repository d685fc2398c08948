"""The file of a sweep: which runs of which notebook, and what they need."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.atomic import expect_file_name
from workbench.errors import BadInput
from workbench.runs.notebooks import find_notebook
from workbench.runs.plans import RunPlan, plan_all

Values = Annotated[list[Any], Field(min_length=1)]
Positive = Annotated[int, Field(ge=1)]


class Resources(BaseModel):
    """What one machine gives to the runs of a set of models; what a job of SLURM asks for.

    `cpus` and `gpus` per job, `memory` as "16GB", `time` as SLURM writes it ("02:00:00"), `jobs` at a time.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    cpus: Positive | None = None
    memory: str | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    time: str | None = None
    partition: str | None = None
    jobs: Positive | None = None


class SweepFile(BaseModel):
    """The content of a sweep's file.

    Every entry of `cases` is combined with every combination of `product`; `parameters` are the same for all runs. The sweep is
    called `name`, by default as its file is.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    notebook: str
    name: str | None = None
    parameters: dict[str, Any] = {}
    product: dict[str, Values] = {}
    cases: Annotated[list[dict[str, Any]], Field(min_length=1)] = [{}]
    workers: Positive | None = None
    resources: Resources = Resources()
    limit: Annotated[float, Field(gt=0)] | None = None

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Yield the parameters of each run, in order.

        Raises:
            BadInput: a parameter given in two places.
        """
        for case in self.cases:
            named = [*self.parameters, *case, *self.product]
            twice = {name for name in named if named.count(name) > 1}
            if twice:
                raise BadInput(
                    f"{', '.join(sorted(twice))}: given in two places; let a parameter stand in one of "
                    "[parameters], [product] and [[cases]]"
                )
            for values in product(*self.product.values()):
                yield {**self.parameters, **case, **dict(zip(self.product, values, strict=True))}


@dataclass(frozen=True)
class Part:
    """Part `number` of `of` parts of a sweep, as a job array numbers them from 1."""

    number: int
    of: int


def read_sweep(path: Path | str) -> tuple[str, SweepFile]:
    """Return the name and the content of a sweep's file, TOML or JSON.

    Raises:
        BadInput: no such file, not TOML or JSON, an unknown key, or a value of the wrong type.
    """
    path = Path(path)
    expect_file_name(path.stem, "the sweep")
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = (
            json.loads(text, object_pairs_hook=_object) if path.suffix == ".json" else tomllib.loads(text)
        )
        file = SweepFile.model_validate(content)
        return expect_file_name(file.name or path.stem, "the sweep"), file
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the sweep {path}: {error}; give a .toml or .json file") from error
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].lower()}"
            for each in error.errors(include_url=False)
        ]
        known = ", ".join(SweepFile.model_fields)
        raise BadInput(f"{path}: {'; '.join(problems)} – a sweep's file may say: {known}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}; correct it at that place"
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict; as in TOML, a repeated key is an error."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"{twice!r} stands twice in one object")
    return found


def plan_sweep(path: Path | str | SweepFile) -> tuple[str, SweepFile, list[RunPlan]]:
    """Validate every run of a sweep; runs of the same models are adjacent, and equal runs appear once.

    Args:
        path: The sweep's file, or its content with a name.

    Raises:
        BadInput, UnknownName: the file, or a run in it, is invalid; nothing has been started.
    """
    if isinstance(path, SweepFile):
        name, file, beside = str(path.name), path, Path()
    else:
        (name, file), beside = read_sweep(path), Path(path).absolute().parent
    notebook = find_notebook(file.notebook, beside=beside)
    plans = {plan.run_id: plan for plan in plan_all(notebook, file.combinations())}
    return name, file, sorted(plans.values(), key=lambda plan: plan.models)


def bundled(plans: list[RunPlan], part: Part | None = None) -> list[list[RunPlan]]:
    """Return the runs by set of models, so that those of a model are in one part; the split depends on the file alone."""
    groups = [list(group) for _, group in groupby(plans, key=lambda plan: plan.models)]
    return groups if part is None else groups[part.number - 1 :: part.of]


def read_part(text: str) -> Part:
    """Read `2/8`, the second of eight parts.

    Raises:
        BadInput: anything else.
    """
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise BadInput(f"no part of a sweep is called {text!r}; give the second of eight as 2/8")
    return Part(int(number), int(of))
