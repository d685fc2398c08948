"""Templates, rows and notebooks, changed at random, beside readers of them that are not the workbench's."""

import csv
import gzip
import io
import json
import random
import tomllib

import jinja2
import nbformat
import pandas as pd
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.edits import edit_bytes, edit_json, edit_text, edit_value, recode
from tests.mutants import Mutant, Silent
from tests.promptsource_files import PLACE, PROMPTSOURCE
from workbench.prompts import read_promptsource, read_templates
from workbench.runs.plans import plan
from workbench.tasks import fingerprint, make_items, read_any

ROWS = [
    {"id": f"r{n}", "cluster": f"c{n}", "language": code, "label": n % 2, "premise": premise, "choice1": "Wet.", "choice2": "Dry: no!"}
    for n, (code, premise) in enumerate([("en", "It rained."), ("no", 'Han sa "nei", og gikk.'), ("zh", "下雨了。"), ("sw", "Mvua, 100%")])
]  # fmt: skip
TOML = """# wordings of a small task
[[template]]
name = "so"
jinja = '''{{premise}} So? ||| {{answer_choices[label]}}'''
answer_choices = "{{choice1}} ||| {{choice2}}"

[[template]]
name = "basi"
family = "so"
language = "sw"
held_out = true
jinja = "{{premise}}\\nBasi? {% if label %}!{% endif %} ||| {{answer_choices[label]}}"
answer_choices = "{{choice1}} ||| {{choice2}}"
"""


class Unreadable(Exception):
    """What a reader beside ours cannot read, or should not."""


class _Strict(yaml.CBaseLoader):
    """All scalars are texts, all tags are passed over, and a key stands once."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        if len(set(map(str, keys))) < len(keys):
            raise Unreadable("a key stands twice")
        return super().construct_mapping(node, deep)


def _tables(path):
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix == ".toml":
        return tomllib.loads(text.replace("\r\n", "\n"))["template"]
    return list(yaml.load(text, _Strict)["templates"].values())


def _rendered(table, row):
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)

    def fill(source, **more):
        text = environment.from_string(source).render({**row, **more})
        return [part.strip() for part in text.split("|||")]

    given = table.get("answer_choices")
    choices = [] if given in (None, "", "null", "~") and "answer_choices" not in table else fill(given)
    text, target, *_ = [*fill(table["jinja"], answer_choices=choices), "", ""]
    return table["name"], text, tuple(choices), target


def as_told(path, rows):
    """The prompts that Jinja alone makes of a file's templates, rows outermost."""
    tables = _tables(path)
    return [_rendered(table, row) for row in rows for table in tables]


class Templates:
    """Templates of ours (TOML) and of promptsource (YAML)."""

    kind, codes = "template", {2}

    def __init__(self, place) -> None:
        self.place = self.path = place

    def mutant(self, draw: random.Random):
        is_ours = draw.random() < 0.5
        path = self.place / ("own.toml" if is_ours else PLACE)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TOML if is_ours else PROMPTSOURCE, encoding="utf-8")
        right, self.path = as_told(path, ROWS), path
        what = draw.choice([edit_text] * 6 + [edit_bytes] * 2 + [recode, self._retype])(draw, path)
        return Mutant(what, True, (lambda: self._items(path, right),))

    def _retype(self, draw, path):
        text = path.read_text(encoding="utf-8")
        field, mark = draw.choice(["name", "jinja", "answer_choices"]), "=" if path.suffix == ".toml" else ":"
        value = draw.choice(["3", "true", "[]", "{}", "[1, 'x']", "''", "1979-05-27", "nan", "null", "*a", "&a x", "!!python/name:os.system"])  # fmt: skip
        start = text.index(f"{field} {mark}" if mark == "=" else f"{field}{mark}")
        stop = text.index("\n", start)
        path.write_text(f"{text[:start]}{field} {mark} {value}{text[stop:]}", encoding="utf-8")
        return f"{path.name}: {field} {value}"

    def _items(self, path, right):
        read = (
            read_templates
            if path.suffix == ".toml"
            else lambda _: read_promptsource(self.place, "small", "en")
        )
        items = make_items(ROWS, read(path))
        found = [(item.template, item.prompt, item.choices, item.target) for item in items]
        golds = [item.gold is None or item.choices[item.gold] == item.target for item in items]
        told = [each for each in as_told(path, ROWS) if each[1] or each[3]]
        if found != told or not all(golds):
            first = next(pair for pair in zip(found, [*told, None], strict=False) if pair[0] != pair[1])
            raise Silent(f"other prompts than Jinja's: {first}")
        return found == right


def _once(pairs):
    if len(dict(pairs)) < len(pairs):
        raise Unreadable("a key stands twice")
    return dict(pairs)


def rows_told(path):
    """The rows in a file as the standard library and pandas read them."""
    if path.suffix == ".parquet":
        return [
            {k: None if v is None or v != v else v for k, v in row.items()}  # noqa: PLR0124  NaN
            for row in pd.read_parquet(path).to_dict("records")
        ]
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text, kind = raw.decode("utf-8-sig"), path.name.split(".")[1]
    if kind in ("csv", "tsv"):
        cells = list(
            csv.reader(io.StringIO(text, newline=""), delimiter="\t" if kind == "tsv" else ",", strict=True)
        )
        names, *rest = [line for line in cells if line] or [[]]
        if any(len(line) != len(names) for line in rest):
            raise Unreadable("a ragged row")
        return [dict(zip(names, line, strict=True)) for line in rest]
    if kind == "json":
        return json.loads(text, object_pairs_hook=_once)
    return [json.loads(line, object_pairs_hook=_once) for line in text.split("\n") if line.strip()]


