"""Tests on real recordings, if there are any beside the checkout."""

from pathlib import Path

import pytest

import streams
from streams.metadata import read_metadata

DATA = (Path(__file__).resolve().parents[2].parent / "shared" / "data").resolve()

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not here")


def columns(name: str) -> dict[Path, tuple[str, str]]:
    root = DATA / name
    return {r.path: (r.speaker, r.fold) for r, _ in read_metadata(root / "metadata.csv", root)}


def check_disjoint(task: streams.Task, values: dict[Path, str]) -> list[set[str]]:
    parts = [{values[clip.path] for clip in part} for part in (task.train, task.validation, task.test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    return parts


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_labels", "n"), [("fsdd", 10, 2500), ("asc", 12, 2880), ("emodb", 7, 408)])
def test_speakers_are_unseen(name: str, n_labels: int, n: int) -> None:
    task = streams.load(DATA / name)
    check_disjoint(task, {path: speaker for path, (speaker, _) in columns(name).items()})
    assert task.name == name and len(task.labels) == n_labels
    assert len(task.train) + len(task.validation) + len(task.test) == n
    assert {clip.label for clip in task.test} == set(task.labels)
    assert 0.2 <= task.clip_seconds <= 10.24
    assert streams.reload(task.source).fingerprint() == task.fingerprint()


@pytest.mark.slow
def test_esc10_keeps_its_folds() -> None:
    folds = {path: fold for path, (_, fold) in columns("esc10").items()}
    assert check_disjoint(streams.load(DATA / "esc10"), folds) == [{"1", "2"}, {"3"}, {"4"}]
    assert check_disjoint(streams.load(DATA / "esc10", fold=1), folds) == [{"2", "3"}, {"4"}, {"1"}]


@pytest.mark.slow
def test_us8k_has_two_folds() -> None:
    folds = {path: fold for path, (_, fold) in columns("us8k").items()}
    task = streams.load(DATA / "us8k", name="urban")
    parts = [{folds[clip.path] for clip in part} for part in (task.train, task.validation, task.test)]
    assert parts == [{"1"}, {"1"}, {"2"}]
    assert len(task.train) + len(task.validation) + len(task.test) == 1761
    assert task.clip_seconds == 4.0
