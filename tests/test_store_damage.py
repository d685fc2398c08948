"""Damage in any table of a store is found and repaired, and what is old or impossible is shown as it is."""

import json
import random
import re
import sqlite3

import pytest
from typer.testing import CliRunner

from tests.test_packs import HERE, array, context, scores
from workbench.cli import app
from workbench.errors import StoreFailed, UnknownName
from workbench.store import Store, canonical
from workbench.store.checking import check_store
from workbench.store.export import export_pack
from workbench.store.file import log_of
from workbench.store.keys import answer_checksum, digest_of, key_of

NEW = canonical(
    {"kind": "score", "weights": "aa", "tokenizer": "tt", "dtype": "float32", "engine": "e", "algorithm": 1}
)


@pytest.fixture
def full(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    store.remember_identity("bigscience/bloomz-560m@main", HERE)
    store.remember_file(tmp_path, tmp_path.stat(), "ff")
    store.put(
        NEW,
        [(f"q{n}", scores(-n / 3)) for n in range(5)],
        device="cuda",
        batch_size=8,
        libraries="torch 2.13.0",
    )
    old = canonical({**json.loads(context("aa", "states")), "engine": "e"})  # no algorithm
    store.put(old, [("q", array())], device="cuda")
    return store


def change(store, statement, *values):
    with store.transaction(write=True) as connection:
        connection.execute(statement, values)


def resealed(store, answer):
    with store.transaction(write=True) as connection:
        row = connection.execute(
            "SELECT context, device, batch_size, made FROM answers WHERE question = 'q0'"
        ).fetchone()
        connection.execute(
            "UPDATE answers SET answer = ?, checksum = ? WHERE question = 'q0'",
            (answer, answer_checksum(row[0], "q0", answer, *row[1:])),
        )


DAMAGE = {
    "an answer": (lambda s: change(s, "UPDATE answers SET answer = '1' WHERE question = 'q0'"), "answers [0-9a-f]{40}: its checksum"),
    "a device": (lambda s: change(s, "UPDATE answers SET device = 'cpu' WHERE question = 'q0'"), "answers .* checksum"),
    "a key": (lambda s: change(s, "UPDATE answers SET key = 'key' WHERE question = 'q0'"), "answers 6b6579: its key"),
    "a type": (lambda s: change(s, "UPDATE answers SET answer = 1.5, batch_size = 'x' WHERE question = 'q0'"), "answers .* checksum"),
    "no text": (lambda s: change(s, "UPDATE answers SET question = CAST(x'ff' AS TEXT) WHERE question = 'q0'"), "answers .* checksum"),
    "not a number": (lambda s: resealed(s, canonical(scores()).replace("-0.1", "NaN")), "answers .* not a number of at most 0"),
    "above 0": (lambda s: resealed(s, canonical(scores(0.5))), "answers .* not a number of at most 0"),
    "another record": (lambda s: resealed(s, "[]"), "answers .* not a record"),
    "a context": (lambda s: change(s, "UPDATE contexts SET context = replace(context, 'score', 'scorf')"), "contexts .* digest"),
    "a digest": (lambda s: change(s, "UPDATE contexts SET digest = 7 WHERE context LIKE '%score%'"), "contexts 37: its digest"),
    "an identity": (lambda s: change(s, "UPDATE identities SET identity = replace(identity, 'aa', 'ab')"), "identities 'big.*main': its checksum"),
    "an identity of no text": (lambda s: change(s, "UPDATE identities SET identity = x'ff'"), "identities .* checksum"),
    "a name": (lambda s: change(s, "UPDATE identities SET name = ?", "\x1b[2J"), r"identities '.x1b\[2J'.* checksum"),
    "a file": (lambda s: change(s, "UPDATE files SET digest = 'fe'"), "files .* checksum"),
    "versions": (lambda s: change(s, "UPDATE origins SET libraries = 'torch 3'"), "origins '[0-9A-F]{40} torch 3': its checksum"),
    "versions of no text": (lambda s: change(s, "UPDATE origins SET libraries = CAST(x'ff' AS TEXT)"), "origins .* checksum"),
    "a first time": (lambda s: change(s, "UPDATE origins SET first = 'x'"), "origins .* fields"),
    "a context of versions": (lambda s: change(s, "UPDATE origins SET context = 7"), "origins '37 torch 2.13.0': its fields"),
}  # fmt: skip


@pytest.mark.parametrize("where", DAMAGE)
def test_damage_in_any_table_is_found_named_and_repaired_and_nobody_crashes(full, monkeypatch, where):
    """Once only answers had checksums: the rest was "whole", and `store info` crashed."""
    monkeypatch.setenv("WORKBENCH_STORE", str(full.path))
    assert check_store(full) == []  # the twin
    damage, message = DAMAGE[where]
    damage(full)
    [found] = check_store(full)
    assert re.search(message, str(found)), str(found)
    info = CliRunner().invoke(app, ["store", "info"])
    assert (info.exit_code, "6 answers" in info.output) == (0, True)
    told = CliRunner().invoke(app, ["store", "check"])
    assert f"damaged {found}" in told.output
    assert isinstance(told.exception, StoreFailed)
    assert "`workbench store check --repair`" in str(told.exception)
    assert "1 entries removed" in CliRunner().invoke(app, ["store", "check", "--repair"]).output
    assert check_store(full) == []


def test_a_damaged_row_is_a_sentence_for_whoever_asks_for_it(full):
    change(full, "UPDATE identities SET identity = replace(identity, 'aa', 'ab')")
    change(full, "UPDATE files SET digest = 'fe'")
    resealed(full, "[" * 100_000)
    for use in (
        lambda: full.identity("bigscience/bloomz-560m@main"),
        full.identities,
        lambda: full.file_digest(full.path.parent, full.path.parent.stat()),
        lambda: full.get(NEW, ["q0"]),
    ):
        with pytest.raises(StoreFailed, match=r"damaged .*check --repair"):
            use()


def test_damaged_text_that_sqlite_quotes_does_not_break_the_line_nor_reach_the_terminal(full):
    change(full, "UPDATE answers SET question = CAST(x'610aff1b5b324a' AS TEXT)")
    with pytest.raises(StoreFailed, match=r"UTF-8.*; `workbench store check --repair`") as caught:
        full.get(NEW, ["q0"])
    assert str(caught.value).isprintable()


def test_an_answer_moved_under_another_models_key_is_damaged_there(full):
    """Its checksum covered all but the context, so that one model's answer passed for another's. Twin: in its own place."""
    other = context("bb", "score")
    change(full, "INSERT INTO contexts VALUES (?, ?)", digest_of(other), other)
    key = key_of(digest_of(other), "q1")
    change(full, "UPDATE answers SET key = ?, context = ? WHERE question = 'q1'", key, digest_of(other))
    with pytest.raises(StoreFailed, match=rf"the answer {key.hex()} .* damaged"):
        full.get(other, ["q1"])
    [found] = check_store(full)
    assert (found.key, found.reason) == (key, "its checksum does not match")
    key = key_of(digest_of(NEW), "q1")
    change(full, "UPDATE answers SET key = ?, context = ? WHERE question = 'q1'", key, digest_of(NEW))
    assert full.get(NEW, ["q1"])[0].value == scores(-1 / 3)


def test_a_store_with_damaged_settings_exports_no_part_of_itself(full, tmp_path):
    """Of damaged settings the answers were left out without a word, or the JSON reader raised."""
    assert export_pack(full, tmp_path / "pack").answers == 6  # the twin
    for damage in ("'{'", "x'c2'", "replace(context, 'score', 'scorf')"):
        change(full, f"UPDATE contexts SET context = {damage} WHERE context LIKE '%score%'")
        with pytest.raises(StoreFailed, match=r"the settings [0-9a-f]{40} .*check --repair"):
            export_pack(full, tmp_path / "pack")
        full.put(NEW, [], device="cpu")  # puts them right


def test_an_export_says_how_many_answers_it_left_out_and_why(full, tmp_path, monkeypatch):
    """Answers whose settings are lost were left out without a word."""
    assert export_pack(full, tmp_path / "pack").left_out == 0  # the twin
    change(full, "DELETE FROM contexts WHERE context LIKE '%score%'")
    monkeypatch.setenv("WORKBENCH_STORE", str(full.path))
    told = CliRunner().invoke(app, ["store", "export", str(tmp_path / "pack")])
    assert (told.exit_code, "1 answers, whole" in told.output) == (0, True)
    assert re.search("5 answers .* left out: .* settings are lost", " ".join(told.output.split()))
    full.put(NEW, [], device="cpu")  # gives them their settings back
    info = export_pack(full, tmp_path / "pack")
    assert (info.answers, info.left_out) == (6, 0)
    change(full, "DELETE FROM contexts")
    with pytest.raises(UnknownName, match="the settings of 6 answers are lost"):
        export_pack(full, tmp_path / "pack")


def test_an_answer_under_a_damaged_key_is_missing_and_a_check_finds_it(full):
    """Nothing leads from a question to such a row; what is computed again stands beside it until the repair."""
    change(full, "UPDATE answers SET key = x'00' WHERE question = 'q0'")
    assert [answer and answer.value for answer in full.get(NEW, ["q0", "q1"])] == [None, scores(-1 / 3)]
    full.put(NEW, [("q0", scores(-2))], device="cuda")
    assert full.get(NEW, ["q0"])[0].value == scores(-2)
    [damage] = check_store(full, repair=True)
    assert (damage.key, damage.reason, check_store(full)) == (b"\0", "its key does not match", [])
    assert full.get(NEW, ["q0"])[0].value == scores(-2)


def test_an_identity_under_a_name_of_no_text_is_damaged(full):
    change(full, "UPDATE identities SET name = x'00'")
    with pytest.raises(StoreFailed, match=r"damaged .*check --repair"):
        full.identities()


def test_an_identity_of_another_version_is_not_known_and_not_damaged(full):
    full.remember_identity("m", {"name": "m", "weights": "aa"})
    assert (full.identity("m"), list(full.identities())) == (None, ["bigscience/bloomz-560m@main"])
    assert check_store(full) == []


def test_answers_whose_settings_are_lost_are_found_and_get_them_back(full):
    change(full, "UPDATE contexts SET context = 'x'")
    assert full.get(NEW, ["q1"])[0].value == scores(-1 / 3)
    full.put(NEW, [("new", scores())], device="cpu")
    with pytest.raises(StoreFailed, match=r"the settings [0-9a-f]{40} .*check --repair"):
        full.contexts()
    check_store(full, repair=True)
    assert NEW in full.contexts()
    name = "bigscience/bloomz-560m@main float32"
    assert full.info()["by_kind"] == {f"score {name}": 6, "unknown settings": 1}


def test_superseded_answers_are_counted_apart_kept_and_pruned(full, monkeypatch):
    full.put(canonical({**json.loads(NEW), "algorithm": 0}), [("q", scores())], device="cpu")
    today = {"e": {"score": 1, "states": 1}}
    info = full.info(today)
    assert info["by_kind"] == {"score bigscience/bloomz-560m@main float32": 5}
    assert info["superseded"] == {
        "score bigscience/bloomz-560m@main float32": 1,
        "states bigscience/bloomz-560m@main float32": 1,
    }
    assert (full.info()["superseded"], info["answers"]) == ({}, 7)  # the twin
    assert (full.prune(today), full.prune(today)) == (2, 0)
    assert (full.info(today)["answers"], full.info(today)["superseded"], check_store(full)) == (5, {}, [])


def test_info_shows_the_versions_that_answered_where_there_are_several(full, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(full.path))
    assert full.info()["libraries"] == {}  # the twin
    superseded = canonical({**json.loads(NEW), "algorithm": 0})
    full.put(superseded, [("q", scores())], device="cpu", libraries="torch 1.0.0")
    for libraries in ("torch 2.14.0", "torch 2.13.0"):
        full.put(NEW, [("late", scores())], device="cpu", libraries=libraries)
    name, versions = "bigscience/bloomz-560m@main float32", ["torch 2.13.0", "torch 2.14.0"]
    today = {"e": {"score": 1, "states": 1}}
    assert full.info(today)["libraries"] == {name: versions}
    assert full.info()["libraries"] == {name: [*versions[:1], "torch 1.0.0", *versions[1:]]}
    told = CliRunner().invoke(app, ["store", "info"]).output
    assert "with 3 sets of versions: torch 2.13.0; torch 1.0.0; torch 2.14.0" in " ".join(told.split())
    full.prune(today)
    assert full.info()["libraries"] == {name: versions}
    assert [libraries for _, libraries, *_ in full.rows("origins", [NEW, superseded])] == versions


def test_info_counts_the_log(full):
    assert full.info()["bytes"] == full.path.stat().st_size + log_of(full.path).stat().st_size
    assert log_of(full.path).stat().st_size > 0


def test_the_log_shrinks_once_a_reader_that_held_it_is_gone(full):
    """SQLite can reuse no part of the log that a reader may need; what grew meanwhile once stayed."""
    reader = sqlite3.connect(full.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM answers").fetchone()
    for turn in range(3):
        many = [(f"{turn} {n}", {**scores(), "tokens": ["y" * 2000]}) for n in range(1500)]
        full.put(NEW, many, device="cpu")
    assert log_of(full.path).stat().st_size > 8_000_000
    reader.close()
    full.checkpoint()
    full.put(NEW, [("one more", scores())], device="cpu")
    assert log_of(full.path).stat().st_size <= 4 << 20


def look_up(store):
    return store.get(NEW, [f"q{n}" for n in range(5)])


@pytest.mark.parametrize("turns", [25, pytest.param(1000, marks=pytest.mark.soak)])
def test_one_flipped_bit_in_a_store_is_one_sentence_or_changes_nothing(full, tmp_path, turns):
    expected = [answer.value for answer in look_up(full)]
    full.close()
    good, dice, seen = full.path.read_bytes(), random.Random(1), 0
    used = [place for place, byte in enumerate(good) if byte]  # a small store is mostly empty pages
    for turn in range(turns):
        raw = bytearray(good)
        raw[dice.choice(used) if turn % 2 else dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        bad = tmp_path / f"{turn}.sqlite"
        bad.write_bytes(raw)
        for use in (look_up, Store.info, check_store, Store.identities, Store.contexts):
            try:
                found = use(Store(bad))
            except StoreFailed:
                seen += 1
                continue
            if use is look_up:
                values = [answer and answer.value for answer in found]
                assert all(value in (wanted, None) for value, wanted in zip(values, expected, strict=True))
                assert None not in values or is_damaged(Store(bad))  # a damaged key is found by a check alone
    assert seen > 0


def is_damaged(store):
    try:
        return bool(check_store(store))
    except StoreFailed:
        return True
