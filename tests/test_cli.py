"""The command line: what it prints, where errors go, and the contract's exit codes."""

import io
import json
import math
import os
import re
import resource
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace
from typing import Annotated

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from miniatures import check
from workbench import family, generate, load
from workbench.cli import app, main, printing
from workbench.store import Store


@pytest.fixture
def environment(tmp_path):
    """A store of one's own, and a hub's cache with nothing in it."""
    return {
        **os.environ,
        "WORKBENCH_STORE": str(tmp_path / "store.sqlite"),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
    }


@pytest.fixture
def call(tmp_path, environment):
    """Run `workbench` in a process of its own."""

    def run(*words, **changes):
        command = [
            sys.executable,
            "-m",
            "workbench.cli",
            *(word if isinstance(word, bytes) else str(word) for word in words),
        ]
        return subprocess.run(
            command, capture_output=True, text=True, env={**environment, **changes}, cwd=tmp_path
        )

    return run


@pytest.fixture
def ended(tmp_path, hub_cache, monkeypatch, capfd):
    """Run `workbench` in this process, and return its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which `main` replaces

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([*map(str, words)])
        said = capfd.readouterr()
        return SimpleNamespace(returncode=end.value.code or 0, stdout=said.out, stderr=said.err)

    return run


@pytest.fixture
def answered(tmp_path):
    """Fill the store with the answer of a model; the commands then need not load it."""

    def fill(name, prompt, count):
        handle = load(str(name), store=Store(tmp_path / "store.sqlite"))
        generate(handle, [prompt], max_new_tokens=count)

    return fill


def test_models_lists_all_28_and_what_ships(call, ended):
    rows = json.loads(call("models", "--json").stdout)
    names = {row["name"]: row for row in rows}
    assert len(family.checkpoints()) == 28
    assert set(names) == {c.name for c in family.checkpoints()} | set(family.shipped())
    assert names["bloomz-mt"]["steps"].endswith("?") or names["bloomz-1b7"]["steps"].endswith("?")
    table = ended("models")
    assert "bloomz-7b1-mt" in table.stdout
    assert "secondary source" in table.stderr


@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_generate_answers_and_the_second_time_from_the_store_without_torch(call, checkpoints, side):
    words = ["generate", checkpoints[side], "The cat sat.", "--max-new-tokens", 5, "--json"]
    first, second = (json.loads(call(*words).stdout)[0] for _ in range(2))
    assert (first.pop("from_store"), second.pop("from_store")) == (False, True)
    assert first == second


def test_a_stored_answer_needs_no_torch(answered, checkpoints, environment):
    words = ["generate", str(checkpoints["bloom"]), "The cat sat.", "--max-new-tokens", "5"]
    answered(checkpoints["bloom"], "The cat sat.", 5)
    code = (
        "import sys, workbench.cli\n"
        "try: workbench.cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'workbench.inference.generation' in sys.modules\n"
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, *words], env=environment, check=True)


def test_a_cut_answer_says_so(ended, answered, checkpoints):
    answered(checkpoints["bloom"], "The cat sat.", 2)
    done = ended("generate", checkpoints["bloom"], "The cat sat.", "--max-new-tokens", 2)
    assert "reached --max-new-tokens 2" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["generate", "mt0-huge", "hello"], 2, "mt0-"),
        (["generate", "BLOOM", ""], 2, "prompt 0"),
        (["generate", "BLOOM", "hello", "--sample"], 2, "seed"),
        (["generate", "BLOOM", "hello", "--samples", "3"], 2, "command line --sample"),
        (["generate", "BLOOM", "word " * 300], 2, "shorten"),
        (["generate", "BLOOM", "hello", "--dtype", "float8"], 2, "float8"),
        (["generate", "MT5", "hello", "--dtype", "float16"], 2, "bfloat16"),
        (["generate", "bloomz-560m", "hello"], 5, "workbench fetch bloomz-560m"),
        (["generate", "some-one/some-model", "hello"], 5, "network"),
        (["run", "99_nothing"], 2, "99_nothing"),
        (["run", "03_probing", "-p", "model", "mini-blom"], 2, "nearest: mini-bloom"),
        (["run", "03_probing", "-p", "limit"], 2, "-p NAME VALUE"),
        (["verify", "--workers", "0"], 2, "equal to 1"),
        (["sweep", "any.toml", "--workers", "0"], 2, "equal to 1"),
        (["store", "fold"], 2, "fold"),
        ([], 2, ""),
    ],
)
def test_mistakes_are_one_clear_sentence_and_the_contracts_exit_code(
    ended, checkpoints, words, code, message
):
    words = [{"BLOOM": checkpoints["bloom"], "MT5": checkpoints["mt5"]}.get(word, word) for word in words]
    started = time.monotonic()
    done = ended(*words)
    assert done.returncode == code
    assert message in done.stderr + (done.stdout if not words else "")
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 15


def test_a_mistake_ends_a_process_of_its_own_in_the_same_way(call):
    done = call("generate", "mt0-huge", "hello")
    assert done.returncode == 2
    assert "mt0-" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_is_none_is_exit_7_and_info_and_check_work(
    ended, answered, checkpoints, tmp_path, monkeypatch
):
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with monkeypatch.context() as patch:
        patch.setenv("WORKBENCH_STORE", str(tmp_path / "notes.txt"))
        done = ended("generate", checkpoints["bloom"], "hello")
    assert done.returncode == 7
    assert "WORKBENCH_STORE" in done.stderr
    answered(checkpoints["bloom"], "hello", 3)
    assert "1 answers" in ended("store", "info").stdout
    assert ended("store", "check").stdout == "every entry is whole\n"


def computed(command):
    """Run a command; return its seconds of CPU, which a busy machine does not lengthen as it does the clock's, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output


