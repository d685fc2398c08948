"""Answers travel in one file: whole, checked before they are taken in, and found without weights."""

import io
import json
import random
import sqlite3
import zipfile
from dataclasses import fields
from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from workbench.cli import app
from workbench.errors import BadInput, StoreFailed, UnknownName
from workbench.models.engines import Capability
from workbench.models.identity import Identity
from workbench.models.requests import Decoded, Lens, TokenScores
from workbench.store import Store, canonical
from workbench.store.checking import ANSWERS, check_store
from workbench.store.export import export_pack
from workbench.store.file import log_of
from workbench.store.identities import IDENTITY, OF_FILES
from workbench.store.keys import answer_checksum, checksum_of, digest_of, origin
from workbench.store.packs import check_pack, import_pack
from workbench.store.validation import KINDS

REST = {
    "folder": None, "commit": None, "tokenizer": "tt", "architecture": "bloom", "is_encoder_decoder": False,
    "context_length": 2048, "source": "hub",
}  # fmt: skip
HERE = {"name": "bloomz-560m", "hub_id": "bigscience/bloomz-560m", "weights": "aa", **REST}
OTHER = {"name": "mini-mt0", "hub_id": None, "weights": "bb", **REST}


def context(weights, kind="score"):
    return canonical(
        {"kind": kind, "weights": weights, "tokenizer": "tt", "dtype": "float32", "leading_space": True}
    )


def scores(logprob=-0.1):
    return {"tokens": ["yes"], "logprobs": [logprob], "truncated": False}


def array(numbers=(1.0, 2.0)):
    file = io.BytesIO()
    np.save(file, np.array([numbers], np.float32))
    return file.getvalue()


@pytest.fixture
def full(tmp_path):
    """A store with two models, texts and arrays, two kinds of device."""
    store = Store(tmp_path / "full.sqlite")
    store.remember_identity("bigscience/bloomz-560m@main", HERE)
    store.remember_identity("/some/folder", OTHER)
    store.put(context("aa"), [(f"q{n}", scores(-n / 3)) for n in range(5)], device="cuda", batch_size=8)
    store.put(context("aa"), [("late", scores())], device="cpu")
    store.put(context("aa", "states"), [("q", array())], device="cuda")
    text = {"text": "é", "token_count": 1, "finished": True}
    store.put(context("bb", "generate"), [("q0", text)], device="cpu")
    return store


def answers(store):
    return [(c, store.entries(c)) for c in store.contexts()]


def test_a_pack_brings_every_answer_with_its_device_and_its_names(full, tmp_path):
    info = export_pack(full, tmp_path / "all.pack")
    empty = Store(tmp_path / "empty.sqlite")
    taken = import_pack(empty, tmp_path / "all.pack")
    assert (info.answers, taken.answers, taken.new, taken.kept_names) == (8, 8, 8, ())
    assert answers(empty) == answers(full)
    assert empty.identities() == {"bigscience/bloomz-560m@main": HERE, "mini-mt0": OTHER}
    assert check_store(empty) == []
    assert import_pack(empty, tmp_path / "all.pack").new == 0


@pytest.mark.parametrize("name", ["bloomz-560m", "bigscience/bloomz-560m", "aa"])
def test_only_the_models_asked_for_travel(full, tmp_path, name):
    info = export_pack(full, tmp_path / "one.pack", models=[name])
    assert (info.models, info.answers) == (("bigscience/bloomz-560m@main",), 7)
    assert "float32" in info.settings[0]
    assert "leading_space=true" in info.settings[0]


@pytest.mark.parametrize(
    ("file", "facts"),
    [
        ("run.json", {"facts": {"models": {"m": {"weights_digest": "bb"}}}}),
        ("evaluation.json", {"models": {"m": {"weights_digest": "bb"}}}),
    ],
)
def test_the_models_of_a_run_or_an_evaluation_travel(full, tmp_path, file, facts):
    (tmp_path / file).write_text(json.dumps(facts))
    assert export_pack(full, tmp_path / "run.pack", runs=[tmp_path]).models == ("mini-mt0",)


