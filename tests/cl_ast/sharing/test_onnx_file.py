"""A task as one ONNX file: onnxruntime answers as the manager does, and without torch."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from cl_ast.audio.raw_samples import WaveformFrontEnd
from cl_ast.backbone import pretrained
from cl_ast.backbone.backbone import Backbone
from cl_ast.errors import ClAstError, RegistryError
from cl_ast.manager import Manager
from tests.cl_ast.conftest import STABLE, Fresh, Randomise, RegistryOf, SaveModel, commit_model

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "onnx.md"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory, save_backbone: SaveModel) -> Backbone:
    """A backbone of one layer: another would be exported in the same way, which takes seconds."""
    return pretrained.load(str(save_backbone(tmp_path_factory.mktemp("backbone"), num_hidden_layers=1)))


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
    registry_of: RegistryOf,
    backbone: Backbone,
    fresh: Fresh,
    randomise: Randomise,
) -> tuple[Manager, Path]:
    """A manager whose one task, birds, takes 1.2 seconds, and that task as a file in a folder that was not there."""
    place = tmp_path_factory.mktemp("onnx")
    model = randomise(fresh("conformer:r=2,k=3+prefix:n=2", frames=120, temperature=1.7))
    manager = managed(model, backbone, registry_of, place)
    return manager, manager.export("birds", place / "new" / "birds.onnx", format="onnx")


@pytest.mark.parametrize(
    ("config", "method"),
    [({}, "lora:qv,r=2"), (STABLE, "bottleneck:ffn,r=2")],
    ids=["post-norm, merged into the backbone", "pre-norm, computed beside it"],
)
def test_a_backbone_that_takes_samples_is_a_graph_too(
    tmp_path: Path,
    save_wav2vec2: SaveModel,
    registry_of: RegistryOf,
    fresh: Fresh,
    randomise: Randomise,
    config: dict[str, Any],
    method: str,
) -> None:
    backbone = pretrained.load(str(save_wav2vec2(tmp_path / "backbone", num_hidden_layers=1, **config)))
    model = randomise(fresh(method, backbone=backbone))
    model.settings = replace(model.settings, front_end=WaveformFrontEnd(16_000))
    manager = managed(model, backbone, registry_of, tmp_path)
    path = manager.export("birds", tmp_path / "birds.onnx", format="onnx")
    some = clips()[1:]
    expected = manager.logits(some, "birds").detach().numpy()
    np.testing.assert_allclose(answered(path, some)[0], expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def managed(model: Any, backbone: Backbone, registry_of: RegistryOf, place: Path) -> Manager:
    registry = registry_of(place / "registry", backbone)
    commit_model(registry, "birds", model, backbone, data_fingerprint="d" * 64, protocol="none")
    return Manager(registry, device="cpu")


def answered(path: Path, clips: list[Any]) -> list[Any]:
    """Return what onnxruntime answers for clips of any length in one batch."""
    session = onnxruntime.InferenceSession(path)
    samples = int(session.get_modelmeta().custom_metadata_map["samples"])
    waveforms = np.zeros((len(clips), samples), np.float32)
    for row, clip in zip(waveforms, clips, strict=True):
        row[: len(clip)] = clip[:samples]
    lengths = np.array([min(samples, len(clip)) for clip in clips])
    found: list[Any] = session.run(None, {"waveforms": waveforms, "lengths": lengths})
    return found


def clips() -> list[Any]:
    """Return clips that are shorter than a window, shorter than the task takes, as long, longer, and silent."""
    generator = np.random.default_rng(1)
    noise = [generator.normal(0, 0.1, length).astype(np.float32) for length in (300, 9_000, 19_200, 40_000)]
    return [*noise, np.zeros(16_000, np.float32)]


def test_onnxruntime_answers_as_the_manager_and_without_torch(exported: tuple[Manager, Path], tmp_path: Path) -> None:
    manager, path = exported
    expected = manager.logits(clips(), "birds").detach().numpy()
    assert np.ptp(expected) > 0.1
    logits, probabilities = answered(path, clips())
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(answered(path, clips()[1:2])[0], expected[1:2], atol=1e-4)  # a batch of another size
    soundfile.write(tmp_path / "clip.wav", clips()[1], 16_000, subtype="FLOAT")
    answer = next(iter(manager.predict(tmp_path / "clip.wav", task="birds", whole=True)))
    assert answer.ok and probabilities[1].max() == pytest.approx(answer.labels[0][1], abs=1e-4)
    shutil.copy(path, tmp_path)
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    code = found[1] + "\nimport sys\nassert not {'torch', 'cl_ast'} & set(sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert printed.stdout.split()[0] == answer.labels[0][0]


def test_its_metadata_says_what_it_is(exported: tuple[Manager, Path], backbone: Backbone, tmp_path: Path) -> None:
    manager, path = exported
    facts = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    record = manager.show("birds")[0]
    assert json.loads(facts["labels"]) == list(record.version.labels)
    assert (facts["samples"], facts["sample_rate"]) == (str(400 + 160 * 119), "16000")
    assert (facts["task"], facts["version"], facts["sha256"]) == ("birds", "1", record.version.adapter_sha256)
    assert facts["backbone_fingerprint"] == backbone.fingerprint
    written = path.read_bytes()
    with pytest.raises(RegistryError, match="exists: export to a file that is new"):
        manager.export("birds", path, format="onnx")
    with pytest.raises(ClAstError, match="there are folder and onnx"):
        manager.export("birds", tmp_path / "out", format="pickle")
    assert path.read_bytes() == written and [one.name for one in path.parent.iterdir()] == ["birds.onnx"]
