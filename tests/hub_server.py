"""A small server that speaks as much of the hub's protocol as its client asks for: info, trees, files, ranges, refusals.

Large files are redirected to another path, as the hub redirects them to its storage; other files are served as they are.
`served` records every request with the bytes that were sent. `cut` and `answer` make it fail.
"""

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".model", ".parquet")
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def files_of(folder):
    """The files of a folder, by their path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@dataclass
class Hosted:
    """A repository: the files of each revision; a gated one wants a token."""

    revisions: dict
    gated: bool = False

    def commit(self, revision):
        known = {self._hash(name): name for name in self.revisions}
        return (
            self._hash(revision) if revision in self.revisions else (revision if revision in known else None)
        )

    def files(self, revision):
        commit = self.commit(revision)
        return next(files for name, files in self.revisions.items() if self._hash(name) == commit)

    def _hash(self, name):
        parts = sorted((path, git_hash(content)) for path, content in self.revisions[name].items())
        return hashlib.sha1(json.dumps(parts).encode()).hexdigest()


@dataclass
class Served:
    """One answered request."""

    method: str
    path: str
    status: int
    start: int = 0
    sent: int = 0
    token: str | None = None


@dataclass
class Hub:
    """What the server holds, and how it is to fail.

    `cut`: after so many bytes of a large file the connection breaks, once per entry. `stall`: after so many bytes of large files
    nothing comes any more. `damage`: large files are full of zeros. `answer`: statuses for paths that contain a
    text. `archives`: GitHub's, by path.
    """

    models: dict = field(default_factory=dict)
    datasets: dict = field(default_factory=dict)
    archives: dict = field(default_factory=dict)
    cut: list = field(default_factory=list)
    answer: dict = field(default_factory=dict)
    stall: int | None = None
    damage: bool = False
    served: list = field(default_factory=list)
    stalled: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)
    url: str = ""
    storage: str = ""  # another host, to which the client sends no token

    def publish(self, repo, files, *, kind="models", revision="main", gated=False):
        hosted = getattr(self, kind).setdefault(repo, Hosted({}, gated))
        hosted.revisions[revision] = dict(files)
        return hosted

    def downloads(self):
        """Requests that sent the content of a file."""
        return [one for one in self.served if one.method == "GET" and one.sent and "/api/" not in one.path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._route()

    def do_HEAD(self):
        self._route()

    def log_message(self, *_):
        pass

    @property
    def hub(self):
        return self.server.hub

    def _route(self):
        parts = urlsplit(self.path)
        status = next((code for text, code in self.hub.answer.items() if text in self.path), None)
        if status:
            self._send(status, b'{"error": "as told"}')
        elif found := _API.fullmatch(parts.path):
            self._info(*found.groups(), parse_qs(parts.query))
        elif parts.path.startswith("/storage/"):
            self._stored(parts.path.rpartition("/")[2])
        elif parts.path in self.hub.archives:
            self._archive(self.hub.archives[parts.path])
        elif found := _RESOLVE.fullmatch(parts.path):
            self._file(*found.groups())
        else:
            self._send(404, b"{}")

    def _hosted(self, kind, repo):
        hosted = getattr(self.hub, kind).get(repo)
        if hosted is None:  # the hub does not tell strangers what exists
            self._send(
                401,
                b"{}",
                {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid username or password."},
            )
        return hosted

    def _info(self, kind, repo, what, revision, query):
        hosted = self._hosted(kind, unquote(repo))
        if hosted is None:
            return
        commit = hosted.commit(unquote(revision or "main"))
        if commit is None:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        files = hosted.files(commit)
        if what == "tree":
            rows = [
                _entry("path", "oid", path, content) | {"type": "file"} for path, content in files.items()
            ]
            self._send(200, json.dumps(rows).encode())
            return
        siblings = [_entry("rfilename", "blobId", path, content) for path, content in files.items()]
        if "blobs" not in query:
            siblings = [{"rfilename": one["rfilename"]} for one in siblings]
        info = {"_id": "0", "id": repo, "sha": commit, "siblings": siblings, "private": False, "tags": []}
        self._send(200, json.dumps({**info, "gated": hosted.gated, "downloads": 0, "likes": 0}).encode())

    def _file(self, prefix, repo, revision, path):
        hosted = self._hosted("datasets" if prefix else "models", repo)
        if hosted is None:
            return
        if hosted.gated and "authorization" not in self.headers:
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo"})
            return
        commit = hosted.commit(unquote(revision))
        content = hosted.files(commit).get(unquote(path)) if commit else None
        if content is None:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound" if commit else "RevisionNotFound"})
            return
        about = {"X-Repo-Commit": commit, "ETag": f'"{git_hash(content)}"'}
        if not path.endswith(LARGE):
            self._send(200, content, about)
            return
        sha256 = hashlib.sha256(content).hexdigest()
        linked = {"X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
        self._send(302, b"", {**about, **linked, "Location": f"{self.hub.storage}/storage/{sha256}"})

    def _stored(self, sha256):
        content = self._contents()[sha256]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        if self.hub.damage:
            content = bytes(len(content))
        about = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if wanted else {}
        self._send(206 if wanted else 200, content[start:], about, start=start, may_break=True)

    def _contents(self):
        hosted = [*self.hub.models.values(), *self.hub.datasets.values()]
        files = [content for one in hosted for files in one.revisions.values() for content in files.values()]
        return {hashlib.sha256(content).hexdigest(): content for content in files}

    def _archive(self, content):
        etag = f'"{git_hash(content)}"'
        if self.headers.get("If-None-Match") == etag:
            self._send(304, b"")
        else:
            self._send(200, content, {"ETag": etag})

    def _send(self, status, content, headers=None, *, start=0, may_break=False):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        body = b"" if self.command == "HEAD" else content
        if may_break and body and self.hub.cut:
            body = body[: self.hub.cut.pop(0)]
            self.close_connection = True
        if may_break and body and self.hub.stall is not None:
            self.wfile.write(body[: self.hub.stall])
            self.hub.served.append(Served(self.command, self.path, status, start, self.hub.stall))
            self.hub.stalled.set()
            self.hub.go_on.wait(30)
            self.close_connection = True
            return
        self.wfile.write(body)
        token = self.headers.get("authorization")
        self.hub.served.append(Served(self.command, self.path, status, start, len(body), token))


def _entry(name, blob, path, content):
    entry = {name: path, blob: git_hash(content), "size": len(content)}
    if path.endswith(LARGE):
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"sha256": sha256, "oid": sha256, "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def running(hub):
    """Serve a hub on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub, hub.url = hub, f"http://127.0.0.1:{server.server_port}"
    hub.storage = f"http://localhost:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
