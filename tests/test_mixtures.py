"""Laws of mixtures: the published format, and draws that depend on nothing but seed and step."""

import gzip
import json
import resource
import signal
from collections import Counter

import fsspec
import pytest

from workbench.errors import BadInput, NotReachable, StoreFailed, UnknownName
from workbench.training import mixtures
from workbench.training.mixtures import Pair
from workbench.training.mixtures.drawing import DECK, deal, shuffled
from workbench.training.mixtures.files import find_files

SIZES = {"en": (6, 4), "fr": (5,), "zh": (3,)}


def pairs(language, file, count):
    return [
        Pair(f"{language} {file} question {number}\nnaïve 你好?", f"answer {number}")
        for number in range(count)
    ]


@pytest.fixture
def folder(tmp_path):
    """A mixture in xP3's layout: names as promptsource's, one with signs that patterns know."""
    for language, sizes in SIZES.items():
        for file, count in enumerate(sizes):
            name = mixtures.file_name("GEM/wiki_lingua", language, "train", f"can you [tell] me {file}?")
            mixtures.write(tmp_path / "data", language, name, pairs(language, file, count))
    return tmp_path / "data"


def every_pair():
    return {
        p
        for language, sizes in SIZES.items()
        for file, n in enumerate(sizes)
        for p in pairs(language, file, n)
    }


@pytest.fixture(params=["local", "streamed"])
def read(request, folder):
    """Both readers, on the same folder."""
    found = {"local": mixtures.read, "streamed": mixtures.read_streamed}[request.param]
    return lambda **options: found(str(folder), **options)


def test_files_lie_where_xp3_has_them(folder):
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jsonl"))[0] == (
        "en/xp3_GEM_wiki_lingua_en_train_can_you_[tell]_me_0?.jsonl"
    )
    assert (
        mixtures.file_name("amazon_polarity", None, "train", "x") == "xp3_amazon_polarity_None_train_x.jsonl"
    )


def test_what_is_written_is_read_again_and_the_same_bytes_come_twice(folder, tmp_path):
    path = next((folder / "zh").iterdir())
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert [Pair(**row) for row in rows] == pairs("zh", 0, 3)
    again = mixtures.write(tmp_path / "again", "zh", path.name, pairs("zh", 0, 3))
    assert again.read_bytes() == path.read_bytes()
    assert "你好" in path.read_text(encoding="utf-8")


def test_one_round_draws_every_line_once_and_the_next_in_another_order(read):
    pool = read(weights=None, languages=["en"])
    first, second = ([pool.draw(step, 1)[0] for step in range(start, start + 10)] for start in (0, 10))
    assert set(first) == set(second) == {p for p in every_pair() if p.inputs.startswith("en")}
    assert len(set(first)) == 10
    assert first != second


def test_a_step_draws_the_same_whatever_was_drawn_before(read):
    one, other = read(seed=3), read(seed=3)
    forward = [one.draw(step, 4) for step in range(6)]
    assert [other.draw(step, 4) for step in (5, 0, 3)] == [forward[step] for step in (5, 0, 3)]
    assert one.draw(2, 4) == forward[2]
    assert [pair for step in range(3) for pair in other.draw(step, 8)] == [
        p for drawn in forward for p in drawn
    ]


def test_twin_another_seed_draws_otherwise(read):
    assert read(seed=3).draw(0, 12) != read(seed=4).draw(0, 12)
    assert read(seed=3).fingerprint() != read(seed=4).fingerprint()


def test_the_fingerprint_sees_contents_names_and_weights(folder):
    before = mixtures.read(str(folder)).fingerprint()
    assert mixtures.read(str(folder), weights={"en": 10, "fr": 5, "zh": 3}).fingerprint() == before
    assert mixtures.read(str(folder), weights={"en": 1, "fr": 1, "zh": 1}).fingerprint() != before
    path = next((folder / "zh").iterdir())
    path.write_text(path.read_text(encoding="utf-8").replace("question 0", "question 9"), encoding="utf-8")
    assert mixtures.read(str(folder)).fingerprint() != before


