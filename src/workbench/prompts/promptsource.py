"""Reader for promptsource's template files, the format of the published prompts.

A file is `<data set>/<configuration>/templates.yaml`; it is parsed in a separate process (see `confined`). Names of
translated templates end with `_<language>mt` (machine) or `_<language>ht` (human).

Source: bigscience-workshop/promptsource, `promptsource/templates.py` (commit 00fac7c): inserted values are truncated after 2048
characters, input and target are stripped.
"""

import re
from functools import lru_cache
from pathlib import Path

from workbench.errors import BadInput
from workbench.prompts.confined import read_there
from workbench.prompts.rendering import Template, read_text

FIELD_LIMIT = 2048  # characters of an inserted value; TEXT_VAR_LENGTH in promptsource
_TRANSLATED = re.compile(r"^(?P<name>.*)_(?P<language>[a-z]{2,3})(?P<by>[mh]t)$", re.DOTALL)


def read_promptsource(folder: Path, dataset: str, config: str | None = None) -> list[Template]:
    """Read the templates of one data set from a checkout of promptsource, or from a folder with its files.

    Args:
        folder: the checkout, its `promptsource/templates`, or any folder with the same layout.
        dataset: the name in promptsource, such as "xcopa".
        config: its configuration, such as "en".

    Raises:
        BadInput: no such file (the message lists the available ones), or one that cannot be read safely.
    """
    inside = Path(dataset) / (config or "") / "templates.yaml"
    roots = [folder, folder / "promptsource/templates", folder / "templates"]
    path = next((root / inside for root in roots if (root / inside).is_file()), None)
    if path is None:
        there = sorted({str(found.parent.relative_to(folder)) for found in folder.rglob("templates.yaml")})
        raise BadInput(
            f"{folder} has no {inside}; it has templates for: {', '.join(there[:40]) or 'nothing'} "
            "(the prompts of xcopa, xstory_cloze and xwinograd are on promptsource's branch xp3mt)"
        )
    return list(_read(read_text(path), str(path)))


@lru_cache(maxsize=64)  # one file is read for many languages, and starting a process is slow
def _read(text: str, path: str) -> tuple[Template, ...]:
    return tuple(_template(*fields) for fields in read_there(text, path))


def _template(name: str, jinja: str, choices: str | None) -> Template:
    found = _TRANSLATED.match(name)
    return Template(
        name=name,
        jinja=jinja,
        answer_choices=choices,
        language=found["language"] if found else "en",
        family=found["name"] if found else name,
        translated=found["by"] if found else "",
        foreign=True,
        field_limit=FIELD_LIMIT,
    )
