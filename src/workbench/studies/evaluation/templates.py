"""The templates with which a task is asked: ours, the published ones of promptsource, or the user's."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench.errors import BadInput, UnknownName
from workbench.prompts import Template, read_promptsource, read_templates
from workbench.tasks import Benchmark, english_of, task_templates

PROMPT_LANGUAGES = ("en", "native", "mt", "ht")


def find_templates(
    task: str,
    benchmark: Benchmark | None,
    language: str,
    prompt_language: str,
    folder: Path | None,
    names: Sequence[str] | None,
) -> list[Template]:
    """Find the templates for data of one language.

    Args:
        folder: A checkout of promptsource or a TOML file; None for ours.
        names: Names of templates; None for the published five, or all.

    Raises:
        UnknownName, BadInput: no such prompt language, template or file, or a template without choices.
    """
    if prompt_language not in PROMPT_LANGUAGES:
        raise UnknownName(
            f"no prompt language {prompt_language!r}; choose one of: {', '.join(PROMPT_LANGUAGES)}"
        )
    if folder is not None and not folder.exists():
        raise BadInput(f"no templates at {folder}; give a checkout of promptsource or a TOML file")
    if folder is not None and folder.suffix == ".toml":
        found = _in_language(read_templates(folder, foreign=True), language, prompt_language)
    elif folder is not None:
        found, names = _of_promptsource(task, benchmark, language, prompt_language, folder, names)
    elif prompt_language in ("mt", "ht"):
        raise BadInput(
            f"our own templates are not translations; for {prompt_language!r}, give a checkout of promptsource as `templates`"
        )
    elif benchmark is not None:
        ours = read_templates(benchmark.wordings_path)
        found = _in_language(ours, language, prompt_language)
    else:
        found = _in_language(task_templates(task), language, prompt_language, english=english_of(task))
    what = f"{task} with prompts in {prompt_language!r} for {language!r}"
    return _named(found, names, what, needs_choices=benchmark is None or not benchmark.is_generated)


def _of_promptsource(
    task: str,
    benchmark: Benchmark | None,
    language: str,
    prompt_language: str,
    folder: Path,
    names: Sequence[str] | None,
) -> tuple[list[Template], Sequence[str] | None]:
    if prompt_language == "native":
        raise BadInput("promptsource has translated templates: choose mt or ht; native ones are ours")
    if benchmark is not None and not benchmark.promptsource:
        raise BadInput(
            f"no published prompts are known for {task!r}; leave out templates, or name a TOML file"
        )
    english = prompt_language == "en"
    place = benchmark.promptsource.format(prompt="en" if english else language) if benchmark else task
    dataset, _, config = place.partition("/")
    found = read_promptsource(folder, dataset, config or None)
    if not english:
        wanted = [t for t in found if t.translated == prompt_language and t.language == language]
        return wanted, names
    untranslated = [t for t in found if not t.translated]
    return untranslated, names or (benchmark.five if benchmark else None)


def _in_language(
    templates: Sequence[Template], language: str, prompt_language: str, english: str = "en"
) -> list[Template]:
    wanted = english if prompt_language == "en" else language
    found = [template for template in templates if template.language == wanted]
    if not found:
        there = dict.fromkeys(template.language for template in templates)
        raise BadInput(
            f"no templates in {wanted!r}; there are some in: {', '.join(there) or 'no language'}; choose one of these languages, or "
            "prompt language en"
        )
    return found


def _named(
    templates: Sequence[Template], names: Sequence[str] | None, what: str, *, needs_choices: bool
) -> list[Template]:
    there = [template.name for template in templates]
    for name in names or []:
        if name not in there:
            raise UnknownName(
                f"no template called {name!r} for {what}; there are: {'; '.join(there) or 'none'}"
            )
    chosen = [template for template in templates if names is None or template.name in names]
    without = [template.name for template in chosen if needs_choices and template.answer_choices is None]
    if without or not chosen:
        raise BadInput(
            f"{f'template {without[0]!r} has no answer choices' if without else 'no template'} for {what}; ranking needs choices"
        )
    return chosen


def provenance(benchmark: Benchmark | None, folder: Path | None, used: Iterable[Template]) -> str:
    """Return the origin of the templates: "ours", "published" (the five, or their translations), or "given"."""
    if folder is None:
        return "ours"
    five = set(benchmark.five) if benchmark is not None and folder.suffix != ".toml" else set()
    return "published" if all(t.name in five or t.translated for t in used) and five else "given"
