"""Figures shown with their badge and stored with the table behind them, so that readers can check the numbers."""

import base64
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.core.getipython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from workbench.errors import BadInput, StoreFailed
from workbench.family import Badge, shared_badge
from workbench.figures.style import DPI, GREY, style, wrap
from workbench.models import Model
from workbench.run_log import run_folder

BADGES = {"PUBLISHED": "#1f4e8c", "MEASURED": "#0b6b50", "SYNTHETIC": "#a8430b"}


def badge_for(*models: Model, source: str = "") -> Badge:
    """Return the badge of these models' results on data of this source: SYNTHETIC if either belongs to an artificial world.

    Without a source only the models count. MEASURED means that a checkpoint trained on real text was evaluated on real text.

    Raises:
        BadInput: models of both kinds, which never share a figure.
    """
    return shared_badge((model.name for model in models), source)


def show(figure: Figure, table: pd.DataFrame, *, name: str, badge: Badge, alt: str, note: str = "") -> None:
    """Put the badge on the figure, display it and, inside a run, store it with the table behind it.

    Writes `figures/<name>.png`, `.csv` (the table) and `.json` (title, badge, note, text alternative) in the run's
    folder. Any matplotlib figure is accepted, not only those made here. The same figure gives the same bytes.

    Args:
        figure: The picture.
        table: What was plotted.
        name: File name: lower-case letters, digits and hyphens or underscores.
        badge: PUBLISHED (recomputed from the authors' scores), MEASURED (this checkpoint), SYNTHETIC (an artificial world).
        alt: One sentence that describes the picture for those who cannot see it.
        note: A line below the picture: checkpoint, number of items, kind of interval.

    Raises:
        BadInput: an unknown badge, an invalid name, or no text alternative.
        StoreFailed: a file could not be written.
    """
    if badge not in BADGES:
        raise BadInput(
            f"no badge called {badge!r}; choose one of: {', '.join(BADGES)}, by where the numbers come from"
        )
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise BadInput(
            f"the figure's name is {name!r}; use lower-case letters, digits, - and _, e.g. 'gain-by-language'"
        )
    if not alt.strip():
        raise BadInput(f"figure {name!r} has no text alternative; describe it in a sentence: alt='…'")
    title = figure.get_suptitle() or (figure.axes[0].get_title() if figure.axes else "")
    facts = {
        "name": name,
        "title": " ".join(title.split()),
        "badge": badge,
        "note": note,
        "alt": alt,
        "rows": len(table),
    }
    png = _render(figure, badge, note, alt)
    width = round(int.from_bytes(png[16:20], "big") * 100 / DPI)  # IHDR begins with the width in pixels
    folder = run_folder()
    if folder is not None:
        text = json.dumps({**facts, "width": width}, indent=1, ensure_ascii=False)
        files = {"png": png, "csv": table.to_csv(index=False).encode(), "json": text.encode()}
        _write(folder / "figures", name, files)
    if get_ipython() is not None:
        bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": f"[{badge}] {alt}"}
        display(bundle, raw=True, metadata={"image/png": {"alt": alt, "width": width}, "workbench": facts})


def save(figure: Figure, folder: Path, *, name: str, badge: Badge, alt: str, note: str = "") -> list[Path]:
    """Write a figure with its badge as `<name>.png` and as vector `<name>.pdf`; the same figure gives the same bytes.

    Raises:
        StoreFailed: a file could not be written.
    """
    return _write(folder, name, {kind: _render(figure, badge, note, alt, kind) for kind in ("png", "pdf")})


def _write(folder: Path, name: str, files: Mapping[str, bytes]) -> list[Path]:
    """Write `<name>.<kind>` for every kind of file."""
    try:
        folder.mkdir(exist_ok=True)
        for kind, content in files.items():
            (folder / f"{name}.{kind}").write_bytes(content)
    except OSError as error:
        raise StoreFailed(
            f"could not write figure {name} in {folder}: {error}; free some space and run again"
        ) from error
    return [folder / f"{name}.{kind}" for kind in files]


def _render(figure: Figure, badge: Badge, note: str, alt: str, kind: str = "png") -> bytes:
    """Return the file's bytes; badge and note are placed outside the canvas, so they cover nothing."""
    height = figure.get_figheight()
    with style():
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)  # and then fix it: a legend below would move when the canvas grows
        figure.set_layout_engine("none")
        for legend in (each for each in figure.legends if each.get_bbox_to_anchor() is figure.bbox):
            legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
        box = {"boxstyle": "round,pad=0.35", "facecolor": BADGES[badge], "edgecolor": "none"}
        stamp: dict[str, Any] = {
            "ha": "right",
            "va": "bottom",
            "color": "white",
            "fontsize": 8,
            "fontweight": "bold",
            "bbox": box,
        }
        marks = [figure.text(0.995, 1 + 0.08 / height, badge, **stamp)]
        if note:
            lines = wrap(note, int(figure.get_figwidth() * 15))
            marks.append(
                figure.text(0.005, -0.06 / height, lines, ha="left", va="top", color=GREY, fontsize=7.5)
            )
        buffer = io.BytesIO()
        text = f"{badge}: {alt}"
        tags = (
            {"Creator": None, "Producer": None, "CreationDate": None, "Subject": text}
            if kind == "pdf"
            else {}
        )
        quick: dict[str, Any] = {"pil_kwargs": {"compress_level": 0}} if kind == "png" else {}
        around = figure.get_tightbbox().padded(0.08)  # "tight" would repeat the layout
        figure.savefig(buffer, format=kind, dpi=DPI, bbox_inches=around, metadata=tags, **quick)
        for mark in marks:  # so that showing a figure twice draws one badge
            mark.remove()
    return _opaque(buffer, text) if kind == "png" else buffer.getvalue()


def _opaque(png: io.BytesIO, text: str) -> bytes:
    """Return the PNG without its alpha channel, which is opaque everywhere; the file is an eighth of the size."""
    tags, smaller = PngInfo(), io.BytesIO()
    tags.add_text("Description", text) if text.isascii() else tags.add_itxt("Description", text)
    # level 9 takes three times as long and saves 3 %
    Image.open(png).convert("RGB").save(smaller, "PNG", pnginfo=tags, compress_level=7)
    return smaller.getvalue()
