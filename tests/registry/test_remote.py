"""Adapters in a bucket: moto's server stands for S3, s3fs talks to it as to the real one, over the network."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from places import SERVER, Place

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import BackboneRecord, NewVersion, Registry, TaskRecord
from registry.locations import locate

pytest.importorskip("s3fs", reason="pip install 'cl-ast[s3]'")
server = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")

# Once: the stores know nothing of the databases.
pytestmark = pytest.mark.parametrize("place", ["postgres" if SERVER else "sqlite"], indirect=True)

Make = Callable[..., bytes]
New = Callable[..., NewVersion]
Python = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    yield running.get_host_and_port()
    running.stop()


@pytest.fixture(scope="module")
def files(address: tuple[str, int]) -> Any:
    """All buckets, past the registry, for all tests: to make a client takes a tenth of a second."""
    from s3fs import S3FileSystem  # type: ignore[import-untyped]

    where = "http://{}:{}".format(*address)
    return S3FileSystem(
        key="key", secret="hunter2", endpoint_url=where, skip_instance_cache=True, use_listings_cache=False
    )


@pytest.fixture
def bucket(files: Any, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["Bucket"]:
    """A new one, found as boto finds a real one: by the environment."""
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 1)
    for name, value in {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*address),
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"team-{tmp_path.name.replace('_', '-').lower()[-40:]}"
    files.mkdir(name)
    yield Bucket(files, f"{name}/our adapters")
    files.rm(name, recursive=True)


class Bucket:
    """What lies there, seen and changed without the registry."""

    def __init__(self, files: Any, root: str) -> None:
        self.files, self.root = files, root

    def names(self) -> set[str]:
        return {path.rpartition("/")[2] for path in self.files.find(self.root, maxdepth=1)} - {"registry-id"}

    def trash(self) -> set[str]:
        return {path.rpartition("/")[2] for path in self.files.find(f"{self.root}/trash")}

    def put(self, name: str, data: bytes) -> None:
        self.files.pipe_file(f"{self.root}/{name}", data)

    def get(self, name: str) -> bytes:
        return bytes(self.files.cat_file(f"{self.root}/{name}"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def team(place: Place, bucket: Bucket, cache: Path) -> str:
    """A registry's location: on a server where there is one, with the adapters in the bucket."""
    database = str(place.location).partition("?")[0]
    if isinstance(place.location, Path):
        database = f"sqlite:///{place.location}/registry.db"
    return f"{database}?adapters=s3://{bucket.root.replace(' ', '%20')}&cache={cache}"


@pytest.fixture
def shared(team: str, backbone: BackboneRecord) -> Iterator[Registry]:
    with Registry.open(team) as made:
        made.set_backbone(backbone)
        yield made


def file_of(task: TaskRecord) -> str:
    return f"{task.version.adapter_sha256}.safetensors"


def test_a_team_learns_replaces_renames_and_removes(
    team: str, shared: Registry, bucket: Bucket, cache: Path, adapter: Make, new: New, tensors: Make
) -> None:
    shared.commit("a", adapter(1), new())
    shared.commit("a", adapter(2), new(), replace=True)
    kept = shared.rename("a", "birds")
    shared.commit("b", adapter(3), new())
    shared.remove("b")
    former = bucket.trash()
    assert shared.undo().now == "task b is here with 1 version" and len(former) == len(bucket.trash()) + 1
    assert shared.read_adapter(shared.task("b").version) and shared.verify() == []
    shared.undo()
    assert bucket.trash() == former
    address = locate(team).files.address(kept.version.adapter_sha256)
    assert address == f"s3://{bucket.root}/{file_of(kept)}"
    assert tensors(shared.read_adapter(kept.version)) == tensors(adapter(2)) and shared.verify() == []
    assert len(bucket.names()) == 2 and shared.overview().storage.adapter_bytes == kept.version.adapter_bytes
    (old,) = shared.gc(dry_run=True).dropped
    assert old.why == 'version 1 of task "birds" is not the current one'
    shared.gc()
    assert bucket.names() == {file_of(kept)} == {path.name for path in cache.iterdir()}


