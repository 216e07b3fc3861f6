"""Starts `cl-ast serve` as a process on a free port, and asks it over HTTP."""

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cli.forked import Forked

PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error, whose shape is checked."""
        assert self.status >= 400, self
        (key,) = self.json
        assert key == "error"
        error = self.json["error"]
        assert {"code", "message", "request_id"} <= set(error) <= {"code", "message", "request_id", "retry_after"}
        assert self.headers["x-request-id"] == error["request_id"]
        return str(error["code"])


@dataclass
class Server:
    """A process that serves, at a host and port."""

    process: Forked
    url: str = ""
    key: str = ""
    errors: list[str] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname and parts.port
        return parts.hostname, parts.port

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=PATIENCE)

    def ask(self, path: str, body: bytes | None = None, method: str = "", **headers: str) -> Reply:
        """Ask with a connection of its own; with a body it is POST."""
        connection = self.connect()
        try:
            if self.key:
                headers.setdefault("Authorization", f"Bearer {self.key}")
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, names)
            reply = connection.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def form(self, path: str, files: Sequence[tuple[str, bytes]], name: str = "file") -> Reply:
        """Send files as a browser's form does."""
        parts = [
            b'--cut\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n\r\n%b\r\n'
            % (name.encode(), file.encode(), content)
            for file, content in files
        ]
        return self.ask(path, b"".join(parts) + b"--cut--\r\n", Content_Type="multipart/form-data; boundary=cut")

    def end(self, patience: float = PATIENCE) -> int:
        """Stop it with SIGTERM, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)


@contextmanager
def served(registry: Path, *words: object, key: str = "", temporary: Path | None = None) -> Iterator[Server]:
    """Serve a registry inside the block, and check that nothing unexpected was said."""
    variables = {} if temporary is None else {"TMPDIR": str(temporary)}
    command = ("--registry", registry, "--device", "cpu", "serve", "--port", "0")
    process = Forked(*command, *words, cwd=registry.parent, env=os.environ | variables)
    server = Server(process, key=key)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert " at http://" in line, (line, process.communicate())
        server.url = line.split()[-1]
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            server.errors += process.communicate(timeout=PATIENCE)[1].splitlines()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
    assert not any("unexpected" in line or "Traceback" in line for line in server.errors), server.errors


def until(true: Any, patience: float = PATIENCE) -> None:
    """Wait until a function returns true."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
