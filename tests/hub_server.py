"""A small Hugging Face Hub over real HTTP: the parts of its protocol that publishing and fetching a model use.

Repositories, commits, tags and large files are kept in memory. Large files are served from another origin, as by the
real Hub, and this origin refuses requests that contain the token. Tests can inject faults by path.
"""

import base64
import hashlib
import json
import re
import socket
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import huggingface_hub
import pytest

TOKEN = "hf_writer"
LARGE = (".onnx",)
_RESOLVE = "{repo_id}/resolve/{revision}/{filename}"


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"0" * 40: {}})
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    def resolve(self, revision: str) -> str | None:
        known = {"main": self.head, **self.tags, **{sha: sha for sha in self.commits}}
        return known.get(revision)


@dataclass
class Fault:
    """A fault for the next `times` requests whose method and path match.

    `kind` is a status code, "drop" (half of the body, then the connection is cut), "refuse" (cut before any answer) or
    "tamper" (a byte of the body is changed).
    """

    request: str
    kind: int | str
    times: int = 1


class HubServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.storage: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.ranges: list[str] = []
        self.errors: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def storage_url(self) -> str:
        return f"http://localhost:{self.server_port}"

    def fault(self, request: str, kind: int | str, times: int = 1) -> None:
        """Let requests fail if the regular expression `request` matches in "METHOD /path"."""
        self.faults.append(Fault(request, kind, times))

    def serve_client(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the client of this process use this Hub, with permission to write."""
        # The values that HF_ENDPOINT would set if it were in the environment before the import of the client.
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", self.url)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", f"{self.url}/{_RESOLVE}")
        # The Xet protocol is compiled code that uses another service. Without it, the client uses plain HTTP.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        huggingface_hub.close_session()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_request: Any) -> None:
        """Keep errors of this server for the test. Connections are closed deliberately."""
        if not isinstance(exc := sys.exception(), OSError):
            self.errors.append(repr(exc))


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        hub, target = self.server, urlsplit(self.path)
        body = self._body()
        hub.log.append(f"{self.command} {target.path}")
        self.fault = next((f for f in hub.faults if f.times and re.search(f.request, hub.log[-1])), None)
        if self.fault:
            self.fault.times -= 1
            if isinstance(self.fault.kind, int):
                return self._answer(self.fault.kind, {"error": "injected"}, {"Retry-After": "0"})
            if self.fault.kind == "refuse":
                return self._cut()
        for methods, pattern, action in _ROUTES:
            if self.command in methods and (match := re.fullmatch(pattern, unquote(target.path))):
                return action(self, body, parse_qs(target.query), *match.groups())
        return self._answer(404, {"error": f"no route for {self.path}"})

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = self.fault.kind if self.fault else None
        if kind == "tamper":
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if kind == "drop" else data)
        if kind == "drop":
            self._cut()

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _repository(self, name: str, *, write: bool = False) -> Repository | None:
        """The repository, or None after a refusal was sent."""
        authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not authorized):
            # As on the real Hub: without access, the answer does not show that a private repository exists.
            self._answer(
                404 if authorized else 401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
            )
            return None
        if write and not authorized:
            self._answer(403, {"error": "You need a token with write access"})
            return None
        return repository

    def _no_revision(self) -> None:
        self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})

    def create(self, body: bytes, _query: Any) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "Invalid username or password."})
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}"
        status = 409 if name in self.server.repositories else 200
        if status == 200:
            self.server.repositories[name] = Repository(wanted.get("visibility") == "private")
        return self._answer(status, {"url": f"{self.server.url}/{name}"})

    def validate(self, body: bytes, _query: Any) -> None:
        started = json.loads(body)["content"].startswith("---\n")
        self._answer(200, {"errors": [] if started else [{"message": "no metadata"}], "warnings": []})

    def info(self, _body: bytes, query: dict[str, list[str]], name: str, revision: str | None) -> None:
        if not (repository := self._repository(name)):
            return None
        if not (commit := repository.resolve(revision or "main")):
            return self._no_revision()
        files = [_described(path, data) for path, data in repository.commits[commit].items()]
        if "blobs" not in query:
            files = [{"rfilename": file["rfilename"]} for file in files]
        return self._answer(200, {"id": name, "sha": commit, "private": repository.private, "siblings": files})

    def refs(self, _body: bytes, _query: Any, name: str) -> None:
        if repository := self._repository(name):
            tags = [{"name": t, "ref": f"refs/tags/{t}", "targetCommit": sha} for t, sha in repository.tags.items()]
            self._answer(200, {"branches": [], "converts": [], "tags": tags})

    def preupload(self, body: bytes, _query: Any, name: str, _revision: str) -> None:
        if not (repository := self._repository(name, write=True)):
            return
        held = {path: _described(path, data) for path, data in repository.commits[repository.head].items()}
        answer = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            oid = held[path]["lfs"]["sha256"] if held.get(path, {}).get("lfs") else held.get(path, {}).get("blobId")
            mode = "lfs" if path.endswith(LARGE) else "regular"
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._answer(200, {"files": answer})

    def batch(self, body: bytes, _query: Any, name: str) -> None:
        if not self._repository(name, write=True):
            return
        objects = json.loads(body)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self.server.storage:
                upload = {"href": f"{self.server.storage_url}/storage/{wanted['oid']}"}
                wanted["actions"] = {"upload": upload, "verify": {"href": f"{self.server.url}/verify"}}
        self._answer(200, {"transfer": "basic", "objects": objects})

    def store(self, body: bytes, _query: Any, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            return self._answer(400, {"error": "the content does not have the announced hash"})
        self.server.storage[oid] = body
        return self._answer(200, {})

    def verify(self, body: bytes, _query: Any) -> None:
        wanted = json.loads(body)
        held = self.server.storage.get(wanted["oid"])
        self._answer(200 if held is not None and len(held) == wanted["size"] else 404, {})

    def commit(self, body: bytes, _query: Any, name: str, _revision: str) -> None:
        if not (repository := self._repository(name, write=True)):
            return
        files = dict(repository.commits[repository.head])
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.server.storage[item["value"]["oid"]]
        sha = hashlib.sha1(repository.head.encode() + body).hexdigest()
        repository.commits[sha] = files
        self._answer(200, {"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha})

    def tag(self, body: bytes, _query: Any, name: str, revision: str) -> None:
        if not (repository := self._repository(name, write=True)):
            return None
        wanted = json.loads(body)["tag"]
        if wanted in repository.tags:
            return self._answer(409, {"error": "Tag reference exists already"})
        if not (commit := repository.resolve(revision)):
            return self._no_revision()
        repository.tags[wanted] = commit
        return self._answer(200, {})

    def resolve(self, _body: bytes, _query: Any, name: str, revision: str, path: str) -> None:
        if not (repository := self._repository(name)):
            return None
        if not (commit := repository.resolve(revision)):
            return self._no_revision()
        data = repository.commits[commit].get(path)
        if data is None:
            return self._answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        described = _described(path, data)
        if lfs := described["lfs"]:
            linked = {"X-Linked-Etag": f'"{lfs["sha256"]}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": commit}
            return self._answer(302, b"", linked | {"Location": f"{self.server.storage_url}/storage/{lfs['sha256']}"})
        return self._answer(200, data, {"ETag": f'"{described["blobId"]}"', "X-Repo-Commit": commit})

    def download(self, _body: bytes, _query: Any, oid: str) -> None:
        if "Authorization" in self.headers:
            return self._answer(400, {"error": "the token was sent to a foreign origin"})
        data = self.server.storage[oid]
        if wanted := self.headers.get("Range"):
            self.server.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            where = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            return self._answer(206, data[start:], where)
        return self._answer(200, data)


def _described(path: str, data: bytes) -> dict[str, Any]:
    lfs = None
    if path.endswith(LARGE):
        lfs = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    return {"rfilename": path, "size": len(data), "blobId": blob, "lfs": lfs}


_NAME = "([^/]+/[^/]+)"
_ROUTES = (
    (("POST",), "/api/repos/create", _Handler.create),
    (("POST",), "/api/validate-yaml", _Handler.validate),
    (("GET",), f"/api/models/{_NAME}/refs", _Handler.refs),
    (("GET",), f"/api/models/{_NAME}(?:/revision/(.+))?", _Handler.info),
    (("POST",), f"/api/models/{_NAME}/preupload/(.+)", _Handler.preupload),
    (("POST",), f"/api/models/{_NAME}/commit/(.+)", _Handler.commit),
    (("POST",), f"/api/models/{_NAME}/tag/(.+)", _Handler.tag),
    (("POST",), f"/{_NAME}.git/info/lfs/objects/batch", _Handler.batch),
    (("POST",), "/verify", _Handler.verify),
    (("PUT",), "/storage/(.+)", _Handler.store),
    (("GET",), "/storage/(.+)", _Handler.download),
    (("GET", "HEAD"), f"/{_NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
)