def test_what_is_not_there_lists_what_is(full, tmp_path):
    with pytest.raises(UnknownName, match=r"'mt0-xl'; it has those of: mini-mt0, bloomz-560m"):
        export_pack(full, tmp_path / "p", models=["mt0-xl"])
    with pytest.raises(UnknownName, match="no such answers"):
        export_pack(Store(tmp_path / "empty.sqlite"), tmp_path / "p")
    with pytest.raises(BadInput, match="is not a run"):
        export_pack(full, tmp_path / "p", runs=[tmp_path])
    assert not (tmp_path / "p").exists()


def test_a_name_without_answers_is_not_among_those_that_have_some(full, tmp_path):
    """`--model mini-mt5`, loaded once and never asked, was told: it has those of mini-mt5."""
    full.remember_identity("/models/mini-mt5", {**OTHER, "name": "mini-mt5", "weights": "cc"})
    with pytest.raises(
        UnknownName, match=r"no answers of 'mini-mt5'; it has those of: mini-mt0, bloomz-560m$"
    ):
        export_pack(full, tmp_path / "p", models=["mini-mt5"])
    full.put(context("cc"), [("q", scores())], device="cpu")  # the twin
    assert export_pack(full, tmp_path / "p", models=["mini-mt5"]).models == ("mini-mt5",)


def test_no_place_on_this_machine_is_in_a_pack_or_in_the_count(full, tmp_path):
    """Two folders of one name are told apart by their weights; the same name asks for both."""
    full.remember_identity("/home/me/mini-mt0", {**OTHER, "name": "/home/me/mini-mt0", "weights": "dd"})
    full.put(
        context("dd", "generate"), [("q", {"text": "x", "token_count": 1, "finished": True})], device="cpu"
    )
    assert {"generate mini-mt0 float32", "generate mini-mt0 bb float32"} < full.info()["by_kind"].keys()
    info = export_pack(full, tmp_path / "p", models=["mini-mt0"])
    assert (info.models, info.answers) == (("mini-mt0", "mini-mt0 bb"), 2)
    assert b"/home" not in (tmp_path / "p").read_bytes()
    assert b"/home" in full.path.read_bytes() + log_of(full.path).read_bytes()  # the twin


