"""The store never lies: whole or absent, damage is an error, and a key holds everything it was given."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from threading import Barrier

import pytest

from workbench.errors import StoreFailed
from workbench.store import Store, canonical, settle
from workbench.store.checking import check_store

ABOUT = {"kind": "generate", "weights": "abc", "tokenizer": "tt", "dtype": "float32", "algorithm": 1}
CONTEXT = canonical(ABOUT)
WRITER = """
import sys
from workbench.store import Store, canonical
store, first = Store(sys.argv[1]), int(sys.argv[2])
for batch in range(first, first + 100000):
    store.put(sys.argv[3], [(canonical({"batch": batch, "row": row}), {"text": "x" * 50, "token_count": batch, "finished": True}) for row in range(16)], device="cpu")
    print(batch, flush=True)
"""
MODEL = {
    "name": "m", "folder": None, "hub_id": None, "commit": None, "weights": "aa", "tokenizer": "tt",
    "architecture": "bloom", "is_encoder_decoder": False, "context_length": 2048, "source": "folder",
}  # fmt: skip


def question(text):
    return canonical({"prompt": text})


def said(text):
    return {"text": text, "token_count": 1, "finished": True}


@pytest.fixture
def as_reader():
    """Runs code in a process that may read a store's folder and not write it (root gives up its right to)."""
    folders = []

    def start(path, code, wait=True, folder_too=True):
        path.chmod(0o444)
        path.parent.chmod(0o555 if folder_too else 0o755)
        folders.append(path.parent)
        drop = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]
        command = [*(drop if os.getuid() == 0 else []), sys.executable, "-c"]
        begin = "import sys; from workbench.store import Store, canonical; store, context = Store(sys.argv[1]), sys.argv[2]\n"
        begin += "def question(text): return canonical({'prompt': text})\n"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*command, begin + code, path, CONTEXT], **pipes)
        if not wait:
            return process
        out, err = process.communicate()
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    yield start
    for folder in folders:
        folder.chmod(0o755)


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
    assert store.get(canonical({**ABOUT, "weights": "abd"}), [question("a")]) == [None]
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
    store.put(CONTEXT, [(question("a"), said("yes")), (question("b"), said("yes"))], device="cpu")
    with sqlite3.connect(store.path) as connection:
        connection.execute(
            """UPDATE answers SET answer = '{"text":"no"}' WHERE question = '{"prompt":"a"}'"""
        )
    with pytest.raises(StoreFailed, match=r"damaged.*store check --repair"):
        store.get(CONTEXT, [question("a")])
    assert store.get(CONTEXT, [question("b")])[0].value == said("yes")
    assert len(check_store(store)) == 1
    assert len(check_store(store, repair=True)) == 1
    assert check_store(store) == []
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
    pages = store._file._connected().execute("PRAGMA page_count").fetchone()[0]
    store._file._connected().execute(f"PRAGMA max_page_count = {pages + 2}")
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


@pytest.mark.parametrize("closed", [True, False], ids=["folder", "file"])
def test_a_read_only_store_can_be_read_and_says_so_when_written(tmp_path, as_reader, closed):
    """In a folder where nothing can be written, or as a file that alone cannot be written."""
    store = Store(tmp_path / "given/store.sqlite")
    store.put(CONTEXT, [(question("a"), 41)], device="cpu")
    store.close()
    code = "print(store.get(context, [question('a')])[0].value); store.put(context, [(question('b'), 1)], device='cpu')"
    done = as_reader(store.path, code, folder_too=closed)
    assert (done.stdout, done.returncode) == ("41\n", 1)
    assert "StoreFailed" in done.stderr
    assert "is read-only here; set WORKBENCH_STORE to a file of your own" in done.stderr


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
    Store(path).put(CONTEXT, [(canonical({"batch": 0, "row": 0}), said("x"))], device="cpu")
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
    assert check_store(store) == []
    counts = sqlite3.connect(path).execute(
        "SELECT count(*) FROM answers GROUP BY json_extract(question, '$.batch')"
    )
    assert {count for (count,) in counts} == {16}


