"""The two endpoints of a model hub that are used, on the loopback, with the faults that downloads meet."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Serves one model while it is entered.

    Attributes:
        files: path → content.
        announced: path → what the list says of a file in place of the truth.
        break_after: bytes of content after which a connection breaks off; one number a download, used up in order.
        knows_ranges: whether a download may begin in the middle.
        redirect_to: the host that files are fetched from, as hubs do with large ones.
        hits: ``GET path`` and, where there was one, the first byte asked for.
    """

    def __init__(self, repo: str, files: dict[str, bytes], *, commit: str = COMMIT) -> None:
        self.repo = repo
        self.files = files
        self.commit = commit
        self.announced: dict[str, dict[str, Any]] = {}
        self.status = 200
        self.break_after: list[int] = []
        self.knows_ranges = True
        self.redirect_to = ""
        self.hits: list[str] = []
        self.tokens: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                server._serve(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        first = handler.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        self.hits.append(f"{handler.path.partition('?')[0]} {first}".strip())
        self.tokens.append(handler.headers.get("Authorization"))
        path = handler.path.removeprefix(f"/{self.repo}/resolve/{self.commit}/")
        if self.status != 200:
            self._answer(handler, self.status, b"")
        elif handler.path.startswith(f"/api/models/{self.repo}/revision/"):
            self._answer(handler, 200, json.dumps(self._listing()).encode())
        elif path not in self.files:
            self._answer(handler, 404, b"")
        elif self.redirect_to:
            self._answer(handler, 302, b"", Location=f"{self.redirect_to}{handler.path}")
        else:
            self._send_file(handler, self.files[path], int(first or 0))

    def _listing(self) -> dict[str, Any]:
        entries: list[dict[str, Any]] = []
        for path, content in self.files.items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(content)}
            if path.endswith(".safetensors"):
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            entries.append(entry | self.announced.get(path, {}))
        return {"sha": self.commit, "siblings": entries}

    def _send_file(self, handler: BaseHTTPRequestHandler, content: bytes, first: int) -> None:
        if not self.knows_ranges:
            first = 0
        rest = content[first:]
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        if self.break_after:
            handler.wfile.write(rest[: self.break_after.pop(0)])
            handler.close_connection = True
        else:
            handler.wfile.write(rest)

    @staticmethod
    def _answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
