"""Whether a notebook's parameters fit its source of data, decided by reading the data as the notebook will."""

from collections.abc import Mapping
from typing import Any

from workbench.errors import BadInput, UnknownName
from workbench.runs.types import Found
from workbench.tasks import benchmarks, expect_attribute, fitting, read_data, read_texts, sources


def expect_fit(source: str, found: Found, parameters: Mapping[str, Any]) -> None:
    """Check that a source has the tasks, languages, language of wordings and attribute that parameters name.

    Raises:
        UnknownName, BadInput: it has not; the message lists what it has.
        NotReachable: published data that are neither in the hub's cache nor reachable.
    """
    languages, tasks = found.of("Language") or fitting(source).languages or None, found.of("Task")
    if "Attribute" in found.names:
        texts = read_texts(source, task=next(iter(tasks), ""), languages=languages)
        expect_attribute(next(iter(found.of("Attribute")), texts.attribute), texts.rows, source)
        return
    tasks = tasks or [*fitting(source).tasks]
    if not tasks:
        raise BadInput(
            f"no task is known to fit {source}; name the tasks, or a source: {', '.join(sources())}"
        )
    for task in tasks:
        if (known := benchmarks().get(task)) is not None and known.kind != "rank":
            raise BadInput(
                f"{task!r} is not ranked ({known.kind}), which this notebook's tasks are; ask it with `workbench evaluate MODEL {task}`"
            )
        data = read_data(
            task, source, languages=languages, limit=1, templates=parameters.get("templates") or None
        )
        there = list(dict.fromkeys(one.language for one in data.templates))
        for language in found.of("PromptLanguage"):
            if language not in there:
                raise UnknownName(
                    f"{task!r} has no wordings in {language!r}; it has some in: {', '.join(there)}"
                )
