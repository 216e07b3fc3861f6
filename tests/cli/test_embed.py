"""`embed`: one vector for each clip, by the backbone and by adapters, in a file and on a map."""

import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cl_ast.audio.clip_reader import read_all
from cl_ast.manager import Manager
from tests.cli.conftest import Run


def test_a_task_gives_its_clips_with_labels_and_splits_and_its_heads_own_inputs(
    registry: Path, cl: Run, tmp_path: Path
) -> None:
    out = tmp_path / "noises.npz"
    said = cl("embed", "noises", "--task", "noises", "--task", "tones", "--out", out).fine().out
    assert "3 embeddings (backbone, noises, tones) of 20 clips, 32 numbers each" in said
    with np.load(out) as found, Manager.open(registry, device="cpu") as manager:
        assert found["vectors"].shape == (3, 20, 32)
        assert found["vectors"].dtype == np.float32
        assert found["names"].tolist() == ["backbone", "noises", "tones"]
        split = manager.splits("noises")
        expected = [(str(one.path), one.label, name) for name, clips in split.clips.items() for one in clips]
        told = zip(*(found[name].tolist() for name in ("paths", "labels", "splits")), strict=True)
        assert list(told) == expected
        # What the head makes of its adapter's vectors are the task's logits.
        waveforms = read_all([Path(path) for path in found["paths"]])
        for name, vectors in zip(("noises", "tones"), found["vectors"][1:], strict=True):
            head = manager.model(name).head
            logits = F.linear(torch.from_numpy(vectors), head["head.weight"], head["head.bias"])
            torch.testing.assert_close(logits, manager.logits(waveforms, name), rtol=1e-4, atol=1e-5)
        backbone, front_end = manager.backbone, manager.model("noises").settings.front_end
        with torch.inference_mode():
            plain = backbone.norm(backbone.run(backbone.embed(front_end(waveforms, "cpu")))).mean(dim=1)
        np.testing.assert_allclose(found["vectors"][0], plain.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_of_a_layer_as_parquet(registry: Path, cl: Run, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    cl("embed", "noises", "--task", "noises", "--layer", 1, "--out", tmp_path / "one.parquet").fine()
    cl("embed", "noises", "--task", "noises", "--layer", 1, "--out", tmp_path / "one.npz").fine()
    table = parquet.read_table(tmp_path / "one.parquet")
    assert table.column_names == ["path", "label", "split", "vector.backbone", "vector.noises"]
    with np.load(tmp_path / "one.npz") as same, Manager.open(registry, device="cpu") as manager:
        np.testing.assert_array_equal(np.array(table["vector.noises"].to_pylist(), np.float32), same["vectors"][1])
        assert table["label"].to_pylist() == same["labels"].tolist()
        model = manager.model("noises")
        waveforms = read_all([Path(path) for path in same["paths"]])
        with torch.inference_mode(), model.acting():
            tokens = model.embed(model.settings.front_end(waveforms, "cpu"))
            expected = model.backbone.run(tokens, last=1).mean(dim=1)
        np.testing.assert_allclose(same["vectors"][1], expected.numpy(), rtol=1e-4, atol=1e-5)
        assert not np.allclose(same["vectors"][0], same["vectors"][1], atol=1e-3)


def test_clips_need_no_registry_and_no_labels(data: Path, backbone: Path, run: Run, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for clip in sorted((data / "tones" / "low").iterdir())[:3]:
        shutil.copy(clip, flat)
    one = data / "tones" / "high" / "00.wav"
    nowhere = tmp_path / "nowhere"
    run(nowhere, "embed", flat, data / "tones", one, "--backbone", backbone, "--out", tmp_path / "e.npz").fine()
    assert not nowhere.exists()
    with np.load(tmp_path / "e.npz") as found:
        assert found["vectors"].shape == (1, 24, 32)
        assert found["labels"].tolist() == [""] * 3 + ["high"] * 10 + ["low"] * 10 + [""]
        assert set(found["splits"].tolist()) == {""}
        assert np.array_equal(found["vectors"][0, 3], found["vectors"][0, -1])  # the same clip, labelled and not


@pytest.mark.slow
def test_their_maps_are_side_by_side_with_a_shade_and_a_marker_for_each_class(cl: Run, tmp_path: Path) -> None:
    for library in ("sklearn", "matplotlib"):
        pytest.importorskip(library)
    plot = tmp_path / "map.svg"
    cl("embed", "noises", "--task", "noises", "--out", tmp_path / "e.npz", "--plot", plot).fine()
    root = ElementTree.parse(plot).getroot()
    marks = [one for one in root.iter() if one.get("id", "").startswith("PathCollection_")]
    drawn = [[use for use in mark.iter() if use.tag.endswith("}use")] for mark in marks]
    points = [uses for uses in drawn if len(uses) == 10]
    assert len(points) == 2 * 2  # two maps, two classes of ten clips
    hrefs = {uses[0].get("{http://www.w3.org/1999/xlink}href") for uses in points}
    assert len({(use.get("style") or "") for uses in points for use in uses}) == 2
    assert len(hrefs) == 2  # matplotlib draws a marker of each shape from one definition


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tones", "--out", "e.csv"], ["e.csv", "npz or parquet"]),
        (["tones", "--out", "nowhere/e.npz"], ["nowhere", "folder"]),
        (["tones", "--out", "e.npz", "--layer", 3], ["2 layers", "0 (before the first) to 2"]),
        (["tones", "--out", "e.npz", "--task", "birds"], ["birds"]),
        (["birds", "--out", "e.npz"], ["birds", "no such file or folder, and no task"]),
        (["tonse", "--out", "e.npz"], ["no such file or folder, and no task", 'did you mean "tones"?']),
        (["birds", "frogs", "--out", "e.npz"], ["birds", "no such file or folder"]),
        (["empty", "--out", "e.npz"], ["no clip to embed"]),
        (["x" * 300, "--out", "e.npz"], ["no such file or folder"]),
    ],
    ids=lambda one: " ".join(map(str, one))[:40],
)
def test_what_cannot_be_is_said(
    cl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[object], said: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    cl("-q", "embed", *words).refused(*said)
    assert {path.name for path in tmp_path.iterdir() if path.suffix} == set()


def test_a_map_of_few_clips_or_without_the_library_is_refused_before_the_work(
    cl: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    words = ["embed", data / "tones" / "low" / "00.wav", "--out", tmp_path / "e.npz", "--plot", tmp_path / "e.svg"]
    cl("-q", *words).refused("at least 5 clips", "there are 1")
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    cl("-q", *words).refused("pip install 'cl-ast[embed]'")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    cl("-q", "embed", "tones", "--out", tmp_path / "e.parquet").refused("pyarrow", "pip install 'cl-ast[embed]'")
    assert not list(tmp_path.glob("e.*"))