def test_help_is_quick_and_every_command_has_some():
    help_of = [sys.executable, "-m", "workbench.cli"]
    seconds, top = zip(*(computed([*help_of, "--help"]) for _ in range(3)), strict=True)
    heavy, _ = computed([sys.executable, "-c", "import torch"])
    assert min(seconds) < heavy / 2  # the goal is 0.5 s on a free machine; torch takes 2 s
    for command in ("models", "generate", "run", "store", "mini", "convert"):
        assert command in top[0]
        assert subprocess.run(
            [*help_of, command, "--help"], capture_output=True, text=True, check=True
        ).stdout


@pytest.mark.parametrize("more", [[], ["--findings"]])
def test_a_check_printed_for_programs_is_one_json_value_whatever_is_asked(more, monkeypatch, capsys):
    """Findings came as a second array and failures as a table after it."""
    checked = {
        "check": "a",
        "side": "BLOOM",
        "what": "x-en",
        "value": math.nan,
        "holds": False,
        "needs": "interval",
    }
    monkeypatch.setattr(check, "predictions", lambda *_: None)
    monkeypatch.setattr(check, "check", lambda *_, **__: pd.DataFrame([checked]))
    monkeypatch.setattr(check, "findings", lambda _: pd.DataFrame({"finding": ["b"], "value": [1.23456]}))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which `main` replaces
    with pytest.raises(SystemExit) as end:
        main(["mini", "check", "--json", *more])
    done = capsys.readouterr()
    assert end.value.code == 3, done.err
    head = {"check": "a", "side": "BLOOM", "what": "x-en"}
    checks = [{**head, "value": "", "holds": False, "needs": "interval"}]
    findings = [{"finding": "b", "value": 1.235}]
    assert json.loads(done.out) == ({"checks": checks, "findings": findings} if more else checks)
    assert "fails: a BLOOM x-en" in done.err


