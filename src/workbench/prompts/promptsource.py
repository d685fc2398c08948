"""Reader of promptsource's template files, the format of the published prompts.

A file is `<data set>/<configuration>/templates.yaml` with the tags !Template and !TemplateMetadata. It is parsed
without building objects: those two tags become plain dicts, any other tag, anchor or alias is refused. Names of
translated wordings end with `_<language>mt` (machine) or `_<language>ht` (human).

Source: bigscience-workshop/promptsource, `promptsource/templates.py` (commit 00fac7c): what is filled in is cut after 2048
characters, input and target are stripped.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import BadInput
from workbench.prompts.rendering import Template

FIELD_LIMIT = 2048  # characters of an inserted value, TEXT_VAR_LENGTH there
_LARGEST_FILE = 5_000_000  # bytes; the largest of the published branch is far below
_TRANSLATED = re.compile(r"^(?P<name>.*)_(?P<language>[a-z]{2,3})(?P<by>[mh]t)$", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """Safe YAML with two more tags, and without aliases (which can make a small file huge)."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def _as_dict(loader: _Loader, node: yaml.Node) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.YAMLError(f"{node.tag} is no mapping")
    return loader.construct_mapping(node, deep=True)


for _tag in ("!Template", "!TemplateMetadata"):
    _Loader.add_constructor(_tag, _as_dict)


def read_promptsource(folder: Path, dataset: str, config: str | None = None) -> list[Template]:
    """Read the templates of one data set from a checkout of promptsource, or from a folder of its files.

    Args:
        folder: the checkout, its `promptsource/templates`, or any folder laid out like that.
        dataset: as promptsource names it, such as "xcopa".
        config: its configuration, such as "en".

    Raises:
        BadInput: no such file (the message lists what the folder has), or one that cannot be read safely.
    """
    inside = Path(dataset) / (config or "") / "templates.yaml"
    roots = [folder, folder / "promptsource/templates", folder / "templates"]
    path = next((root / inside for root in roots if (root / inside).is_file()), None)
    if path is None:
        there = sorted({str(found.parent.relative_to(folder)) for found in folder.rglob("templates.yaml")})
        raise BadInput(
            f"{folder} has no {inside}; templates are there for: {', '.join(there[:40]) or 'nothing'} "
            "(the prompts of xcopa, xstory_cloze and xwinograd are on promptsource's branch xp3mt)"
        )
    return [_template(path, fields) for fields in _read(path)]


def _read(path: Path) -> list[dict[str, Any]]:
    if path.stat().st_size > _LARGEST_FILE:
        raise BadInput(f"{path} has {path.stat().st_size} bytes; at most {_LARGEST_FILE} are read")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is not a template file of promptsource: {' '.join(str(error).split())}"
        ) from error
    templates = content.get("templates") if isinstance(content, dict) else None
    if not isinstance(templates, dict) or not all(isinstance(each, dict) for each in templates.values()):
        raise BadInput(f"{path} is not a template file of promptsource: it has no mapping `templates`")
    return list(templates.values())


def _template(path: Path, fields: dict[str, Any]) -> Template:
    name, jinja, choices = fields.get("name"), fields.get("jinja"), fields.get("answer_choices")
    if not (isinstance(name, str) and isinstance(jinja, str) and isinstance(choices, str | None)):
        raise BadInput(f"{path}: template {name!r} lacks a name, a jinja text or proper answer_choices")
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