def test_the_same_answers_give_the_same_bytes(full, tmp_path):
    for name in ("a", "b"):
        export_pack(full, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def resealed(pack, where="question = 'late'", **fields):
    """Change fields of an answer, its checksum being right."""
    for name, value in fields.items():
        pack.execute(f"UPDATE answers SET {name} = ? WHERE {where}", (value,))
    row = pack.execute(
        f"SELECT context, question, answer, device, batch_size, made FROM answers WHERE {where}"
    ).fetchone()
    pack.execute(f"UPDATE answers SET checksum = ? WHERE {where}", (answer_checksum(*row),))


def unnamed(pack, text):
    """Another context, under the right digest."""
    pack.execute("INSERT INTO contexts VALUES (?, ?)", (digest_of(text), text))


def remembered(pack, about):
    text = canonical(about)
    pack.execute("INSERT INTO identities VALUES ('m', ?, ?)", (text, checksum_of("m", text)))


HOSTILE = {
    "a trigger": (lambda p: p.execute("CREATE TRIGGER t AFTER INSERT ON answers BEGIN DELETE FROM contexts; END"), "has triggers"),
    "a view": (lambda p: p.execute("CREATE VIEW v AS SELECT randomblob(1000000000)"), "exactly the tables"),
    "a table": (lambda p: p.execute("CREATE TABLE t (x)"), "exactly the tables"),
    "a generated column": (lambda p: p.execute("ALTER TABLE files ADD COLUMN x AS (zeroblob(1000000000))"), "not those of a store"),
    "a column": (lambda p: p.execute("ALTER TABLE answers ADD COLUMN x"), "not those of a store"),
    "a newer format": (lambda p: p.execute("PRAGMA user_version = 99"), "has format 99, .* reads up to 2; update"),
    "another database": (lambda p: p.execute("PRAGMA application_id = 1"), "not a store"),
    "a changed answer": (lambda p: p.execute("UPDATE answers SET answer = 1 WHERE question = 'late'"), "checksum"),
    "a changed device": (lambda p: p.execute("UPDATE answers SET device = 'cuda'"), "checksum"),
    "another question's key": (lambda p: resealed(p, key=b"x" * 20), "key does not match"),
    "text as key": (lambda p: resealed(p, key="x"), "key does not match"),
    "no context": (lambda p: p.execute("DELETE FROM contexts"), "settings are missing"),
    "another record": (lambda p: resealed(p, answer='{"foo":1}'), "not a record of tokens"),
    "no JSON": (lambda p: resealed(p, answer="{"), "damaged"),
    "deep JSON": (lambda p: resealed(p, answer="[" * 100_000), "too deeply"),
    "not a number": (lambda p: resealed(p, answer=canonical(scores()).replace("-0.1", "NaN")), "not a number of at most 0"),
    "a sure loss": (lambda p: resealed(p, answer=canonical(scores(0.5))), "not a number of at most 0"),
    "an empty array": (lambda p: resealed(p, answer=canonical({"tokens": [], "logprobs": [], "truncated": False})), "it has no tokens"),
    "a text for an array": (lambda p: resealed(p, "question = 'q'", answer="x"), "damaged"),
    "a state that is none": (lambda p: resealed(p, "question = 'q'", answer=array([1.0, np.nan])), "is not finite"),
    "half an array": (lambda p: resealed(p, "question = 'q'", answer=array()[:-2]), "not a float32 or float16 array"),
    "a pickle": (lambda p: resealed(p, "question = 'q'", answer=b"\x80\x04N."), "not an array"),
    "a device of escapes": (lambda p: resealed(p, device="\x1b[2J"), "not the name of a device family"),
    "settings that are none": (lambda p: unnamed(p, '"nope"'), "not a JSON object"),
    "settings of no kind": (lambda p: unnamed(p, canonical({**json.loads(context("aa")), "kind": "x"})), "its kind is 'x', not one of"),
    "settings in another form": (lambda p: unnamed(p, context("aa") + " "), "canonical form"),
    "a model with one field more": (lambda p: remembered(p, {**HERE, "more": 1}), "fields are not those of a model"),
    "a model with a wrong field": (lambda p: remembered(p, {**HERE, "weights": 1}), "fields are not those of a model"),
    "a file's digest": (lambda p: p.execute("INSERT INTO files VALUES ('f', '1', 'd', 0)"), "checksum"),
    "versions under another sum": (lambda p: p.execute("INSERT INTO origins SELECT digest, 'torch 1', 1.0, 0 FROM contexts"), "origins .* checksum"),
    "versions of nothing": (lambda p: p.execute("INSERT INTO origins VALUES (?, ?, ?, ?)", origin(b"x", "torch 1", 1.0)), "settings are missing"),
    "text that is none": (lambda p: p.execute("UPDATE answers SET question = CAST(x'ff' AS TEXT) WHERE question = 'late'"), "checksum"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_changed_newer_or_hostile_pack_is_refused_in_a_sentence_and_nothing_is_taken_in(
    full, tmp_path, name
):
    change, message = HOSTILE[name]
    bad = tmp_path / "bad"
    export_pack(full, bad)
    pack = sqlite3.connect(bad, isolation_level=None)
    change(pack)
    pack.close()
    empty = Store(tmp_path / "empty.sqlite")
    for use in (check_pack, lambda path: import_pack(empty, path)):
        with pytest.raises(BadInput, match=message) as caught:
            use(bad)
        assert "\x1b" not in str(caught.value)
    assert (empty.contexts(), empty.info()["answers"], empty.identities()) == ([], 0, {})


def test_a_pack_carries_the_versions_that_answered_and_the_earlier_time_stays(full, tmp_path):
    one, other = full.contexts()[:2]
    full.put(one, full_entries(full, one), device="cpu", libraries="torch 2.13.0")
    full.put(other, full_entries(full, other), device="cpu", libraries="torch 2.14.0")
    export_pack(full, tmp_path / "pack")
    late = Store(tmp_path / "late.sqlite")
    late.put(one, full_entries(full, one), device="cpu", libraries="torch 2.13.0")
    late.put(one, full_entries(full, one), device="cpu", libraries="torch 1.0.0")
    [added] = [row for row in late.rows("origins", [one]) if row[1] == "torch 1.0.0"]
    import_pack(late, tmp_path / "pack")
    assert sorted(late.rows("origins", [one, other])) == sorted([*full.rows("origins", [one, other]), added])


def full_entries(store, context):
    return [(question, value) for question, value, *_ in store.entries(context)]


def test_a_resealed_pack_that_says_what_is_possible_is_taken_in(full, tmp_path):
    """The twin: sealing anew alone breaks nothing."""
    export_pack(full, tmp_path / "good")
    pack = sqlite3.connect(tmp_path / "good", isolation_level=None)
    resealed(pack, answer=canonical(scores(-0.5)))
    pack.close()
    assert import_pack(Store(tmp_path / "empty.sqlite"), tmp_path / "good").new == 8


def test_a_pack_whose_tables_share_pages_is_refused_before_they_are_read(full, tmp_path):
    """Pages that are read many times make a small file answer with gigabytes."""
    export_pack(full, tmp_path / "bad")
    pack = sqlite3.connect(tmp_path / "bad", isolation_level=None)
    pack.execute("PRAGMA writable_schema = ON")
    pages = dict(pack.execute("SELECT name, rootpage FROM sqlite_master"))
    pack.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = 'files'", (pages["identities"],))
    pack.close()
    with pytest.raises(BadInput, match=r"not a complete answer pack .*2nd reference"):
        check_pack(tmp_path / "bad")


@pytest.mark.parametrize("turns", [30, pytest.param(1000, marks=pytest.mark.soak)])
def test_one_flipped_bit_in_a_pack_is_one_sentence_or_changes_nothing(full, tmp_path, turns):
    export_pack(full, tmp_path / "good")
    good, dice = (tmp_path / "good").read_bytes(), random.Random(0)
    expected, refused = answers(full), 0
    for turn in range(turns):
        raw = bytearray(good)
        raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        (tmp_path / "bad").write_bytes(raw)
        store = Store(tmp_path / f"{turn}.sqlite")
        try:
            import_pack(store, tmp_path / "bad")
        except BadInput:
            refused += 1
            assert store.contexts() == []
        else:
            assert answers(store) == expected
    assert refused > turns / 20


def test_half_a_pack_and_no_pack_are_refused(full, tmp_path):
    export_pack(full, tmp_path / "good")
    (tmp_path / "half").write_bytes((tmp_path / "good").read_bytes()[:-5000])
    with pytest.raises(BadInput, match="not a complete answer pack"):
        check_pack(tmp_path / "half")
    with zipfile.ZipFile(tmp_path / "old", "w") as archive:
        archive.writestr("pack.json", "{}")
    with pytest.raises(BadInput, match=r"not a complete answer pack .*before version 0\.2"):
        check_pack(tmp_path / "old")
    with pytest.raises(BadInput, match="no pack at"):
        check_pack(tmp_path / "nowhere")


def test_a_name_that_means_other_weights_here_keeps_its_meaning(full, tmp_path):
    export_pack(full, tmp_path / "p", models=["bloomz-560m"])
    here = Store(tmp_path / "here.sqlite")
    here.remember_identity("bigscience/bloomz-560m@main", {**HERE, "weights": "newer"})
    taken = import_pack(here, tmp_path / "p")
    assert taken.kept_names == ("bigscience/bloomz-560m@main",)
    assert here.identity("bigscience/bloomz-560m@main")["weights"] == "newer"
    assert taken.new == 7


def test_packs_travel_by_command(full, tmp_path, monkeypatch):
    pack = str(tmp_path / "a.pack")
    monkeypatch.setenv("WORKBENCH_STORE", str(full.path))
    told = CliRunner().invoke(app, ["store", "export", pack, "--model", "bloomz-560m"])
    assert (told.exit_code, "7 answers" in told.output) == (0, True)
    assert told.output.endswith("leading_space=true\n"), "settings were cut at the table's edge"
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "empty.sqlite"))
    assert "7 answers, whole" in CliRunner().invoke(app, ["store", "check", pack]).output
    assert "7 new answers of 7" in CliRunner().invoke(app, ["store", "import", pack]).output
    (tmp_path / "bad.pack").write_bytes(b"no pack")
    assert isinstance(
        CliRunner().invoke(app, ["store", "import", str(tmp_path / "bad.pack")]).exception, BadInput
    )


def test_a_pack_is_a_store_that_answers_where_nothing_can_be_written(full, tmp_path):
    export_pack(full, tmp_path / "p")
    (tmp_path / "p").chmod(0o444)
    assert answers(Store(tmp_path / "p")) == answers(full)


def test_another_store_is_taken_in_like_a_pack_also_while_it_is_written(full, tmp_path):
    """Nodes of a cluster write a file each."""
    mine = Store(tmp_path / "mine.sqlite")
    mine.put(context("aa"), [("q0", scores(-9.0))], device="cpu")
    taken = import_pack(mine, full.path)
    assert (taken.answers, taken.new) == (8, 8)  # of q0 there are two, by two families of devices
    assert mine.get(context("aa"), ["q0"])[0].value == scores(-9.0)
    assert mine.get(context("aa"), ["q0"], device="cuda")[0].value == scores(0.0)
    assert "/some/folder" not in mine.identities()
    assert check_store(mine) == []
    full.put(context("aa"), [("later", scores())], device="cpu")
    assert import_pack(mine, full.path).new == 1


def test_a_second_answer_comes_out_of_a_pack_as_a_second_answer(full, tmp_path):
    full.put(context("aa"), [("q0", scores(-9.0))], device="cpu")
    export_pack(full, tmp_path / "p")
    store = Store(tmp_path / "empty.sqlite")
    assert import_pack(store, tmp_path / "p").new == 9
    assert store.get(context("aa"), ["q0"])[0].device == "cuda"
    assert store.get(context("aa"), ["q0"], device="cpu")[0].value == scores(-9.0)
    assert import_pack(store, tmp_path / "p").new == 0


def test_an_import_that_does_not_fit_leaves_nothing(full, tmp_path):
    export_pack(full, tmp_path / "p")
    small = Store(tmp_path / "small.sqlite")
    small.contexts()
    connection = small._file._connected()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    full.put(context("aa"), [(f"more {n}", scores()) for n in range(500)], device="cpu")
    export_pack(full, tmp_path / "p")
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreFailed, match="free some space"):
        import_pack(small, tmp_path / "p")
    assert (small.contexts(), small.info()["answers"]) == ([], 0)


