"""`backup`: as the documentation says, there and back."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, Unchanged

TASKS = ("tones", "noises", "chirps")


@pytest.fixture
def answers(run: Run, data: Path) -> Callable[[Path], list[Any]]:
    """Return what every task of a registry answers by name, every digit of it, and what is answered routed."""

    def predict(registry: Path) -> list[Any]:
        clips = [data / "tones" / "low" / f"{number:02}.wav" for number in range(3)]
        words = ["--top-k", 9, "--format", "json"]
        return [run(registry, "predict", *clips, "--task", task, *words).fine().json for task in (*TASKS, "auto")]

    return predict


@pytest.mark.slow
def test_backed_up_destroyed_and_restored_as_the_documentation_says(
    run: Run, registry: Path, tmp_path: Path, answers: Callable[[Path], list[Any]], unchanged: Unchanged
) -> None:
    before, stats = answers(registry), run(registry, "stats", "--format", "json").fine().json
    copy = tmp_path / "copy"
    with unchanged(registry):
        said = run(registry, "backup", copy).fine()
    assert said.out.startswith("backed up 3 tasks, 3 versions (") and f" to {copy}, as of 20" in said.out
    assert answers(copy) == before  # it is a registry
    assert run(copy, "verify").fine().out.startswith("3 tasks")
    run(registry, "backup", copy).fine()  # answering does not change it
    shutil.rmtree(registry)
    run(copy, "backup", registry).fine()
    run(registry, "verify").fine()
    assert answers(registry) == before
    after = run(registry, "stats", "--format", "json").fine().json
    for report in (stats, after):
        report["storage"].pop("database_bytes")
    assert after == stats
    run(registry, "remove", "chirps").fine()
    run(copy, "backup", registry).refused("was changed since")


def test_what_is_damaged_is_said_and_ends_with_1(run: Run, registry: Path, tmp_path: Path) -> None:
    broken = run(registry, "show", "noises", "--format", "json").json["sha256"]
    (registry / "adapters" / f"{broken}.safetensors").write_bytes(b"rubbish")
    answer = run(registry, "-q", "backup", tmp_path / "copy")
    assert answer.code == 1 and answer.out.startswith("backed up 3 tasks")
    first, second = answer.err.splitlines()
    assert first.startswith('cl-ast: left out: task "noises": ') and broken in first
    assert second == "cl-ast: the backup is not whole: see above for noises"


def test_no_registry_and_no_place_for_it(run: Run, registry: Path, tmp_path: Path) -> None:
    run(tmp_path / "none", "backup", tmp_path / "copy").refused("there is no registry")
    run(registry, "backup", registry).refused("in the registry")
    run(registry, "backup", tmp_path / "no" / "copy").refused("make it, or see whether its disk is mounted")
    assert [path.name for path in tmp_path.iterdir()] == ["registry"]
