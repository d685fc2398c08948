"""Answers travel in one file: whole, checked before they are taken in, and found without weights."""

import json
import zipfile
from hashlib import sha256

import pytest
from typer.testing import CliRunner

from workbench.cli import app
from workbench.errors import BadInput, UnknownName
from workbench.store import Store, canonical
from workbench.store.packs import check_pack, export_pack, import_pack

HERE = {"name": "bloomz-560m", "hub_id": "bigscience/bloomz-560m", "weights": "aa", "tokenizer": "tt"}
OTHER = {"name": "mini-mt0", "hub_id": None, "weights": "bb", "tokenizer": "tt"}


def context(weights, kind="score"):
    return canonical(
        {"kind": kind, "weights": weights, "tokenizer": "tt", "dtype": "float32", "leading_space": True}
    )


@pytest.fixture
def full(tmp_path):
    """A store with two models, texts and arrays, two kinds of device."""
    store = Store(tmp_path / "full.sqlite")
    store.remember_identity("bigscience/bloomz-560m@main", HERE)
    store.remember_identity("/some/folder", OTHER)
    store.put(
        context("aa"), [(f"q{n}", {"logprobs": [-n / 3]}) for n in range(5)], device="cuda", batch_size=8
    )
    store.put(context("aa"), [("late", {"logprobs": [-0.1]})], device="cpu")
    store.put(context("aa", "states"), [("q", b"\x93NUMPY bytes")], device="cuda")
    store.put(context("bb"), [("q0", "é")], device="cpu")
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
    assert empty.check() == []
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
    with pytest.raises(BadInput, match="is no run"):
        export_pack(full, tmp_path / "p", runs=[tmp_path])
    assert not (tmp_path / "p").exists()


def test_a_name_without_answers_is_not_among_those_that_have_some(full, tmp_path):
    """`--model mini-mt5`, loaded once and never asked, was told: it has those of mini-mt5."""
    full.remember_identity("/models/mini-mt5", {**OTHER, "name": "mini-mt5", "weights": "cc"})
    with pytest.raises(
        UnknownName, match=r"no answers of 'mini-mt5'; it has those of: mini-mt0, bloomz-560m$"
    ):
        export_pack(full, tmp_path / "p", models=["mini-mt5"])
    full.put(context("cc"), [("q", "x")], device="cpu")  # the twin
    assert export_pack(full, tmp_path / "p", models=["mini-mt5"]).models == ("mini-mt5",)


def test_no_place_on_this_machine_is_in_a_pack_or_in_the_count(full, tmp_path):
    """Two folders of one name are told apart by their weights; the same name asks for both."""
    full.remember_identity("/home/me/mini-mt0", {**OTHER, "name": "/home/me/mini-mt0", "weights": "dd"})
    full.put(context("dd"), [("q", "x")], device="cpu")
    assert {"score mini-mt0 float32", "score mini-mt0 bb float32"} < full.info()["by_kind"].keys()
    info = export_pack(full, tmp_path / "p", models=["mini-mt0"])
    assert (info.models, info.answers) == (("mini-mt0", "mini-mt0 bb"), 2)
    with zipfile.ZipFile(tmp_path / "p") as archive:
        assert b"/home" not in b"".join(archive.read(name) for name in archive.namelist())


def test_the_same_answers_give_the_same_bytes(full, tmp_path):
    for name in ("a", "b"):
        export_pack(full, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def repack(source, target, change):
    """The pack with its two members changed, the checksum of the archive itself being right."""
    with zipfile.ZipFile(source) as archive:
        header, body = json.loads(archive.read("pack.json")), archive.read("answers.jsonl")
    header, body = change(header, body)
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("pack.json", json.dumps(header))
        archive.writestr("answers.jsonl", body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, b: (h, b.replace(b"-0.1", b"-0.2")), "checksum differs"),
        (lambda h, b: ({**h, "format": 2}, b), "has format 2, this workbench reads up to 1; update"),
        (lambda h, b: ({**h, "kind": "other"}, b), "no answer pack"),
        (lambda h, b: ([], b), "no answer pack"),
        (lambda h, b: ({**h, "contexts": h["contexts"][:1]}, b), "incomplete"),
        (lambda h, b: ({**h, "sha256": sha256(b"{}\n").hexdigest()}, b"{}\n"), "answer 1 .* incomplete"),
    ],
)
def test_a_changed_or_newer_pack_is_refused_and_nothing_is_taken_in(full, tmp_path, change, message):
    export_pack(full, tmp_path / "good")
    repack(tmp_path / "good", tmp_path / "bad", change)
    empty = Store(tmp_path / "empty.sqlite")
    with pytest.raises(BadInput, match=message):
        import_pack(empty, tmp_path / "bad")
    assert empty.contexts() == []
    repack(
        tmp_path / "good", tmp_path / "same", lambda h, b: (h, b)
    )  # the twin: repacking alone breaks nothing
    assert import_pack(empty, tmp_path / "same").new == 8


def test_half_a_pack_and_no_pack_are_refused(full, tmp_path):
    export_pack(full, tmp_path / "good")
    (tmp_path / "half").write_bytes((tmp_path / "good").read_bytes()[:-40])
    with pytest.raises(BadInput, match="no whole answer pack"):
        check_pack(tmp_path / "half")
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
