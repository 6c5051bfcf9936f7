"""A hub of one repository, on this machine."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub_of(kind: str, repository: str, files: dict[str, bytes]) -> Iterator[str]:
    """Answers as a hub does for one repository of ``models`` or ``datasets``; gives the address."""
    handler = type("Handler", (_Handler,), {"kind": kind, "repository": repository, "files": files})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    kind: str
    repository: str
    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        """Which of some paths there are."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
        self._reply(200, json.dumps([entry for entry in self._tree() if entry["path"] in asked]).encode(), {}, True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        name = path.partition(f"/resolve/{COMMIT}/")[2] or path.rpartition("/")[2]
        if f"/{self.repository}" not in path:
            self._reply(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
        elif "/tree/" in path:
            self._reply(200, json.dumps(self._tree()).encode(), {}, body)
        elif path.startswith(f"/api/{self.kind}/"):
            self._reply(200, json.dumps(self._told()).encode(), {}, body)
        elif name in self.files:
            tag = hashlib.sha256(self.files[name]).hexdigest()
            self._reply(200, self.files[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"'}, body)
        else:
            self._reply(404, b"", {"X-Error-Code": "EntryNotFound"}, body)

    def _tree(self) -> list[dict[str, Any]]:
        return [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in self.files.items()]

    def _told(self) -> dict[str, Any]:
        siblings = [{"rfilename": name} for name in self.files]
        return {
            "id": self.repository,
            "sha": COMMIT,
            "siblings": siblings,
            "private": False,
            "tags": [],
            "downloads": 0,
        }

    def _reply(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        pass