def test_languages_come_as_often_as_their_weights_say(folder):
    pool = mixtures.read(str(folder), weights={"en": 1, "fr": 2, "zh": 1})
    drawn = Counter(pair.inputs[:2] for pair in pool.draw(0, DECK))
    assert drawn == {"en": DECK // 4, "fr": DECK // 2, "zh": DECK // 4}
    by_lines = Counter(pair.inputs[:2] for pair in mixtures.read(str(folder)).draw(0, 1800))
    assert by_lines["en"] / 1800 == pytest.approx(10 / 18, abs=0.05)


def test_a_deck_is_full_and_forgets_no_language():
    shares = {"en": 0.9999, "st": 0.0000001, "tw": 0.0000999}
    assert sum(deal(shares).values()) == DECK
    assert min(deal(shares).values()) >= 1
    many = {f"l{number:03}": 1 / 300 for number in range(300)}
    assert sum(deal(many).values()) == DECK
    assert max(deal(many).values()) - min(deal(many).values()) <= 1


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 65, 1000])
def test_an_order_has_every_place_once(size):
    order = [shuffled(number, size, "a") for number in range(size)]
    assert sorted(order) == list(range(size))
    assert size < 10 or order != [shuffled(number, size, "b") for number in range(size)]


def test_languages_and_files_can_be_chosen(read):
    pool = read(languages=["en", "fr"], names="*_0?.jsonl")
    assert {pair.inputs[:4] for pair in pool.draw(0, 40)} == {"en 0", "fr 0"}


def test_a_merged_file_is_not_read_beside_its_parts(folder):
    mixtures.write(folder, "fr", "merged_fr.jsonl", pairs("fr", 0, 5))
    mixtures.write(folder, "sw", "merged_sw.jsonl", pairs("sw", 0, 2))
    found = find_files(str(folder))
    assert [file.name for file in found if file.language == "sw"] == ["merged_sw.jsonl"]
    assert all(not file.name.startswith("merged") for file in found if file.language == "fr")
    asked = find_files(str(folder), ["fr"], "merged_*")
    assert [file.name for file in asked] == ["merged_fr.jsonl"]


def test_another_file_system_is_listed_and_streamed_in_the_same_way(folder):
    system = fsspec.filesystem("memory")
    system.put(str(folder) + "/", "/mixture/", recursive=True)
    pool = mixtures.read_streamed("memory://mixture", seed=3)
    try:
        assert {pair for step in range(60) for pair in pool.draw(step, 1)} == every_pair()
    finally:
        system.rm("/mixture", recursive=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"inputs": "a"}', "lacks the key 'targets'"),
        ('{"inputs": "a", "targets": 1}', "'targets' is 1"),
        ('{"inputs": "a", "targets": " "}', "not empty"),
        ('{"inputs": "", "targets": "b"}', "'inputs' is ''"),
        ('{"inputs": "a", "targets": "b"', "not JSON"),
        ('["a", "b"]', "holds a list"),
        ("", "not JSON"),
        ('{"inputs": "a", "targets": "\\ud800"}', "surrogate"),
    ],
)
def test_a_broken_line_is_named_with_file_and_line(read, folder, line, message):
    path = next((folder / "zh").iterdir())
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([lines[0], line, *lines[2:]]), encoding="utf-8")
    pool = read()
    with pytest.raises(BadInput, match=rf"zh/.*line 2\b.*{message}"):
        pool.draw(0, 60)