def test_a_damaged_entry_is_not_exported(full, tmp_path):
    full._file._connected().execute("UPDATE answers SET device = 'mps' WHERE question = 'late'")
    with pytest.raises(StoreFailed, match=r"damaged .*store check --repair"):
        export_pack(full, tmp_path / "p")
    assert list(tmp_path.glob("*p")) == []


def test_the_forms_are_those_of_the_engines_records():
    """Who adds a field to a record, or a kind of answer, has to say here what it may hold."""
    assert {field.name for field in fields(Identity)} - {"states", "file"} == {*IDENTITY, *OF_FILES}
    for kind, record, value in (
        ("generate", Decoded, {"text": "", "token_count": 0, "finished": False}),
        ("score", TokenScores, scores()),
    ):
        ANSWERS[kind](value)
        assert {field.name for field in fields(record)} == set(value)
    reading = {
        "logprobs": [[-1.0]],
        "entropies": [0.5],
        "kl": [0.0],
        "top": [[["a", -1.0]]],
        "tokens": ["a"],
        "words": [[0]],
    }
    ANSWERS["lens"](reading)
    assert {field.name for field in fields(Lens)} == set(reading)
    ANSWERS["states"](array())
    assert (
        set(ANSWERS) == set(KINDS) == set(get_args(Capability)) - {"intervene"}
    )  # changes answers, gives none
