"""A registry and a task's file of the last release (schema 1, before a version remembered its training) still answer.

`data/last_release` is what that release wrote after learning two classes of tones over ast-mini, and what it answered.
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
from registry import Registry

DATA = Path(__file__).parent / "data" / "last_release"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The registry as the last release left it; the router's background is left out, which is measured again."""
    (tmp_path / "registry" / "adapters").mkdir(parents=True)
    for path in DATA.glob("*.safetensors"):
        shutil.copy(path, tmp_path / "registry" / "adapters")
    with closing(sqlite3.connect(tmp_path / "registry" / "registry.db")) as connection:
        connection.executescript((DATA / "registry.sql").read_text())
    return tmp_path / "registry"


@pytest.fixture
def tone() -> Waveform:
    return (0.4 * np.sin(2 * np.pi * 300 * np.arange(8000) / 16000)).astype(np.float32)


@pytest.fixture
def answers() -> Any:
    return json.loads((DATA / "answers.json").read_text())


def test_its_registry_opens_and_answers_as_before(home: Path, tone: Waveform, answers: Any, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone, 16_000, subtype="FLOAT")
    with Manager.open(home, device="cpu") as manager:
        torch.testing.assert_close(manager.logits([tone], "tones"), torch.tensor([answers["logits"]]))
        (routed,) = manager.predict([tmp_path / "tone.wav"])
        assert isinstance(routed, Prediction)
        assert (routed.task, routed.known) == ("tones", True)
        assert routed.task_score == pytest.approx(answers["task_score"], abs=1e-3)
        assert [label for label, _ in routed.labels] == [one["label"] for one in answers["labels"]]
        assert manager.registry.task("tones").version.training == {}
        assert manager.registry.verify() == []


def test_its_task_file_alone_is_enough(home: Path, tone: Waveform, answers: Any) -> None:
    (home / "registry.db").unlink()
    assert Registry.rebuild(home).tasks == 1
    with Manager.open(home, device="cpu") as manager:
        torch.testing.assert_close(manager.logits([tone], "tones"), torch.tensor([answers["logits"]]))