FORMAT_1 = """
BEGIN IMMEDIATE;
PRAGMA application_id = 0x776B6273;
PRAGMA user_version = 1;
CREATE TABLE IF NOT EXISTS contexts (digest BLOB PRIMARY KEY, context TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
  key BLOB PRIMARY KEY, context BLOB NOT NULL, question TEXT NOT NULL, answer NOT NULL,
  checksum INTEGER NOT NULL, device TEXT NOT NULL, batch_size INTEGER NOT NULL, made REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identities (name TEXT PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID;
COMMIT;
"""


def old_store(path):
    """A store as version 0.1 wrote it: 50 answers, a model's identity, a file's digest."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(FORMAT_1)
    shared = blake2b(CONTEXT.encode(), digest_size=20).digest()
    connection.execute("INSERT INTO contexts VALUES (?, ?)", (shared, CONTEXT))
    for number in range(50):
        asked, answer = question(str(number)), canonical(said(str(number)))
        key = blake2b(asked.encode(), key=shared, digest_size=20).digest()
        checksum = zlib.crc32(answer.encode(), zlib.crc32(asked.encode()))
        row = (key, shared, asked, answer, checksum, "cuda", 8, time.time())
        connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("INSERT INTO identities VALUES ('m@main', ?)", (canonical(MODEL),))
    connection.execute("INSERT INTO files VALUES ('/m/model.safetensors', 7, 8, 'ff')")
    connection.close()


def test_a_store_of_format_1_is_upgraded_in_place(tmp_path):
    old_store(tmp_path / "old.sqlite")
    store = Store(tmp_path / "old.sqlite")
    found = store.get(CONTEXT, [question(str(number)) for number in range(50)])
    assert [answer.value for answer in found] == [said(str(number)) for number in range(50)]
    assert store.identity("m@main") == MODEL
    store.remember_file(tmp_path, os.stat(tmp_path), "ff")
    assert store.file_digest(tmp_path, os.stat(tmp_path)) == "ff"
    store.put(CONTEXT, [(question("new"), said("new"))], device="cpu")
    assert (list(store.rows("origins", [CONTEXT])), check_store(store)) == ([], [])
    store.put(CONTEXT, [(question("newer"), said("new"))], device="cpu", libraries="torch 2.13.0")
    assert [libraries for _, libraries, *_ in store.rows("origins", [CONTEXT])] == ["torch 2.13.0"]
    version = sqlite3.connect(store.path).execute("PRAGMA user_version").fetchone()
    assert version == (2,)


@pytest.mark.parametrize(
    "statement", ["DROP TABLE main.files", "INSERT INTO main.identities", "PRAGMA user_version = 2"]
)
def test_an_upgrade_killed_at_any_step_leaves_a_whole_store(tmp_path, statement):
    """A trace callback kills the process as the statement begins."""
    old_store(tmp_path / "old.sqlite")
    code = f"""
import os, sqlite3, sys
from workbench.store import Store, file
made = file._connection
def traced(address):
    connection = made(address)
    connection.set_trace_callback(lambda sql: sql.startswith({statement!r}) and os.kill(os.getpid(), 9))
    return connection
file._connection = traced
Store(sys.argv[1]).contexts()
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "old.sqlite"], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = Store(tmp_path / "old.sqlite")
    assert store.identity("m@main") == MODEL
    assert None not in store.get(CONTEXT, [question(str(number)) for number in range(50)])


def test_a_read_only_store_of_format_1_is_read_as_it_is(tmp_path, as_reader):
    folder = tmp_path / "given"
    folder.mkdir()
    old_store(folder / "old.sqlite")
    before = (folder / "old.sqlite").read_bytes()
    code = "assert not list(store.rows('origins', [context])) and store.info()['libraries'] == {};"
    code += "print(store.get(context, [question('3')])[0].value['text'], store.identity('m@main')['weights'])"
    assert as_reader(folder / "old.sqlite", code).stdout == "3 aa\n"
    assert (folder / "old.sqlite").read_bytes() == before


