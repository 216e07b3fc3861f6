"""A registry and a task's file of the last release (schema 1, before a version remembered its training) still answer.

`data/last_release` is what that release wrote after learning two classes of tones over today's ast-mini, and what it
answered. `data/former_ast_mini` is the same over the weights that ast-mini had before.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from cl_ast import Manager, Prediction
from cl_ast.audio.reading import Waveform
from cl_ast.errors import RegistryError
from cl_ast.tasks.length import seconds_of
from registry import Registry

DATA = Path(__file__).parent / "data"


def _registry(release: str, folder: Path) -> Path:
    """Make a registry as that release left it; the router's background is left out, which is measured again."""
    (folder / "registry" / "adapters").mkdir(parents=True)
    for path in (DATA / release).glob("*.safetensors"):
        shutil.copy(path, folder / "registry" / "adapters")
    with closing(sqlite3.connect(folder / "registry" / "registry.db")) as connection:
        connection.executescript((DATA / release / "registry.sql").read_text())
    return folder / "registry"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return _registry("last_release", tmp_path)


@pytest.fixture
def tone() -> Waveform:
    return (0.4 * np.sin(2 * np.pi * 300 * np.arange(8000) / 16000)).astype(np.float32)


@pytest.fixture
def answers() -> Any:
    return json.loads((DATA / "last_release" / "answers.json").read_text())


@pytest.mark.slow
def test_its_registry_opens_and_answers_as_before(home: Path, tone: Waveform, answers: Any, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone, 16_000, subtype="FLOAT")
    with Manager.open(home, device="cpu") as manager:
        torch.testing.assert_close(manager.logits([tone], "tones"), torch.tensor([answers["logits"]]))
        with pytest.raises(RegistryError, match=r"another release of cl-ast: rebuild it with `cl-ast route`"):
            list(manager.predict([tmp_path / "tone.wav"]))
        (named,) = manager.predict([tmp_path / "tone.wav"], task="tones")
        assert isinstance(named, Prediction)
        assert [label for label, _ in named.labels] == [one["label"] for one in answers["labels"]]
        assert manager.registry.task("tones").version.training == {}
        assert manager.registry.verify() == []


def test_its_task_hears_a_long_clip_in_windows_and_its_probabilities_are_those_of_its_logits(
    home: Path, tone: Waveform, tmp_path: Path
) -> None:
    long = np.concatenate([np.zeros(16_000, np.float32), np.tile(tone, 3)])
    soundfile.write(tmp_path / "long.wav", long, 16_000, subtype="FLOAT")
    with Manager.open(home, device="cpu") as manager:
        seconds = manager.model("tones").settings.front_end.seconds
        assert seconds_of(manager.registry, manager.registry.task("tones").version) == seconds < 1
        (one,) = manager.predict([tmp_path / "long.wav"], task="tones")
        assert isinstance(one, Prediction)
        assert one.joined is not None
        assert one.taken[0] >= 1 - seconds
        assert one.taken[1] == pytest.approx(2.5)
        (first,) = manager.predict([tmp_path / "long.wav"], task="tones", whole=True)
        assert isinstance(first, Prediction)
        expected = manager.logits([long], "tones")[0].softmax(dim=0).tolist()
        labels = manager.registry.task("tones").labels
        assert dict(first.labels) == pytest.approx(dict(zip(labels, expected, strict=True)))


def test_its_task_file_alone_is_enough(home: Path, tone: Waveform, answers: Any) -> None:
    (home / "registry.db").unlink()
    assert Registry.rebuild(home).tasks == 1
    with Manager.open(home, device="cpu") as manager:
        torch.testing.assert_close(manager.logits([tone], "tones"), torch.tensor([answers["logits"]]))


@pytest.mark.slow
def test_over_the_former_ast_mini_it_opens_and_says_what_to_do(tmp_path: Path, tone: Waveform) -> None:
    home = _registry("former_ast_mini", tmp_path)
    before = (home / "registry.db").stat().st_size
    with Manager.open(home, device="cpu") as manager:
        assert [task.name for task in manager.registry.tasks()] == ["tones"]
        assert manager.stats()["tasks"][0]["accuracy"] == 1.0
        assert manager.registry.verify() == []
        for ask in (lambda: manager.logits([tone], "tones"), lambda: list(manager.predict([tmp_path]))):
            with pytest.raises(RegistryError, match=r"ast-mini of an earlier release.*`cl-ast relearn --to REGISTRY"):
                ask()
        assert [task.name for task in manager.registry.tasks()] == ["tones"]
    assert (home / "registry.db").stat().st_size >= before
