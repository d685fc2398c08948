"""The store never lies: whole or absent, damage is an error, and a key holds everything it was given."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from workbench.errors import StoreFailed
from workbench.store import Store, canonical

CONTEXT = canonical({"weights": "abc", "kind": "generate"})
WRITER = """
import sys
from workbench.store import Store, canonical
store, first = Store(sys.argv[1]), int(sys.argv[2])
for batch in range(first, first + 100000):
    store.put(sys.argv[3], [(canonical({"batch": batch, "row": row}), {"text": "x" * 50, "batch": batch}) for row in range(16)], device="cpu")
    print(batch, flush=True)
"""


def question(text):
    return canonical({"prompt": text})


@pytest.mark.parametrize(
    "value", [{"text": "Je t'aime 猫", "token_count": 3}, b"\x93NUMPY raw", [1.5, None], "", 0]
)
def test_what_is_put_comes_back(store, value):
    store.put(CONTEXT, [(question("a"), value)], device="cpu")
    assert store.get(CONTEXT, [question("a")])[0].value == value


def test_answers_come_in_the_order_asked_and_missing_ones_are_none(store):
    store.put(CONTEXT, [(question(str(n)), n) for n in range(2000)], device="cuda")
    found = store.get(CONTEXT, [question("7"), question("no"), question("1999"), question("7")])
    assert [answer and answer.value for answer in found] == [7, None, 1999, 7]
    assert found[0].device == "cuda"


def test_another_context_or_one_more_byte_is_a_miss(store):
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    assert store.get(canonical({"weights": "abd", "kind": "generate"}), [question("a")]) == [None]
    assert store.get(CONTEXT, [question("a ")]) == [None]
    assert store.get(CONTEXT, [question("a")])[0].value == 1


def test_the_first_answer_stays(store):
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    store.put(CONTEXT, [(question("a"), 2)], device="cpu")
    assert store.get(CONTEXT, [question("a")])[0].value == 1


def test_values_are_readable_by_any_sqlite_tool(store):
    store.put(CONTEXT, [(question("a"), {"text": "猫"})], device="cpu")
    rows = sqlite3.connect(store.path).execute("SELECT question, answer FROM answers").fetchall()
    assert rows == [('{"prompt":"a"}', '{"text":"猫"}')]


def test_a_damaged_entry_is_an_error_that_names_the_repair_and_the_repair_works(store):
    store.put(CONTEXT, [(question("a"), {"text": "yes"}), (question("b"), {"text": "yes"})], device="cpu")
    with sqlite3.connect(store.path) as connection:
        connection.execute(
            """UPDATE answers SET answer = '{"text":"no"}' WHERE question = '{"prompt":"a"}'"""
        )
    with pytest.raises(StoreFailed, match=r"damaged.*store check --repair"):
        store.get(CONTEXT, [question("a")])
    assert store.get(CONTEXT, [question("b")])[0].value == {"text": "yes"}
    assert len(store.check()) == 1
    assert len(store.check(repair=True)) == 1
    assert store.check() == []
    assert store.get(CONTEXT, [question("a")]) == [None]


def test_a_file_that_is_no_store_is_refused_and_left_as_it_was(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("these are my notes, not a database; " * 40)
    with pytest.raises(StoreFailed, match="not a database"):
        Store(text).get(CONTEXT, [question("a")])
    assert text.read_text().startswith("these are my notes")
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreFailed, match="not a store of the workbench"):
        Store(other).put(CONTEXT, [(question("a"), 1)], device="cpu")


def test_a_truncated_store_is_an_error_not_an_empty_store(store):
    store.put(CONTEXT, [(question(str(n)), "x" * 200) for n in range(500)], device="cpu")
    store.close()
    with open(store.path, "r+b") as file:
        file.truncate(store.path.stat().st_size // 2)
    with pytest.raises(StoreFailed, match=r"malformed|disk image|I/O"):
        Store(store.path).get(CONTEXT, [question(str(n)) for n in range(500)])


def test_a_newer_format_is_refused(store):
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreFailed, match="format 99"):
        Store(store.path).get(CONTEXT, [question("a")])


def test_a_full_database_keeps_what_was_committed(store):
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    pages = store._open().execute("PRAGMA page_count").fetchone()[0]
    store._open().execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreFailed, match=r"full.*free some space"):
        store.put(CONTEXT, [(question(str(n)), "x" * 500) for n in range(100)], device="cpu")
    assert store.get(CONTEXT, [question("a"), question("5")])[0].value == 1
    assert store.get(CONTEXT, [question("5")]) == [None]


def test_a_full_disk_keeps_what_was_committed(tmp_path):
    """The file-size limit of the process stands for the disk."""
    path = tmp_path / "store.sqlite"
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n" + WRITER
    )
    done = subprocess.run([sys.executable, "-c", code, path, "0", CONTEXT], capture_output=True, text=True)
    assert "StoreFailed" in done.stderr
    assert "free some space" in done.stderr
    written = [int(line) for line in done.stdout.split()]
    assert len(written) > 3
    assert_all_there(path, written)


@pytest.mark.skipif(os.name == "nt", reason="needs Unix permissions")
def test_a_read_only_store_can_be_read_and_says_so_when_written(tmp_path):
    """Root may write anywhere, so the writer gives up that right."""
    store = Store(tmp_path / "store.sqlite")
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    store.close()
    store.path.chmod(0o444)
    drop = (
        ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]
        if os.getuid() == 0
        else []
    )
    command = [*drop, sys.executable, "-c", WRITER, store.path, "0", CONTEXT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "readonly" in done.stderr
    assert "StoreFailed" in done.stderr
    assert "WORKBENCH_STORE" in done.stderr
    assert store.get(CONTEXT, [question("a")])[0].value == 1


READER = """
import sys
from workbench.store import Store, canonical
print(Store(sys.argv[1]).get(sys.argv[2], [canonical({"prompt": "a"})])[0].value)
"""


def test_a_store_in_a_read_only_folder_still_answers(tmp_path):
    folder = tmp_path / "given"
    store = Store(folder / "store.sqlite")
    store.put(CONTEXT, [(question("a"), 41)], device="cpu")
    store.close()
    store.path.chmod(0o444)
    folder.chmod(0o555)
    drop = (
        ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]
        if os.getuid() == 0
        else []
    )
    command = [*drop, sys.executable, "-c", READER, store.path, CONTEXT]
    done = subprocess.run(command, capture_output=True, text=True)
    folder.chmod(0o755)
    assert done.stdout == "41\n", done.stderr


def test_two_writers_share_one_store(tmp_path):
    path = tmp_path / "store.sqlite"
    writers = [start_writer(path, first) for first in (0, 1_000_000)]
    written = [int(writer.stdout.readline()) for _ in range(30) for writer in writers]
    for writer in writers:
        writer.kill()
        writer.wait()
    assert_all_there(path, written)


def test_many_may_make_a_store_at_once(tmp_path):
    """Without the one look and the turns taken in making it, eight at once fail in four rounds of five."""
    for turn in range(15):
        path, start = tmp_path / f"{turn}.sqlite", Barrier(8)

        def write(number, path=path, start=start):
            store = Store(path)
            start.wait()
            store.put(CONTEXT, [(question(str(number)), number)], device="cpu")
            store.close()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        found = Store(path).get(CONTEXT, [question(str(number)) for number in range(8)])
        assert [answer.value for answer in found] == list(range(8))


def test_killed_at_any_moment_nothing_committed_is_lost(tmp_path):
    kill_writers(tmp_path / "store.sqlite", rounds=5)


@pytest.mark.soak
def test_two_hundred_kills_lose_nothing(tmp_path):
    kill_writers(tmp_path / "store.sqlite", rounds=200)


def test_the_check_of_the_kill_test_can_fail(tmp_path):
    path = tmp_path / "store.sqlite"
    Store(path).put(CONTEXT, [(canonical({"batch": 0, "row": 0}), {"batch": 0})], device="cpu")
    with pytest.raises(AssertionError):
        assert_all_there(path, [0])


def start_writer(path, first):
    command = [sys.executable, "-c", WRITER, path, str(first), CONTEXT]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_writers(path, rounds):
    dice = random.Random(0)
    written = []
    for number in range(rounds):
        writer = start_writer(path, number * 1_000_000)
        written.append(int(writer.stdout.readline()))
        time.sleep(dice.random() * 0.1)
        writer.send_signal(signal.SIGKILL)
        written += [int(line) for line in writer.stdout.read().split("\n")[:-1] if line]
        writer.wait()
    assert_all_there(path, written)


def assert_all_there(path, batches):
    """Every batch that was reported is there with all 16 rows, and no batch is there in part."""
    store = Store(path)
    questions = [canonical({"batch": batch, "row": row}) for batch in batches for row in range(16)]
    assert None not in store.get(CONTEXT, questions)
    assert store.check() == []
    counts = sqlite3.connect(path).execute(
        "SELECT count(*) FROM answers GROUP BY json_extract(question, '$.batch')"
    )
    assert {count for (count,) in counts} == {16}