GOOD = b'{"inputs": "a", "targets": "b"}\n'


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.jsonl", GOOD * 3 + b"\n \r\n\n", 3),  # blank lines at the end
        ("a.jsonl", b"\xef\xbb\xbf" + GOOD * 3, 3),
        ("A.JSONL", GOOD * 3, 3),
        ("a.jsonl", GOOD.replace(b"\n", b"\r\n") * 3, 3),
        ("a.jsonl", GOOD * 2 + GOOD.strip(), 3),
        ("a b*[c]?.jsonl", GOOD * 3, 3),
    ],
)
def test_files_are_read_as_other_programs_write_them(tmp_path, name, content, lines):
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / name).write_bytes(content)
    pool = mixtures.read(str(tmp_path))
    assert pool.source.sizes() == {"en": lines}
    assert pool.check() == lines
    for each in (pool, mixtures.read_streamed(str(tmp_path))):
        assert each.draw(0, 8) == [Pair("a", "b")] * 8


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", GOOD + b'{"inputs": ' + b"[" * 100_000, "line 2 is not JSON"),
        ("a.jsonl", GOOD + b'{"inputs": "\xff", "targets": "b"}', "line 2 is not JSON in UTF-8"),
        ("a.jsonl", GOOD + b"\n" + GOOD, "line 2 is not JSON"),
        ("a.jsonl", (GOOD * 2).decode().encode("utf-16"), "line 1 is not JSON in UTF-8"),
        ("a.jsonl", gzip.compress(GOOD, mtime=0), "line 1 is not JSON in UTF-8"),
        ("a.jsonl", b"\n\n", "empty"),
        ("b.jsonl.gz", gzip.compress(GOOD, mtime=0), "b.jsonl.gz is compressed.*decompress it to b.jsonl"),
        ("b.jsonl.ZST", b"(\xb5/\xfd", "b.jsonl.ZST is compressed"),
    ],
)
def test_what_is_damaged_or_packed_is_one_sentence_with_its_place(tmp_path, name, content, message):
    """Packed files beside others were passed over without a word, and a stream ended in a traceback."""
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / name).write_bytes(content)
    for reader in (mixtures.read, mixtures.read_streamed):
        with pytest.raises(BadInput, match=message):
            reader(str(tmp_path)).draw(0, 8)


def test_a_packed_file_beside_its_own_lines_or_in_another_language_is_no_obstacle(folder):
    path = next((folder / "fr").iterdir())
    (folder / "fr" / f"{path.name}.gz").write_bytes(b"")
    (folder / "zh" / "more.jsonl.gz").write_bytes(b"")
    assert {file.language for file in find_files(str(folder), iter(["fr", "en"]))} == {"en", "fr"}
    with pytest.raises(BadInput, match=r"more\.jsonl\.gz is compressed"):
        find_files(str(folder))


def test_linked_languages_are_read_and_hidden_ones_are_not(read, folder, tmp_path):
    """A link to a folder was left out without a word."""
    (folder / "zh").rename(tmp_path / "away")
    (folder / "zh").symlink_to(tmp_path / "away")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.jsonl").write_text("broken")
    pool = read()
    assert set(pool.source.sizes()) == set(SIZES)
    assert set(read(languages=["zh"]).draw(0, 3)) == set(pairs("zh", 0, 3))


def test_a_name_that_a_stream_would_take_apart_is_refused(folder):
    """`datasets` found no line in it; a language of nothing else was looked through for ever."""
    (folder / "fr" / "a :: b.jsonl").write_bytes(GOOD)
    assert len(mixtures.read(str(folder), languages=["fr"]).draw(0, 6)) == 6
    with pytest.raises(BadInput, match=r"a :: b\.jsonl cannot be streamed"):
        mixtures.read_streamed(str(folder))


def test_a_file_that_is_gone_is_one_sentence(folder):
    pool = mixtures.read(str(folder), languages=["fr"])
    pool.draw(0, 1)
    next((folder / "fr").iterdir()).unlink()
    with pytest.raises(BadInput, match=r"fr/.* cannot be read: .*No such file"):
        pool.draw(1, 1)


