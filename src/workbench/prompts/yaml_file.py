"""Parser for promptsource's YAML files that constructs no objects; runs in the child process of `confined`.

The tags !Template and !TemplateMetadata become plain dicts; other tags are refused. Aliases are allowed, since some published
files use them: only strings are returned, so a structure inflated by aliases does not give a large result.
"""

from typing import Any

import yaml

from workbench.errors import BadInput

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's loader is about ten times as fast


class _Loader(_Safe):
    """Safe YAML with two more tags, in which `no` and `2016` are strings: only null and merge keys are resolved implicitly.

    Duplicate keys are refused, as the YAML specification demands: PyYAML would drop the first of two templates.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):  # otherwise the base class raises
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    raise yaml.YAMLError(
                        f"the key {key.value!r} in line {key.start_mark.line + 1} occurs twice"
                    )
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag.endswith((":null", ":merge"))]
    for first, known in _Safe.yaml_implicit_resolvers.items()
}


def _as_dict(loader: _Loader, node: yaml.Node) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.YAMLError(f"{node.tag} is not a mapping")
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


for _tag in ("!Template", "!TemplateMetadata"):
    _Loader.add_constructor(_tag, _as_dict)


def parse(text: str, what: str) -> list[tuple[str, str, str | None]]:
    """Return name, jinja and answer_choices of every template in a file's text.

    Raises:
        BadInput: not a template file of promptsource; the message begins with `what`.
    """
    try:
        content = yaml.load(text, _Loader)  # a safe loader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{what} is not a template file of promptsource: {' '.join(str(error).split())}; repair it, or name another"
        ) from error
    templates = content.get("templates") if isinstance(content, dict) else None
    if not isinstance(templates, dict) or not all(isinstance(each, dict) for each in templates.values()):
        raise BadInput(
            f"{what} is not a template file of promptsource: it has no mapping `templates`; name another"
        )
    return [_fields(each, what) for each in templates.values()]


def _fields(template: dict[Any, Any], what: str) -> tuple[str, str, str | None]:
    name, jinja, choices = (template.get(key) for key in ("name", "jinja", "answer_choices"))
    if not (isinstance(name, str) and isinstance(jinja, str) and isinstance(choices, str | None)):
        raise BadInput(
            f"{what}: template {name!r} lacks a name, a jinja text or proper answer_choices; repair it, or leave it out"
        )
    return name, jinja, choices
