"""An executed notebook as one HTML page that needs no network, no script and no mouse.

Widgets need a kernel and a script, so the page shows what they put beside themselves: HTML or text.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

_WIDGET = "application/vnd.jupyter.widget-view+json"
_INSIDE = r'(?:[^<>"]|"[^"]*")*'  # of a tag, so that a tag within an attribute is no tag
_TAGS = re.compile(rf"<th\b({_INSIDE})>(?:\s|&nbsp;)*</th>|<(/?[a-z][a-z0-9]*)\b({_INSIDE})>", re.IGNORECASE)
_WIDTH = re.compile(r'\bwidth="?(\d+)')


@cache
def _exporter() -> Any:
    """Return the HTML exporter; its compiled templates are reused within a process and in processes forked from it."""
    nbconvert = import_module("nbconvert")  # half a second, during which no kernel waits
    found = nbconvert.HTMLExporter(template_name="basic", sanitize_html=True)
    found.register_filter("clean_html", import_module("workbench.runs.sanitised").clean)
    return found


def _nbformat() -> Any:
    """Import it late: `workbench.runs.child` does so first, without a grammar that takes seconds."""
    return import_module("nbformat")


def prepare_report() -> None:
    """Import and compile what the report needs, by rendering a notebook of two cells."""
    v4 = _nbformat().v4
    outputs = [v4.new_output("display_data", {"text/html": "<table></table>"})]
    cells = [v4.new_markdown_cell("a *text*"), v4.new_code_cell("x = 1", outputs=outputs)]
    about = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    _exporter().from_notebook_node(v4.new_notebook(cells=cells, metadata=about))


def write_report(title: str, models: Sequence[str] = ()) -> None:
    """Render `notebook.ipynb` as `report.html`, one self-contained page that makes no network requests."""
    notebook = _nbformat().read("notebook.ipynb", as_version=4)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop(_WIDGET, None)
        for facts in (output.get("metadata", {}), *output.get("metadata", {}).values()):
            for name in ("width", "height"):  # which nbconvert does not quote
                if isinstance(facts, dict) and not isinstance(facts.get(name, 0), int):
                    del facts[name]
    body, _ = _exporter().from_notebook_node(notebook)
    markup, pages = import_module("markupsafe"), import_module("workbench.runs.page")
    whole = pages.render("report", title=title, models=models, notebook=markup.Markup(accessible(body)))
    Path("report.html").write_text(whole, encoding="utf-8")


def accessible(body: str, of: str = "") -> str:
    """Return sanitised HTML in which wide tables and pictures scroll by keyboard and no header cell is empty.

    Args:
        of: What the page says of several: each is called after it, since names are unique on a page.
    """
    tables, pictures = _names("Table", of), _names("Figure", of)
    return _TAGS.sub(lambda tag: "".join(_replaced(tag, tables, pictures)), body)


def _names(kind: str, of: str) -> Iterator[str]:
    yield from (f"{kind} {number} of {of}" if of else f"{kind} {number}" for number in count(1))


def _replaced(tag: re.Match[str], tables: Iterator[str], pictures: Iterator[str]) -> Iterator[str]:
    empty, name, attributes = tag.groups()
    kind = (name or "").lower()
    if kind == "table":
        yield _region(next(tables))
    if kind == "img" and (width := _WIDTH.search(attributes)):
        yield f'{_region(next(pictures))}<img style="--natural:{width[1]}px" {attributes}></div>'
    else:
        yield tag[0] if empty is None else f"<td{empty}></td>"
    if kind == "/table":
        yield "</div>"


def _region(label: str) -> str:
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'
