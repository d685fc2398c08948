"""Bad command lines, drawn by a seed over every command: one sentence, a documented exit code, nothing written elsewhere."""

import errno
import random
import re
import stat
from pathlib import Path

import pytest
import typer

from workbench import cli, family
from workbench.models import Model
from workbench.paths import data_path
from workbench.runs import supervise

SEED = 14
PER_COMMAND = 12
LONG = "n" * 300
NAMES = ["[/b]", "[red]x", "\x1b[2Jx", "x\x9b31m", LONG, "~nosuchuser/x", "no such", "\udcff", "../../x", "/"]
INTEGERS = ["x", "1.5", "True", "-1", "nan", "inf", "1e3", "0x10", " ", "[/b]", "\udcff"]
REALS = ["x", "-1", "0", "nan", "inf", "-inf", "[/b]", "\x1b[31m", "\udcff"]
FILES = [
    "missing", "folder", "binary", "latin1", "empty", "list.json", "deep.json", "nan.json", "surrogate.json", "object.json",
    "latin1.toml", "list.ipynb", "cells.ipynb", "deep.ipynb", "zip", "a file/below", "[red].toml", "\x1b[2J.json", "...toml", LONG,
    f"{LONG}/{LONG}", "~nosuchuser/x", "/dev/null/x", "caf\udce9", "shapes", "damaged",
]  # fmt: skip
PLACES = ["binary", "binary/below", LONG, "/dev/null/x", "\udcff"]  # where nothing can be written
PARAMETERS = [
    "limit=x",
    "limit=nan",
    "limit=true",
    "nothing=1",
    "languages=[",
    "hf_token=x",
    "seed=1.5",
    "seed='x'",
]

# command, what makes it whole, and what is bad in each of its places
COMMANDS = {
    "generate": (["mini-bloomz", "Hello"], {
        0: [*NAMES, *FILES, "http://h/v1", "http://me:word@h/v1#bloomz"], 1: ["", "\udcff"], "--max-new-tokens": [*INTEGERS, "0"], "--dtype": NAMES, "--device": [*NAMES, "cuda:x"],
        "--beams": [*INTEGERS, "0"], "--top-k": INTEGERS, "--seed": INTEGERS, "--samples": [*INTEGERS, "0"],
        "--temperature": REALS, "--top-p": [*REALS, "2"], "--revision": NAMES,
    }),
    "evaluate": (["mini-bloomz", "sentiment", "--limit", "1"], {
        0: NAMES + FILES, 1: NAMES, "--languages": NAMES, "--templates": FILES, "--template": NAMES, "--prompt-language": NAMES,
        "--data": FILES, "--limit": [*INTEGERS, "0"], "--shots": INTEGERS, "--shots-language": NAMES, "--seed": INTEGERS,
        "--margin": [*REALS, "1"], "--dtype": NAMES, "--device": NAMES, "--batch-tokens": [*INTEGERS, "0"], "--out": PLACES,
    }),
    "run": (["03_probing"], {
        0: NAMES + FILES, "--root": PLACES, "--limit": REALS, "-p": PARAMETERS, "--preset": [*NAMES, *FILES, "sizes"],
        "--workers": [*INTEGERS, "0"],
    }),
    "sweep": (["good.toml"], {
        0: FILES, "--workers": [*INTEGERS, "0"], "--root": PLACES, "--on": NAMES, "--part": NAMES, "--preset": [*NAMES, *FILES, "gpu"],
    }),
    "verify": (["03_probing"], {0: NAMES + FILES, "--workers": [*INTEGERS, "0"], "--expected": FILES, "--limit": REALS}),
    "accept": (["run"], {0: FILES, "--case": [*NAMES, "", ".", "..", "a/b", "/tmp/x"], "--expected": PLACES}),
    "pack": (["laptop", "--out", "new"], {0: NAMES + FILES, "--out": PLACES, "--model": NAMES, "--limit": REALS}),
    "store check": ([], {0: FILES}),
    "store export": (["out.pack"], {"--model": NAMES, "--run": FILES, 0: PLACES}),
    "store import": (["pack"], {0: FILES}),
    "store prune": ([], {0: NAMES, "--all": NAMES}),
    "fetch": (["xcopa", "--log", "log.jsonl"], {
        0: NAMES + FILES, "--languages": NAMES, "--revision": NAMES, "--log": ["folder", "binary/below", LONG, "/dev/null/x"],
    }),
    "finetune": (["mini-bloom", "folder", "--out", "new"], {
        0: NAMES + FILES, 1: FILES, "--preset": NAMES, "--steps": [*INTEGERS, "0"], "--batch": [*INTEGERS, "0"],
        "--accumulate": [*INTEGERS, "0"], "--learning-rate": REALS, "--seed": INTEGERS, "--max-input": [*INTEGERS, "0"],
        "--dtype": NAMES,
    }),
    "mini train": (["mini-bloom"], {0: NAMES, "--folder": PLACES, "--seed": INTEGERS}),
    "mini check": ([], {"--meanings": [*INTEGERS, "0", "13", "60"], "--save": PLACES[1:], "--folder": FILES}),
    "mini mixture": (["p3", "--out", "new"], {0: NAMES, "--out": PLACES, "--count": [*INTEGERS, "0"], "--seed": INTEGERS}),
    "grade": (["missing.ipynb"], {
        0: FILES, "--course": NAMES + FILES, "--seconds": [*INTEGERS, "0"], "--moodle": PLACES, "--canvas": PLACES, "--feedback": PLACES,
        "--answers": [*FILES, "folder"],
    }),
    "register": (["missing.toml"], {0: FILES, "--course": NAMES + FILES}),
    "convert": (["mini-bloom", "--to", "safetensors", "--output", "new"], {0: NAMES + FILES, "--to": NAMES, "--output": PLACES, "--type": NAMES}),
    "models": ([], {0: NAMES + FILES, "--jsn": NAMES}),
    "serve": ([], {
        0: NAMES, "--port": [*INTEGERS, "0", "65536", "8123"], "--memory": REALS, "--idle": REALS, "--threads": [*INTEGERS, "0"],
        "--log": ["folder", "binary/below", LONG, "/dev/null/x"],
    }),
}  # fmt: skip