def test_a_cached_file_is_read_without_the_network_and_a_damaged_one_fetched_again(
    shared: Registry, bucket: Bucket, cache: Path, adapter: Make, new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = shared.commit("a", adapter(1, floats=5_000), new())
    near, data = cache / file_of(task), shared.read_adapter(task.version)
    with monkeypatch.context() as offline:
        offline.setattr("registry.remote_store.RemoteStore.read", lambda *_: pytest.fail("went to the network"))
        assert shared.read_adapter(task.version) == data == near.read_bytes()
    near.write_bytes(data[:-1] + b"x")
    assert shared.read_adapter(task.version) == data == near.read_bytes()
    near.unlink()
    assert shared.read_adapter(task.version) == data == near.read_bytes()


def test_a_flipped_byte_in_the_bucket_concerns_one_task(
    shared: Registry, bucket: Bucket, cache: Path, adapter: Make, new: New
) -> None:
    good, bad = (shared.commit(name, adapter(i), new()) for i, name in enumerate(("good", "bad")))
    data = bucket.get(file_of(bad))
    bucket.put(file_of(bad), data[:-1] + bytes([data[-1] ^ 1]))
    assert [problem.task for problem in shared.verify()] == ["bad"], "though a whole copy is in the cache"
    for path in cache.iterdir():
        path.unlink()
    with pytest.raises(CorruptRegistryError, match=r'"bad".*s3://'):
        shared.read_adapter(bad.version)
    assert shared.read_adapter(good.version) and [path.name for path in cache.iterdir()] == [file_of(good)]


@pytest.mark.slow
def test_rebuild_from_the_bucket_alone(
    place: Place, team: str, shared: Registry, bucket: Bucket, adapter: Make, new: New
) -> None:
    for i, name in enumerate("ab"):
        shared.commit(name, adapter(i), new())
    before = shared.tasks()
    bucket.put(f"{'0' * 64}.safetensors", b"half of a file")
    place.lose()
    with pytest.raises(CorruptRegistryError, match="s3://"):
        Registry.open(team)
    report = Registry.rebuild(team)
    assert (report.tasks, [problem.place[-76:] for problem in report.skipped]) == (2, [f"{'0' * 64}.safetensors"])
    with Registry.open(team) as again:
        assert again.tasks() == before and again.verify() == []
        assert [file.why for file in again.gc().dropped] == ["it is damaged, and nothing names it"]
        assert [name[9:] for name in bucket.trash()] == [f"{'0' * 64}.safetensors"]


def test_an_interrupted_upload_counts_for_nothing(
    team: str,
    address: tuple[str, int],
    bucket: Bucket,
    adapter: Make,
    new: New,
    backbone: BackboneRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cut_after(200_000, address) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        with Registry.open(team) as reg:
            reg.set_backbone(backbone)
            with pytest.raises(RegistryError, match="cannot write an adapter into s3://"):
                reg.commit("a", adapter(1, floats=100_000), new())
            assert reg.tasks() == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*address))
    with Registry.open(team) as reg:
        assert reg.tasks() == [] and reg.verify() == [] and bucket.names() == set()
        assert reg.commit("a", adapter(1, floats=100_000), new()).version.number == 1


DIES = """
import os, sys
from conftest import make_adapter, make_new
from registry import Registry, crash_points
crash_points.hook = lambda step: os._exit(9) if step == "commit" else None
Registry.open(sys.argv[1]).commit("a", make_adapter(1), make_new())
"""


@pytest.mark.slow
def test_dying_between_the_upload_and_the_row(team: str, shared: Registry, bucket: Bucket, python: Python) -> None:
    process = python(DIES, team)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 9, errors
    assert shared.tasks() == [] and len(shared.verify()) == 1 == len(bucket.names())
    (left,) = shared.gc().unnamed
    assert left.task == "a" and bucket.names() == {left.name}, "nobody knows whether it is needed"
    assert len(shared.gc(["a"]).dropped) == 1 and bucket.names() == set() and len(bucket.trash()) == 1


def test_no_such_bucket(place: Place, team: str, shared: Registry, adapter: Make, new: New) -> None:
    with Registry.open(team.replace("s3://", "s3://another-")) as lost:
        with pytest.raises(RegistryError, match=r"cannot write an adapter into s3://another.*does not exist") as caught:
            lost.commit("a", adapter(), new())
        assert "hunter2" not in str(caught.value) and lost.tasks() == []


class cut_after:  # noqa: N801
    """A way to the server that is cut once so many bytes have gone there."""

    def __init__(self, most: int, server: tuple[str, int]) -> None:
        self.left, self.server = most, server
        self.ear = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> int:
        threading.Thread(target=self.listen, daemon=True).start()
        return int(self.ear.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.ear.close()

    def listen(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.ear.accept()
                threading.Thread(target=self.carry, args=(near,), daemon=True).start()

    def carry(self, near: socket.socket) -> None:
        with closing(near), closing(socket.create_connection(self.server)) as far, suppress(OSError):
            back = threading.Thread(target=self.bring, args=(far, near), daemon=True)
            back.start()
            while data := near.recv(65536):
                self.left -= len(data)
                if self.left < 0:
                    return
                far.sendall(data)

    def bring(self, far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                near.sendall(data)
