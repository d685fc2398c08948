"""Random edits of files: of bytes, of JSON, of SQLite rows. Each takes a generator, changes a file, and says what it did."""

import json
import os
import random
import sqlite3

ODD = [None, True, -1, 0, 1.5, "", "x", "\ud800", [], {}, [None], {"a": 1}, 10**30, float("nan")]
SQL_ODD = [None, -1, 1.5, "", "x", b"\xff", 2**62]
OTHERS_TABLES = [
    "CREATE TABLE foreign_one (a)", "CREATE VIEW answers_too AS SELECT * FROM answers", "CREATE INDEX more ON answers (question)",
    "CREATE TRIGGER t AFTER INSERT ON answers BEGIN DELETE FROM answers; END", "ALTER TABLE answers RENAME TO replies",
    "ALTER TABLE answers ADD COLUMN more", "DROP TABLE identities", "PRAGMA application_id = 7", "PRAGMA user_version = 1",
    "PRAGMA user_version = 3", "PRAGMA user_version = 0", "CREATE TABLE sqlite_like (a TEXT DEFAULT 'x')",
]  # fmt: skip


def edit_bytes(draw: random.Random, path):
    """One of the accidents that happen to any file."""
    raw = path.read_bytes()
    start = draw.randrange(len(raw))
    size = draw.choice([1, 3, 40, 1000])
    bit = bytes([raw[start] ^ 1 << draw.randrange(8)])
    how, new = draw.choice(
        [
            ("a bit flipped", raw[:start] + bit + raw[start + 1 :]),
            ("a byte changed", raw[:start] + bytes([draw.randrange(256)]) + raw[start + 1 :]),
            ("cut", raw[:start]),
            ("the beginning lost", raw[start:]),
            ("a hole", raw[:start] + raw[start + size :]),
            ("zeros", raw[:start] + bytes(len(raw[start : start + size])) + raw[start + size :]),
            ("a part twice", raw[: start + size] + raw[start:]),
            ("noise after the end", raw + draw.randbytes(size)),
            ("only noise", draw.randbytes(len(raw))),
            ("empty", b""),
        ]
    )
    path.write_bytes(new)
    return f"{path.name}: {how} at {start} ({size})"


def flip(draw: random.Random, path, start, stop):
    """Flip one bit between two places."""
    raw, place = bytearray(path.read_bytes()), draw.randrange(start, stop)
    raw[place] ^= 1 << draw.randrange(8)
    path.write_bytes(raw)
    return f"{path.name}: a bit flipped at {place}"


def edit_text(draw: random.Random, path):
    """An edit as of somebody with an editor, in the middle of a text."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    place, line = draw.randrange(len(text)), draw.randrange(len(lines))
    sign = draw.choice("{}|'\"[]:=,#\n \t%0é\x00\u2028\ufeff")
    how, new = draw.choice(
        [
            (f"{sign!r} typed", text[:place] + sign + text[place:]),
            (f"{sign!r} in place of a sign", text[:place] + sign + text[place + 1 :]),
            ("a sign lost", text[:place] + text[place + 1 :]),
            ("a line lost", "".join(lines[:line] + lines[line + 1 :])),
            ("a line twice", "".join(lines[: line + 1] + lines[line:])),
            ("lines swapped", "".join(lines[:line] + lines[line : line + 2][::-1] + lines[line + 2 :])),
            ("Windows line ends", text.replace("\n", "\r\n")),
        ]
    )
    path.write_bytes(new.encode())
    return f"{path.name}: {how} at {place}, line {line + 1}"


def recode(draw: random.Random, path):
    """Another encoding of the same text."""
    encoding = draw.choice(["utf-16", "utf-8-sig", "latin-1", "utf-32-be", "cp1252"])
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding, "replace"))
    return f"{path.name}: written in {encoding}"


def places_in(value, path=()):
    """The paths of everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*path, key)
        yield from places_in(each, (*path, key))


def edit_value(draw: random.Random, content):
    """Change one place inside a JSON value, in place."""
    path = draw.choice(list(places_in(content)))
    holder = content
    for step in path[:-1]:
        holder = holder[step]
    key, how = path[-1], draw.choice(["lost", "odd", "odd", "renamed", "number", "wrapped"])
    if how == "lost":
        del holder[key]
    elif how == "renamed" and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    elif how == "number" and type(holder[key]) in (int, float):
        holder[key] = draw.choice([holder[key] + 1, -holder[key], str(holder[key]), holder[key] * 1000])
    elif how == "wrapped":
        holder[key] = [holder[key]]
    else:
        how = f"odd: {(odd := draw.choice(ODD))!r}"
        holder[key] = odd
    return f"{'.'.join(map(str, path))} {how}"


def edit_json(draw: random.Random, path):
    """Change one place of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    told = edit_value(draw, content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return f"{path.name}: {told}"


def edit_rows(draw: random.Random, path):
    """Change a SQLite file as somebody with a client would."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        table = draw.choice(["answers"] * 4 + ["contexts", "identities", "files"])
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() or [(None,) * len(names)]
        one, two = draw.sample(rows * 2, 2)
        column = draw.randrange(len(names))
        where, name = f"WHERE {names[0]} = ?", names[column]
        how = draw.choice(["odd", "another's", "deleted", "emptied", "schema", "copied", "text"])
        if how == "schema":
            how = draw.choice(OTHERS_TABLES)
            connection.execute(how)
        elif how == "emptied":
            connection.execute(f"DELETE FROM {table}")
        elif how == "deleted":
            connection.execute(f"DELETE FROM {table} {where}", one[:1])
        elif how == "copied":  # a row under the key of another
            connection.execute(f"DELETE FROM {table} {where}", two[:1])
            marks = ",".join("?" * len(names))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", (two[0], *one[1:]))
        elif how == "text":
            connection.execute(f"UPDATE {table} SET {name} = replace({name}, 'a', 'b') {where}", one[:1])
        else:
            value = two[column] if how == "another's" else draw.choice(SQL_ODD)
            connection.execute(f"UPDATE OR REPLACE {table} SET {name} = ? {where}", (value, one[0]))
    except sqlite3.Error as error:
        how = f"refused by SQLite ({error})"
    finally:
        connection.close()
    return f"{path.name}: {table}.{name} {how}"


def keep_times(path, stat):
    """Give a file the times it had, as `cp -p` and `rsync -a` do."""
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