def bad_lines(command):
    """Lines of a command in each of which one thing is wrong, drawn by the seed."""
    draw = random.Random(f"{SEED} {command}")
    good, places = COMMANDS[command]
    for _ in range(PER_COMMAND):
        place = draw.choice(list(places))
        value = draw.choice(places[place])
        if isinstance(place, int):
            words = [*good[:place], value, *good[place + 1 :]]
        elif place == "-p":
            words = [*good, "-p", *value.split("=", 1)]
        else:
            words = [*good, f"{place}={value}"]
        options = [word for word in words if word.startswith("-")]
        yield (
            [*command.split(), *words] if options or draw.random() < 0.5 else [*command.split(), "--", *words]
        )


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of hostile files to stand in, a store of its own, no network, no kernel and no weights."""
    here = tmp_path / "here"
    here.mkdir()
    fill(here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("WORKBENCH_STORE", str(here / "store.sqlite"))
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))
    monkeypatch.setenv("WORKBENCH_SERVICE", str(tmp_path / "private/s.sock"))
    monkeypatch.delenv("WORKBENCH_SERVICE_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(supervise, "_supervise", no_work)
    monkeypatch.setattr(Model, "fresh_engine", no_work)
    return here


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def no_work(*_):
    raise AssertionError("a kernel was to start, or weights to be read")


def fill(here):
    deep = "[" * 100_000
    for name, content in {
        "binary": bytes(range(256)) * 20,
        "latin1": "café\n".encode("latin-1"),
        "empty": b"",
        "list.json": b"[]",
        "deep.json": deep.encode(),
        "nan.json": b'{"notebook": "03_probing", "parameters": {"limit": NaN}}',
        "surrogate.json": b'{"notebook": "03_probing", "parameters": {"model": "\\ud800"}}',
        "object.json": b'{"format": 1, "notebook": 3}',
        "latin1.toml": 'notebook = "café"'.encode("latin-1"),
        "[red].toml": b'notebook = "[/b]"',
        "\x1b[2J.json": b'{"\\u001b[2J": 1}',
        "...toml": b'notebook = "03_probing"',
        "good.toml": b'notebook = "03_probing"\n[parameters]\nlimit = 31\n',
        "list.ipynb": b"[]",
        "cells.ipynb": b'{"nbformat": 4, "metadata": null, "cells": [{"cell_type": "code"}, 3]}',
        "deep.ipynb": deep.encode(),
        "zip": b"PK\x03\x04" + bytes(100),
    }.items():
        (here / name).write_bytes(content)
    (here / "folder").mkdir()
    for folder, content in {
        "shapes": b'{"notebook": [], "runs": 3, "architectures": 5}',
        "damaged": b"\xff{",
    }.items():
        (here / folder).mkdir()
        for name in ("run.json", "config.json", "sweep.json", "metrics.json", "_SUCCESS"):
            (here / folder / name).write_bytes(content)


def tree(root, but):
    """Every file under a folder, its size and time, but those below `but`."""
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if but not in (path, *path.parents) and stat.S_ISREG(path.stat().st_mode)
    }


def ended(words, capfd):
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    return end.value.code or 0, capfd.readouterr()


def complaints(words, code, said):
    """What is wrong with how a bad line ended."""
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    if code not in {2, 5, 7}:
        yield f"exit code {code}"
    if len(lines) != 1 or not said.err.endswith(lines[0] + "\n"):
        yield f"{len(lines)} sentences"
    if "Traceback" in said.err + said.out or re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", said.err + said.out):
        yield "a traceback or a control character"


KNOWN = [
    ["run", "03_probing", "--limit", "-1"],
    ["run", "03_probing", "--limit", "nan"],
    ["generate", "mini-bloomz", "Hello", "--sample", "--seed", "1", "--temperature", "nan"],
    ["generate", "~nosuchuser", "Hello"],
    ["generate", LONG, "Hello"],
    ["generate", "shapes", "Hello"],
    ["generate", "damaged", "Hello"],
    ["evaluate", "mini-bloomz", "sentiment", "--shots", "-1"],
    ["evaluate", "mini-bloomz", "sentiment", "--margin", "nan"],
    ["evaluate", "mini-bloomz", "sentiment", "--limit", "1", "--data", "~nosuchuser/x"],
    ["evaluate", "mini-bloomz", "sentiment", "--limit", "1", "--out", "binary/below"],
    ["finetune", "mini-bloom", "~nosuchuser/x", "--out", "new"],
    ["sweep", "deep.json"],
    ["sweep", "nan.json"],
    ["sweep", "surrogate.json"],
    ["sweep", "...toml"],
    ["sweep", "latin1.toml"],
    *([command, folder] for command in ("verify", "accept") for folder in ("shapes", "damaged")),
    ["store", "export", "out.pack", "--run", "shapes"],
    ["generate", "caf\udce9", "Hello", "--json"],
]


@pytest.mark.parametrize(
    "words", KNOWN, ids=lambda words: " ".join(words)[:60].encode("ascii", "replace").decode()
)
def test_lines_that_ended_in_a_traceback_or_did_work_end_in_one_sentence_and_print_nothing(
    words, place, capfd
):
    code, said = ended(words, capfd)
    assert list(complaints(words, code, said)) == []
    assert said.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_command_line_ends_in_one_sentence_and_a_documented_code(command, place, capfd):
    around = (tree(place.parent, place), tree(data_path("expected"), place))
    found = []
    for words in bad_lines(command):
        code, said = ended(words, capfd)
        found += [f"{words!r:.200}: {each}: {said.err[-300:]}" for each in complaints(words, code, said)]
    assert not found, "\n".join(found)
    assert (tree(place.parent, place), tree(data_path("expected"), place)) == around


def test_every_command_has_bad_lines():
    def names(command, words=()):
        inner = getattr(command, "commands", {})
        yield from ([" ".join(words)] if not inner else [])
        for name, each in inner.items():
            yield from names(each, (*words, name))

    assert set(names(typer.main.get_command(cli.app))) - {"store info"} == set(COMMANDS)


def test_a_fault_of_our_own_ends_with_70_and_its_traceback_in_a_file(place, capfd, monkeypatch):
    def broken():
        raise RuntimeError("all \x1b[31mwrong\nin two lines")

    monkeypatch.setattr(family, "families", broken)
    code, said = ended(["models"], capfd)
    assert code == 70
    assert list(complaints(["models"], code, said)) == ["exit code 70"]
    path = Path(re.search(r"the traceback is in (\S+);", said.err)[1])
    assert path.is_relative_to(place / "state")
    assert "in broken" in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_fault_of_our_own_where_no_file_can_be_written_still_ends_in_a_sentence(place, capfd, monkeypatch):
    monkeypatch.setattr(family, "families", lambda: 1 / 0)
    monkeypatch.setattr("tempfile.mkstemp", full_disk)
    code, said = ended(["models"], capfd)
    assert code == 70
    assert "ZeroDivisionError" in said.err
    assert "could not be written" in said.err
