"""What the tests of the registry share: an adapter made without torch, a registry with a backbone, real processes."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import places
import pytest
from places import Place

import registry
from registry import BackboneRecord, NewVersion, Registry

BACKBONE = BackboneRecord("ast-mini", "f" * 64, 1_000_000, 4_000_000, b"constants")


def make_adapter(fill: int = 0, floats: int = 64, **words: object) -> bytes:
    """A small safetensors file as cl_ast writes it; `fill`, under 255 (which is NaN), makes it differ from others."""
    tensor = bytes([fill % 256]) * (4 * floats)
    own = {"format": 1, "front_end": {"mel_bins": 128}, **words}
    header = json.dumps(
        {
            "__metadata__": {"cl_ast": json.dumps(own), "format": "pt"},
            "layer.0.q.a": {"dtype": "F32", "shape": [floats], "data_offsets": [0, len(tensor)]},
        }
    ).encode()
    return len(header).to_bytes(8, "little") + header + tensor


def make_new(labels: tuple[str, ...] = ("dog", "rain"), **options: object) -> NewVersion:
    values: dict[str, object] = {
        "method": "lora:qv,r=6",
        "labels": labels,
        "trainable_parameters": 64,
        "seed": 7,
        "seconds": 1.5,
        "source": {"folder": "clips", "fold": 5},
        "data_fingerprint": "d" * 64,
        "protocol": "fold 5",
        "packages": {"torch": "2.11.0"},
        "learned_accuracy": 0.9,
        "training": {"epochs": 20, "learning_rate": 1e-3, "stopped": None},
    }
    return NewVersion(**{**values, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def adapter() -> Callable[..., bytes]:
    return make_adapter


@pytest.fixture(scope="session")
def new() -> Callable[..., NewVersion]:
    return make_new


@pytest.fixture(scope="session")
def backbone() -> BackboneRecord:
    return BACKBONE


@pytest.fixture
def tensors() -> Callable[[bytes], bytes]:
    """The part of a safetensors file that must never change."""
    return lambda data: data[8 + int.from_bytes(data[:8], "little") :]


@pytest.fixture(scope="session")
def template() -> Iterator[str]:
    """A database with the empty tables of a registry: copying it is quicker than making them."""
    name = places.new_database()
    with tempfile.TemporaryDirectory() as folder:
        Registry.open(places.database(name, Path(folder)).location).close()
    yield name
    places.drop(name)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Where a registry can be made: each test of the registry runs on both databases."""
    if request.param == "sqlite":
        yield places.folder(tmp_path / "reg")
        return
    if not places.SERVER:
        pytest.skip(places.NO_SERVER)
    empty = "nothing_made" in request.keywords
    name = places.new_database("template0" if empty else request.getfixturevalue("template"))
    adapters = tmp_path / "reg" / "adapters"
    if not empty:
        adapters.mkdir(parents=True)
    yield places.database(name, adapters)
    places.drop(name)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nothing_made: on a database without tables")


@pytest.fixture
def reg(place: Place) -> Iterator[Registry]:
    with Registry.open(place.location) as made:
        made.set_backbone(BACKBONE)
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    """For what only SQLite has: a database that is a file."""
    return places.folder(tmp_path / "reg")


@pytest.fixture
def local(folder: Place) -> Registry:
    """A registry in that folder."""
    made = Registry.open(folder.location)
    made.set_backbone(BACKBONE)
    return made


@pytest.fixture(scope="session")
def python() -> Callable[..., "subprocess.Popen[str]"]:
    """Starts a real process running a script, which finds `registry` and this file's helpers (`import conftest`)."""
    root = Path(registry.__file__).parent.parent

    def start(script: str, *arguments: object, before: Sequence[str] = ()) -> "subprocess.Popen[str]":
        path = os.pathsep.join([str(root), str(Path(__file__).parent)])
        return subprocess.Popen(
            [*before, sys.executable, "-c", script, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
