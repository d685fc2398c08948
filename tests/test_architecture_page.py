"""The page on the architecture shows the rooms that are there, drawn from the code."""

import importlib.util
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def drawing():
    spec = importlib.util.spec_from_file_location("draw_architecture", DOCS / "draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_names_every_room_that_is_drawn():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(drawing().read_rooms())


def test_the_picture_of_the_rooms_is_drawn_from_the_code_as_it_is(tmp_path):
    room = drawing()
    room.draw_rooms(room.read_rooms(), tmp_path / "rooms.svg")

    assert shown(tmp_path / "rooms.svg") == shown(DOCS / "architecture-rooms.svg")
    room.draw_rooms({**room.read_rooms(), "attic": {"cli"}}, tmp_path / "rooms.svg")
    assert shown(tmp_path / "rooms.svg") != shown(DOCS / "architecture-rooms.svg")


def shown(path):
    """The names in a picture with their places, and how many lines there are."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"<text[^>]*?(?:x|y|transform)=[^>]*>(\w+)</text>", text), text.count("<path ")