def test_a_check_reads_every_line_before_anything_is_drawn(folder):
    pool = mixtures.read(str(folder))
    assert pool.check() == 18
    with next((folder / "fr").iterdir()).open("ab") as file:
        file.write(b'{"inputs": "\xff"')
    with pytest.raises(BadInput, match=r"fr/.*line 6 is not JSON in UTF-8"):
        mixtures.read(str(folder)).check()


def test_twin_further_keys_and_a_missing_last_line_break_are_no_errors(folder):
    path = folder / "fr" / "more.jsonl"
    path.write_text('{"inputs": "a", "targets": "b", "language": "fra_Latn"}', encoding="utf-8")
    assert mixtures.read(str(folder), names="more*", languages=["fr"]).draw(0, 1) == [Pair("a", "b")]


def test_wrong_names_say_what_there_is(folder, tmp_path):
    with pytest.raises(UnknownName, match="en, fr, zh"):
        mixtures.read(str(folder), languages=["de"])
    with pytest.raises(UnknownName, match="en, fr, zh"):
        mixtures.read(str(folder), weights={"de": 1})
    with pytest.raises(BadInput, match="no weight for fr"):
        mixtures.read(str(folder), weights={"en": 1, "zh": 1})
    with pytest.raises(BadInput, match="above 0"):
        mixtures.read(str(folder), weights={"en": 1, "zh": 0, "fr": 1})
    with pytest.raises(BadInput, match="no file of en, fr, zh"):
        mixtures.read(str(folder), names="xnli*")
    with pytest.raises(BadInput, match="<language>"):
        mixtures.read(str(tmp_path / "data" / "en"))
    with pytest.raises(BadInput, match="neither a folder"):
        mixtures.read(str(tmp_path / "nowhere"))


def test_a_hub_that_cannot_be_asked_is_said_at_once(hub_cache):
    with pytest.raises(NotReachable, match="hf download bigscience/xP3 --repo-type dataset"):
        mixtures.read("bigscience/xP3")


def test_an_empty_file_and_an_empty_mixture_are_refused(folder):
    (folder / "fr" / "nothing.jsonl").touch()
    with pytest.raises(BadInput, match=r"nothing.jsonl is empty"):
        mixtures.read(str(folder))
    with pytest.raises(BadInput, match="no empty files"):
        mixtures.write(folder, "fr", "none.jsonl", [])
    with pytest.raises(BadInput, match=r"line 1.*not empty"):
        mixtures.write(folder, "fr", "none.jsonl", [Pair("a", "")])
    assert not (folder / "fr" / "none.jsonl").exists()
    assert not list((folder / "fr").glob(".none*"))


def test_a_language_of_empty_files_is_refused_before_a_stream_looks_for_its_first_line(folder):
    (folder / "tw").mkdir()
    (folder / "tw" / "nothing.jsonl").touch()
    weights = dict.fromkeys(["en", "fr", "zh", "tw"], 1.0)
    with pytest.raises(BadInput, match="all files of 'tw' are empty"):
        mixtures.read_streamed(str(folder), weights=weights)
    (folder / "zh" / "nothing.jsonl").touch()  # the twin: beside others an empty file is passed by
    pool = mixtures.read_streamed(str(folder), languages=["zh"])
    assert set(pool.draw(0, 3)) == set(pairs("zh", 0, 3))


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StoreFailed):
            mixtures.write(tmp_path, "en", "a.jsonl", (Pair("a" * 100, "b") for _ in range(1000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.rglob("*")] == ["en"]


def test_a_large_file_is_drawn_from_without_being_held(tmp_path):
    path = tmp_path / "en" / "large.jsonl"
    path.parent.mkdir()
    line = json.dumps({"inputs": "x" * 1000, "targets": "y"}) + "\n"
    with path.open("w") as file:
        for _ in range(100):
            file.write(line * 1000)  # 100 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pool = mixtures.read(str(tmp_path))
    assert len(pool.draw(7, 500)) == 500
    assert pool.source.sizes() == {"en": 100_000}
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ) / 1000 < 60  # MB: chunks and the index
