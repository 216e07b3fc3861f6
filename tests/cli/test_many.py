"""Thousands of tasks: what is listed is complete, though it is not laid out as a few are."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry import BackboneRecord, NewVersion, Registry, header
from registry.adapter_files import digest
from registry.manifest import Manifest
from tests.cli.conftest import Run

COUNT = 1_200
BACKBONE = BackboneRecord("backbone", "f" * 64, 1_000, 4_000)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as `commit` would have left them, and the database made from them: quicker than so many commits."""
    place = tmp_path_factory.mktemp("many")
    (place / "adapters").mkdir()
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    bare = json.dumps({"head.bias": entry}).encode()
    for number in range(COUNT):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        new = NewVersion(method="linear", labels=("a", "b"), trainable_parameters=10, seed=0, seconds=1.0)
        words = Manifest(f"task-{number}", 1, number + 1, moment, moment, BACKBONE, new).to_header()
        data = header.described(len(bare).to_bytes(8, "little") + bare + bytes(4), words)
        (place / "adapters" / f"{digest(data)}.safetensors").write_bytes(data)
    assert Registry.rebuild(place).tasks == COUNT
    return place


@pytest.mark.slow
def test_tasks(many: Path, run: Run) -> None:
    lines = run(many, "tasks").fine().out.splitlines()
    assert len(lines) == COUNT + 1 and lines[0].split()[:2] == ["task", "method"]
    assert [line.split()[:2] for line in lines[1:]] == [[f"task-{i}", "linear"] for i in range(COUNT)]
    assert len({len(line) for line in lines}) == 1
    assert [task["name"] for task in run(many, "tasks", "--format", "json").json] == [f"task-{i}" for i in range(COUNT)]


def test_stats(many: Path, run: Run) -> None:
    out = run(many, "stats").fine().out
    assert f"task-{COUNT - 1} " in out and "storage:" in out and "average accuracy" in out
    assert "left out: 1,200 columns" in out and len(out.splitlines()) < COUNT + 20
    assert len(run(many, "stats", "--format", "csv").fine().out.splitlines()) == COUNT + 1