def test_answers_of_two_families_of_devices_stand_beside_each_other(store):
    """`same_device=True` once recomputed for ever: what it stored was dropped for the answer that was there."""
    store.put(CONTEXT, [(question("a"), said("of cuda"))], device="cuda", batch_size=8)
    assert store.get(CONTEXT, [question("a")], device="cpu") == [None]
    store.put(CONTEXT, [(question("a"), said("of cpu")), (question("b"), said("b"))], device="cpu")
    store.put(CONTEXT, [(question("a"), said("of cpu, later"))], device="cpu")
    for device, value in (("cpu", "of cpu"), ("cuda", "of cuda"), (None, "of cuda")):
        assert store.get(CONTEXT, [question("a")], device=device)[0].value["text"] == value
    assert [
        answer.value["text"] for answer in store.get(CONTEXT, [question("b"), question("a")], device="cpu")
    ] == [
        "b",
        "of cpu",
    ]
    assert store.get(CONTEXT, [question("a")], device="mps") == [None]
    assert (store.info()["answers"], check_store(store)) == (3, [])


def test_a_file_that_was_replaced_is_another_file(store, tmp_path):
    """Size and time of change alone took other weights, copied with their time, for those that were read."""
    weights, other = tmp_path / "model.safetensors", tmp_path / "other"
    weights.write_bytes(b"one")
    other.write_bytes(b"two")
    stat = weights.stat()
    store.remember_file(weights, stat, "11")
    assert store.file_digest(weights, weights.stat()) == "11"
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(weights)
    assert (weights.stat().st_size, weights.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert store.file_digest(weights, weights.stat()) is None
    weights.write_bytes(b"3.3")  # the same inode
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.file_digest(weights, weights.stat()) is None


def test_names_that_are_not_utf8_are_remembered(store, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    stat = os.stat(tmp_path)
    store.remember_file(path, stat, "11")
    store.remember_identity(str(path), {**MODEL, "name": str(path)})
    assert store.file_digest(path, stat) == "11"
    assert store.identity(str(path))["name"] == str(path)


def test_threads_share_a_store_reading_and_writing(store):
    """A second thread once got sqlite3.ProgrammingError."""

    def work(number):
        for step in range(20):
            asked = [question(f"{number} {step} {row}") for row in range(8)]
            store.put(CONTEXT, [(each, said(each)) for each in asked], device="cpu")
            assert [answer.value["text"] for answer in store.get(CONTEXT, asked)] == asked
        return number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == list(range(8))
    assert (store.info()["answers"], check_store(store)) == (8 * 20 * 8, [])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_a_hundred_handles_share_one_connection_which_is_closed_when_unused(tmp_path):
    """They once cost 180 descriptors, of which 82 stayed."""
    path = tmp_path / "store.sqlite"

    def opened():
        return sum(str(path) in os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())

    handles = [Store(path) for _ in range(100)]
    for number, handle in enumerate(handles):
        handle.put(CONTEXT, [(question(str(number)), number)], device="cpu")
    assert 0 < opened() <= 3  # the file, its log, the log's index
    handles.pop().close()
    assert handles[0].get(CONTEXT, [question("99")])[0].value == 99
    del handle
    handles.clear()
    assert opened() == 0


def test_a_forked_process_has_its_own_connection_and_leaves_its_parents_alone(store):
    store.put(CONTEXT, [(question("parent"), 1)], device="cpu")
    with store.transaction(write=True) as connection:  # the child must neither wait for this lock nor end it
        connection.execute("DELETE FROM answers")
        if (pid := os.fork()) == 0:
            found = store.get(CONTEXT, [question("parent")])[0]
            os._exit(0 if found is not None and found.value == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.get(CONTEXT, [question("parent")]) == [None]


def test_a_store_that_was_deleted_is_made_again(store):
    """An open handle once went on writing into the deleted file."""
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    store.path.unlink()
    store.put(CONTEXT, [(question("b"), 2)], device="cpu")
    assert [answer and answer.value for answer in Store(store.path).get(CONTEXT, [question("b")])] == [2]


def test_a_copy_of_the_file_has_every_answer_after_a_handle_is_closed(store, tmp_path):
    """A finished run could leave its answers in the log alone, if another process had the store open."""
    code = "import sys; from workbench.store import Store; s = Store(sys.argv[1]); s.contexts(); print(flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    other.stdout.readline()
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    shutil.copy(store.path, tmp_path / "before.sqlite")
    store.close()
    shutil.copy(store.path, tmp_path / "after.sqlite")
    other.communicate(b"\n")
    assert Store(tmp_path / "after.sqlite").get(CONTEXT, [question("a")])[0].value == 1
    assert Store(tmp_path / "before.sqlite").get(CONTEXT, [question("a")]) == [None]  # the twin


def test_what_a_killed_process_left_in_the_log_is_settled(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    settle()
    assert not Store().path.exists()
    kill_writers(Store().path, rounds=1)
    shutil.copy(Store().path, tmp_path / "before.sqlite")
    settle()
    shutil.copy(Store().path, tmp_path / "after.sqlite")
    before, after = (Store(tmp_path / f"{name}.sqlite").info()["answers"] for name in ("before", "after"))
    assert before < after == Store().info()["answers"]


@pytest.mark.parametrize("named", ["mine/store.sqlite", "~/store.sqlite"])
def test_the_default_path_is_made_whole_once(tmp_path, monkeypatch, named):
    """A relative path once meant another store beside each notebook; `~` was taken for a folder's name."""
    monkeypatch.setenv("WORKBENCH_STORE", named)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    there = tmp_path / named.replace("~", "home")
    assert Store().path == there
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Store().path == there
    assert os.environ["WORKBENCH_STORE"] == str(there)


@pytest.mark.parametrize(
    ("named", "said"), [("~nosuchuser/s", "names no folder"), (".", "is a folder; name a file")]
)
def test_a_path_that_can_be_no_store_is_an_error_that_says_so(named, said):
    with pytest.raises(StoreFailed, match=said):
        Store(named).contexts()


def test_a_read_only_store_forgets_with_one_notice(tmp_path, as_reader):
    """A model at an unknown path failed, since remembering its digest insisted on writing."""
    folder = tmp_path / "given"
    store = Store(folder / "store.sqlite")
    store.put(CONTEXT, [(question("a"), 41)], device="cpu")
    store.close()
    code = "import os; store.remember_identity('m', {}); store.remember_file('f', os.stat('/'), 'd');"
    told = as_reader(store.path, code + "print(store.get(context, [question('a')])[0].value)")
    assert (told.stdout, told.stderr.count("nothing new is remembered")) == ("41\n", 1)


def test_a_read_only_store_that_its_owner_writes_is_read_with_the_owners_answers(tmp_path, as_reader):
    """Opened as immutable, it would not see them, or would see pages of two moments."""
    folder = tmp_path / "given"
    store = Store(folder / "store.sqlite")
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    store.close()
    code = """
first = store.get(context, [question('a'), question('b')])
assert store._file._lockless
print('read', flush=True); input()
second = store.get(context, [question('a'), question('b')])
print([answer and answer.value for answer in [*first, *second]])
"""
    reader = as_reader(store.path, code, wait=False)
    assert reader.stdout.readline() == "read\n"
    folder.chmod(0o755)
    store.put(CONTEXT, [(question("b"), 2)], device="cpu")
    folder.chmod(0o555)
    assert reader.communicate("\n")[0] == "[1, None, 1, 2]\n"


def test_a_file_written_while_it_is_read_without_locks_is_an_error(tmp_path, as_reader):
    folder = tmp_path / "given"
    store = Store(folder / "store.sqlite")
    store.put(CONTEXT, [(question("a"), 1)], device="cpu")
    store.close()
    code = """
with store.transaction(write=False) as connection:
    connection.execute('SELECT * FROM answers').fetchall()
    print('read', flush=True); input()
"""
    reader = as_reader(store.path, code, wait=False)
    assert reader.stdout.readline() == "read\n"
    os.utime(store.path)
    assert "was written while it was read" in reader.communicate("\n")[1]