class Rows:
    """Files of rows of one's own, in every format."""

    kind, codes = "rows", {2}
    FORMATS = ("jsonl", "jsonl", "json", "csv", "csv", "tsv", "parquet", "jsonl.gz", "csv.gz")

    def __init__(self, place) -> None:
        self.place = place

    def mutant(self, draw: random.Random):
        rows, may_differ = json.loads(json.dumps(ROWS)), True
        kind, told = draw.choice(self.FORMATS), ""
        path = self.path = self.place / f"rows.{kind}"
        right = self._written(path, rows)
        how = draw.choice(["values", "values", "text", "text", "bytes", "packed", "recoded", "twice"])
        if how == "values":
            told = edit_value(draw, rows)
            try:
                self._written(path, rows)
            except Exception as error:  # noqa: BLE001  (what the format cannot hold)
                told += f", which {kind} cannot hold ({type(error).__name__})"
        elif how in ("text", "recoded", "twice") and kind in ("jsonl", "json", "csv", "tsv"):
            if how == "twice" and kind in ("json", "jsonl"):
                raw = path.read_text(encoding="utf-8").replace('"label": 1', '"label": 1, "label": 0', 1)
                path.write_text(raw, encoding="utf-8")
                told, may_differ = "a label twice", False
            else:
                told = (edit_text if how != "recoded" else recode)(draw, path)
        elif path.suffix == ".gz" and how != "packed":
            path.write_bytes(gzip.decompress(path.read_bytes()))
            told = edit_bytes(draw, path)
            path.write_bytes(gzip.compress(path.read_bytes()))
        else:
            told = edit_bytes(draw, path)
        return Mutant(f"{path.name}: {told}", may_differ, (lambda: self._read(path, right),))

    def _written(self, path, rows):
        kind = path.name.removeprefix("rows.").removesuffix(".gz")
        if kind == "parquet":
            pd.DataFrame(rows).to_parquet(path)
            raw = path.read_bytes()
        elif kind in ("csv", "tsv"):
            raw = pd.DataFrame(rows).to_csv(index=False, sep="\t" if kind == "tsv" else ",").encode()
        else:
            lines = [json.dumps(row, ensure_ascii=draw_free(row)) for row in rows]
            raw = ("[" + ",\n".join(lines) + "]" if kind == "json" else "\n".join(lines)).encode()
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
        return [dict(row) for row in ROWS]

    def _read(self, path, right):
        found = read_any("own", path)
        fingerprint(found)
        told = rows_told(path)
        if len(found) != len(told):
            raise Silent(f"{len(found)} rows of {len(told)}")
        for ours, theirs in zip(found, told, strict=True):
            for name, value in theirs.items():
                known = _plain(value)
                if not _agrees(name, ours, known):
                    raise Silent(f"{name} is {ours.get(name)!r} and not {value!r}")
        return [{name: row.get(name) for name in right[0]} for row in found] == right


def draw_free(row):
    """Whether a row must be written in ASCII: half a surrogate pair has no other form."""
    return "\\ud800" in json.dumps(row)


def _plain(value):
    return json.loads(
        json.dumps(value, default=lambda each: each.tolist() if hasattr(each, "tolist") else str(each))
    )


def _agrees(name, ours, value):
    if name == "label":
        return float(value) == ours["label"]
    if name in ("id", "language", "cluster"):
        return value in (None, "") or str(ours[name]) == str(value)
    mine = ours[name]
    return mine == value or (value != value and mine is None)  # noqa: PLR0124


class Notebooks:
    """Notebook files, as far as they are read before a kernel starts."""

    kind, codes = "notebook", {2}

    def __init__(self, place) -> None:
        self.place = place
        cells = [
            new_markdown_cell("# A small notebook"),
            new_code_cell('language: str = "x-en"  # a code\nseed = 3', metadata={"tags": ["parameters"]}),
            new_code_cell("from workbench.run_log import record\nvalue = seed * 2"),
            new_code_cell("record(value=value, language=language)"),
        ]
        self.path = place / "small.ipynb"
        self.content = new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}})  # fmt: skip
        nbformat.write(self.content, self.path)
        self.whole = self.path.read_bytes()
        self.right, self.sources = plan(self.path).run_id, code_told(self.path)

    def mutant(self, draw: random.Random):
        self.path.write_bytes(self.whole)
        what = draw.choice([edit_json] * 6 + [edit_text] * 2 + [edit_bytes, recode])(draw, self.path)
        return Mutant(what, True, (self._planned,))

    def _planned(self):
        same = plan(self.path).run_id == self.right
        if same != (code_told(self.path) == self.sources):
            raise Silent(f"the same run: {same}, though its code is {code_told(self.path)}")
        return same


def code_told(path):
    """What a notebook's kernel would be given, and which cell takes the parameters."""
    content = json.loads(path.read_bytes().decode("utf-8-sig"))
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    return [
        ("".join(cell.get("source") or ""), "parameters" in ((cell.get("metadata") or {}).get("tags") or []))
        for cell in cells
    ]
