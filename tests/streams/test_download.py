"""Tests of downloads, from a server in the test itself."""

import dataclasses
import gzip
import hashlib
import io
import re
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from cl_ast.errors import StreamError
from streams import download
from streams.catalog import Clips, Limit
from streams.unpack import _Target, unpack

LISTS = {"validation_list.txt": b"yes/1.wav\nno/1.wav\n", "testing_list.txt": b"yes/2.wav\nno/2.wav\n"}
TREE = {**LISTS, **{f"{word}/{i}.wav": bytes(1000 * i) for word in ("yes", "no") for i in range(4)}}
LIMIT = Limit(bytes=1_000_000, files=100)


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


def zipped(files: dict[str, bytes], mode: int = 0o100644, kind: int = zipfile.ZIP_STORED) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, kind
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
    archive = streams.Archive(server.url, file, digest, LIMIT)
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
def claiming(size: int) -> bytes:
    """Return a gzipped tar archive with the header of an extended header that claims so many bytes, and zeros."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, size
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(5_000_000))


def sparse() -> tarfile.TarInfo:
    info = tarfile.TarInfo("sparse")
    info.type = tarfile.GNUTYPE_SPARSE
    return info


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
    "bytes": tar({**TREE, "big": bytes(1_000_000)}),
    "zip-bytes": zipped({**TREE, "big": bytes(1_000_000)}),
    "files": tar({**TREE, **{f"f{i}": b"" for i in range(100)}}),
    "zip-files": zipped({**TREE, **{f"f{i}": b"" for i in range(101)}}),
    "folders": tar({**TREE, **{f"{i}/a/b/c/d/e/f": b"" for i in range(20)}}),
    "zip-folders": zipped({**TREE, **{f"{i}/a/b/c/d/e/f": b"" for i in range(20)}}),
    "deep": tar({"a/" * 17 + "b": b""}),
    "zip-deep": zipped({"a/" * 17 + "b": b""}),
    "twice": tar({"a": b"", "./a": b""}),
    "zip-twice": zipped({"a": b"", "./a": b""}),
    "file-and-folder": tar({"a": b"", "a/b": b""}),
    "sparse": tar({}, sparse()),
    "long-header": claiming(2**40),
    "zip-bzip2": zipped({"a": bytes(10)}, kind=zipfile.ZIP_BZIP2),
    "zip-lzma": zipped({"a": bytes(10)}, kind=zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("archive", HOSTILE)
def test_hostile_archives(server: Server, tmp_path: Path, archive: str) -> None:
    server.body = HOSTILE[archive]
    with pytest.raises(StreamError, match="is not safe to unpack"):
        download.install(dataset(server), tmp_path / "base")
    assert [path.name for path in (tmp_path / "base").iterdir()] == [download.DOWNLOADS]
    assert not list((tmp_path / "base" / download.DOWNLOADS).iterdir()), "nothing was left"


def counted(count: Callable[..., None], written: list[int]) -> Callable[..., None]:
    """Return the method that counts, which notes the bytes as well."""

    def noting(self: _Target, *, bytes: int = 0, files: int = 0) -> None:
        written.append(bytes)
        count(self, bytes=bytes, files=files)

    return noting


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "zip", "zip-that-lies"])
def test_a_bomb_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """100 kB that hold 100 MB: no more than the limit is ever on the disk, whatever the archive says of itself."""
    zeros = {"zeros.wav": bytes(100_000_000)}
    data = tar(zeros) if kind == "tar" else zipped(zeros, kind=zipfile.ZIP_DEFLATED)
    if kind == "zip-that-lies":  # in both places that say how long the file is
        data = data.replace((100_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "bomb").write_bytes(data)
    assert len(data) < 200_000
    written: list[int] = []
    monkeypatch.setattr("streams.unpack._Target._count", counted(_Target._count, written))
    with pytest.raises(StreamError, match="not safe to unpack: it has more" if kind != "zip-that-lies" else "CRC"):
        unpack(tmp_path / "bomb", tmp_path / "out", LIMIT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb"]
    assert sum(written) <= LIMIT.bytes + 2**16


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    files=st.dictionaries(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join),
        st.integers(0, 300),
        max_size=6,
    ),
    most_bytes=st.integers(0, 900),
    most_files=st.integers(0, 12),
    as_zip=st.booleans(),
)
def test_what_is_within_the_limit_comes_out_and_nothing_else(
    files: dict[str, int], most_bytes: int, most_files: int, as_zip: bool
) -> None:
    files = {name: size for name, size in files.items() if not any(other.startswith(f"{name}/") for other in files)}
    folders = {"/".join(name.split("/")[:depth]) for name in files for depth in range(1, name.count("/") + 1)}
    with tempfile.TemporaryDirectory() as place:
        archive, out = Path(place, "archive"), Path(place, "out")
        archive.write_bytes((zipped if as_zip else tar)({name: bytes(size) for name, size in files.items()}))
        fits = sum(files.values()) <= most_bytes and len(files) + len(folders) <= most_files
        try:
            unpack(archive, out, Limit(most_bytes, most_files))
        except StreamError:
            assert not fits and not out.exists()
        else:
            assert fits
            found = {p.relative_to(out).as_posix(): p.stat().st_size for p in out.rglob("*") if p.is_file()}
            assert found == files


@pytest.mark.parametrize("change", ["none", "wrong", "missing", "more", "renamed", "inside"])
def test_all_clips_are_those_that_were_published(server: Server, tmp_path: Path, change: str) -> None:
    published = {f"audio/{i}-{i}-A-0.wav": bytes([i]) * 100 for i in range(20)}
    lines = sorted(f"{hashlib.md5(content).hexdigest()}  {name}\n" for name, content in published.items())
    clips = Clips("audio", 20, hashlib.sha256("".join(lines).encode()).hexdigest())
    files = {**LISTS, "README.md": b"may change", **published}
    match change:
        case "wrong":
            files["audio/3-3-A-0.wav"] = bytes([3]) * 99 + b"!"
        case "missing":
            del files["audio/3-3-A-0.wav"]
        case "more":
            files["audio/new.wav"] = b""
        case "renamed":
            files["audio/new.wav"] = files.pop("audio/3-3-A-0.wav")
        case "inside":
            files["audio/deeper/3.wav"] = files.pop("audio/3-3-A-0.wav")
    server.body = zipped({f"ESC-50-master/{name}": content for name, content in files.items()})
    plain = dataset(server, None)
    assert plain.archive is not None
    wanted = dataclasses.replace(plain, archive=dataclasses.replace(plain.archive, clips=clips))
    if change == "none":
        assert (download.install(wanted, tmp_path) / "audio").is_dir()
        return
    says = {"missing": "it has 19 files in audio, not 20", "more": "it has 21 files in audio, not 20"}
    with pytest.raises(StreamError, match=says.get(change, "the SHA-256 over all files in audio differs")):
        download.install(wanted, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [download.DOWNLOADS]


def test_every_free_data_set_has_room_and_a_hash() -> None:
    for dataset in streams.DATASETS.values():
        if dataset.archive is not None:
            assert dataset.archive.hash or (dataset.archive.clips and dataset.archive.contents)
            assert dataset.archive.limit.bytes > 10**9 and dataset.archive.limit.files > 2_000


def test_damaged_archives(tmp_path: Path) -> None:
    for name, body in (
        ("a.tar.gz", tar(TREE)[:-200]),
        ("b.zip", zipped(TREE).replace(b"yes/1.wav\nno", b"yes/1.wav\nNO")),
    ):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(StreamError, match="cannot be unpacked"):
            unpack(tmp_path / name, tmp_path / f"{name}.d", LIMIT)