def test_an_interrupt_says_that_what_was_finished_is_kept():
    code = (
        "import sys, workbench.cli\n"
        "def interrupted(): raise KeyboardInterrupt\n"
        "workbench.family.families = interrupted\n"
        "sys.argv[1:] = ['models']\n"
        "workbench.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert "what was finished is kept" in done.stderr


def test_a_prompt_outside_a_miniatures_world_is_a_warning(ended, answered):
    with pytest.warns(UserWarning, match="quantum"):
        answered("mini-bloomz", "What is quantum chromodynamics?", 5)
    done = ended("generate", "mini-bloomz", "What is quantum chromodynamics?", "--max-new-tokens", 5)
    assert done.returncode == 0
    assert "quantum" in done.stderr
    assert "words.txt" in done.stderr


def commands(command, words=()):
    """Every command below one, with the words that call it."""
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


def lost_in_help(of):
    """Commands whose `--help` fails, and words in brackets that it swallows: rich reads both as markup."""
    for words, command in commands(typer.main.get_command(of)):
        done = CliRunner().invoke(of, [*words, "--help"], env={"COLUMNS": "300"})
        texts = [command.help, *(getattr(each, "help", None) for each in command.params)]
        for text in [each.replace("\\[", "[") for each in texts if each]:
            meant = re.findall(r"\[[^\[\]]+\]", text)
            yield from ((*words, said) for said in meant if done.exit_code or said not in done.output)


def test_every_help_says_its_words_in_brackets():
    """`verify --help` ended in a traceback, and `sweep --help` left out the names of its tables."""
    assert list(lost_in_help(app)) == []
    assert "-p NAME VALUE" in CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "300"}).output


@pytest.mark.parametrize(("said", "lost"), [("a [/CASE]", "[/CASE]"), ("as [product]", "[product]")])
def test_a_help_that_loses_its_brackets_is_found_out(said, lost):
    other = typer.Typer()

    @other.command()
    def do(what: Annotated[str, typer.Option(help=said)] = ""):
        """Do it."""

    assert list(lost_in_help(other)) == [(lost,)]


HOSTILE = "t[/b] [en] plain :smile: \x1b[2J\x9b31m\r \u200fשלום 猫 \ud83d"
SHOWN = "t[/b] [en] plain :smile: \\x1b[2J\\x9b31m\\x0d \u200fשלום 猫 \\ud83d"


@pytest.fixture
def terminal(monkeypatch):
    """A stdout in an encoding, and what was written to it as text of that encoding."""

    def of(encoding):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
        monkeypatch.setattr(sys, "stdout", stream)
        printing.set_up_streams()
        return lambda: (stream.flush(), stream.buffer.getvalue().decode(encoding))[1]

    return of


def test_data_are_printed_as_they_are_and_not_read_as_markup_or_sent_as_control_characters(terminal):
    """A template `t[/b]` ended in a MarkupError after all the work, and `[en] plain` came out as ` plain`."""
    written = terminal("utf-8")
    printing.show([{HOSTILE: HOSTILE}])
    printing.show_line(HOSTILE)
    assert written().count(SHOWN) == 3


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_exact_in_every_terminal(terminal, encoding):
    written = terminal(encoding)
    content = [{HOSTILE: [HOSTILE, 1.5, True, None]}]
    printing.show([*content], as_json=True)
    assert json.loads(written()) == content
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", written())


def test_json_has_null_for_what_is_no_number(terminal):
    written = terminal("utf-8")
    printing.show_json({"a": [math.nan, (math.inf, 1.0)]})
    assert json.loads(written()) == {"a": [None, [None, 1.0]]}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_unicode_is_shown_what_its_encoding_lacks_spelled_out(terminal, encoding):
    written = terminal(encoding)
    printing.show([{"text": "猫"}])
    printing.show_line("猫")
    assert written().count("\\u732b") == 2


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [(">&-", 0, ""), (">/dev/full", 7, "No space left"), ("| true; exit ${PIPESTATUS[0]}", 141, "")],
)
def test_a_closed_or_full_output_is_no_traceback(end, code, said):
    """`workbench models | head -1` ended with 1, which means that a notebook raised."""
    line = f"{sys.executable} -m workbench.cli models --json {end}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == code
    assert said in done.stderr
    assert not re.search("Traceback|Exception ignored|Broken", done.stderr)


def test_an_argument_that_is_not_utf_8_is_refused(call):
    done = call(b"generate", b"mini-bloomz", b"caf\xe9")
    assert done.returncode == 2
    assert "is not UTF-8" in done.stderr
