"""Tests of downloads, from a server in the test itself."""

import dataclasses
import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import streams
from cl_ast.errors import StreamError
from streams import download
from streams.unpack import unpack

LISTS = {"validation_list.txt": b"yes/1.wav\nno/1.wav\n", "testing_list.txt": b"yes/2.wav\nno/2.wav\n"}
TREE = {**LISTS, **{f"{word}/{i}.wav": bytes(1000 * i) for word in ("yes", "no") for i in range(4)}}


def tar(files: dict[str, bytes], *members: tarfile.TarInfo) -> bytes:
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return stored.getvalue()


def zipped(files: dict[str, bytes], mode: int = 0o100644) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return stored.getvalue()


class Server:
    """What the server sends. `cuts` are the numbers of bytes after which its next answers break off."""

    def __init__(self) -> None:
        self.body = b""
        self.tag = '"one"'
        self.ranges = True
        self.cuts: list[int] = []
        self.requests: list[str | None] = []
        self.status = 200
        self.url = ""


def handler_of(state: Server) -> type[BaseHTTPRequestHandler]:
    """Return a handler of HTTP requests that serves what the state says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            state.requests.append(wanted)
            start = 0
            if state.status != 200:
                self.send_error(state.status)
                return
            if wanted and state.ranges and self.headers["If-Range"] in (None, state.tag):
                match = re.fullmatch(r"bytes=(\d+)-", wanted)
                assert match is not None
                start = int(match[1])
            if start and start >= len(state.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.body) - 1}/{len(state.body)}")
            self.send_header("Content-Length", str(len(state.body) - start))
            self.send_header("ETag", state.tag)
            self.end_headers()
            cut = state.cuts.pop(0) if state.cuts else len(state.body)
            self.wfile.write(state.body[start : start + cut])

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("streams.download.time.sleep", lambda seconds: None)
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(state))
    state.url = f"http://127.0.0.1:{http.server_address[1]}/data"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def dataset(server: Server, digest: str | None = "", file: str = "words.tar.gz") -> streams.DataSet:
    """Return Speech Commands with its archive on that server, by default with the right hash."""
    digest = f"sha256:{hashlib.sha256(server.body).hexdigest()}" if digest == "" else digest
    archive = streams.Archive(server.url, file, digest)
    return dataclasses.replace(streams.DATASETS["gsc"], archive=archive)


def test_download_and_load(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.body = tar(TREE)
    seen: list[tuple[int, int | None]] = []
    for module in ("find_data", "loading"):
        monkeypatch.setattr(f"streams.{module}.DATASETS", {"gsc": dataset(server)})
    task = streams.load(
        "gsc", data_root=tmp_path / "new", download=True, progress=lambda done, total: seen.append((done, total))
    )
    assert task.labels == ("no", "yes") and len(task.train) == 4
    assert seen[-1] == (len(server.body), len(server.body))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["gsc"], "nothing else is left"
    assert streams.load("gsc", data_root=tmp_path / "new", download=True) == task
    assert len(server.requests) == 1


def test_an_archive_with_a_folder_around(server: Server, tmp_path: Path) -> None:
    server.body = zipped({f"words-master/{name}": content for name, content in TREE.items()})
    root = download.install(dataset(server, file="words.zip"), tmp_path)
    assert root == tmp_path / "gsc" and (root / "yes" / "3.wav").stat().st_size == 3000


def test_resumes_after_a_cut(server: Server, tmp_path: Path) -> None:
    server.body = tar({**TREE, "noise.bin": bytes(range(256)) * 40})
    n = len(server.body)
    server.cuts = [n // 4, n // 4]
    assert download.install(dataset(server), tmp_path).is_dir()
    assert server.requests == [None, f"bytes={n // 4}-", f"bytes={2 * (n // 4)}-"]


def test_resumes_in_another_run(server: Server, tmp_path: Path) -> None:
    server.body = tar(TREE)
    n = len(server.body)
    server.cuts = [n // 2] + [0] * download.ATTEMPTS
    with pytest.raises(StreamError, match=r"cannot be downloaded .*continues where it stopped"):
        download.install(dataset(server), tmp_path)
    assert not (tmp_path / "gsc").exists()
    server.requests.clear()
    download.install(dataset(server), tmp_path)
    assert server.requests == [f"bytes={n // 2}-"]


def test_starts_again_when_the_file_has_changed(server: Server, tmp_path: Path) -> None:
    server.body = tar({"old": bytes(5000)})
    server.cuts = [len(server.body) // 2] + [0] * download.ATTEMPTS
    with pytest.raises(StreamError, match="cannot be downloaded"):
        download.install(dataset(server, None), tmp_path)
    server.body, server.tag = tar(TREE), '"two"'
    assert (download.install(dataset(server, None), tmp_path) / "yes").is_dir()
    assert server.requests[-1] is not None, "it requested the rest, and was sent the whole"


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.body, server.ranges = tar(TREE), False
    server.cuts = [200, 100]
    assert download.install(dataset(server), tmp_path).is_dir()


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    server.body = tar(TREE)
    part = tmp_path / download.DOWNLOADS / "words.tar.gz.part"
    part.parent.mkdir()
    part.write_bytes(server.body)
    assert download.install(dataset(server), tmp_path).is_dir()
    part.parent.mkdir()
    part.write_bytes(server.body + b"more")
    assert download.install(dataclasses.replace(dataset(server), name="again"), tmp_path).is_dir()


def test_wrong_hash(server: Server, tmp_path: Path) -> None:
    server.body = tar(TREE)
    with pytest.raises(StreamError, match=r"is not the file it should be .its md5 differs"):
        download.install(dataset(server, "md5:" + "0" * 32), tmp_path)
    assert not (tmp_path / "gsc").exists()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "the bad file is gone"
    assert download.install(dataset(server), tmp_path).is_dir()


def test_contents_that_differ(server: Server, tmp_path: Path) -> None:
    server.body = tar(TREE)
    plain = dataset(server, None)
    assert plain.archive is not None
    digest = hashlib.md5(LISTS["testing_list.txt"]).hexdigest()
    for known, fits in (("0" * 32, False), (digest, True)):
        archive = dataclasses.replace(plain.archive, contents=(("testing_list.txt", f"md5:{known}"),))
        wanted = dataclasses.replace(plain, archive=archive)
        if fits:
            assert download.install(wanted, tmp_path).is_dir()
        else:
            with pytest.raises(StreamError, match=r"md5 of its testing_list.txt differs"):
                download.install(wanted, tmp_path)


def test_not_there_or_refused(server: Server, tmp_path: Path) -> None:
    for status in (404, 503):
        server.status = status
        with pytest.raises(StreamError, match=f"cannot be downloaded .*{status}"):
            download.install(dataset(server), tmp_path)
    assert len(server.requests) == 1 + download.ATTEMPTS, "what is not there is requested once"
    with pytest.raises(StreamError, match="cannot be downloaded freely"):
        download.install(streams.DATASETS["iemocap"], tmp_path)


def test_never_over_something_else(server: Server, tmp_path: Path) -> None:
    (tmp_path / "gsc").mkdir()
    with pytest.raises(StreamError, match="move it away"):
        download.install(dataset(server), tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StreamError, match="could not be stored"):
        download.install(dataset(server), tmp_path / "file")


def test_an_archive_of_something_else(server: Server, tmp_path: Path) -> None:
    for body, message in ((tar({"a/b": b"x"}), "has no validation_list.txt"), (b"hello", "neither a zip nor a tar")):
        server.body = body
        with pytest.raises(StreamError, match=message):
            download.install(dataset(server, None), tmp_path)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("member")
    info.type, info.linkname = kind, target
    return info


# The archives have names, because the bytes of a gzip contain the time: test names made of them would differ from
# worker to worker.
HOSTILE = {
    "up": tar({"../evil": b"x"}),
    "through": tar({"a/../../evil": b"x"}),
    "absolute": tar({"/evil": b"x"}),
    "drive": tar({"C:\\evil": b"x"}),
    "symlink-out": tar({}, link(tarfile.SYMTYPE, "/etc/passwd")),
    "symlink-in": tar({}, link(tarfile.SYMTYPE, "inside")),
    "hardlink": tar({}, link(tarfile.LNKTYPE, "../evil")),
    "device": tar({}, link(tarfile.CHRTYPE, "")),
    "fifo": tar({}, link(tarfile.FIFOTYPE, "")),
    "zip-up": zipped({"../evil": b"x"}),
    "zip-absolute": zipped({"/evil": b"x"}),
    "zip-symlink": zipped({"link": b"/etc/passwd"}, mode=0o120777),
}


@pytest.mark.parametrize("archive", HOSTILE)
def test_hostile_archives(server: Server, tmp_path: Path, archive: str) -> None:
    server.body = HOSTILE[archive]
    with pytest.raises(StreamError, match="is not safe to unpack"):
        download.install(dataset(server), tmp_path / "base")
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()], "nothing was written"


def test_damaged_archives(tmp_path: Path) -> None:
    for name, body in (
        ("a.tar.gz", tar(TREE)[:-200]),
        ("b.zip", zipped(TREE).replace(b"yes/1.wav\nno", b"yes/1.wav\nNO")),
    ):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(StreamError, match="cannot be unpacked"):
            unpack(tmp_path / name, tmp_path / f"{name}.d")
