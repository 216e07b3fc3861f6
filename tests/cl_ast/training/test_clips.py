"""Labelled clips as batches: the same whether kept in memory or not, and read before anything is trained."""

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from cl_ast.audio import reading as audio
from cl_ast.audio.clip_reader import read_all
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.audio.reading import Waveform, read
from cl_ast.batching import chunks
from cl_ast.errors import AudioError
from cl_ast.excerpts import Place
from cl_ast.progress import Progress, Step, silent
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training import memory
from cl_ast.training.clips import ClipSet, labelled
from cl_ast.training.feature_files import FeatureFiles
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train
from streams import Clip
from tests.cl_ast.conftest import Fresh, SaveModel, Sine, Toy
from tests.cli.forked import Forked


def test_clips_are_read_in_order(toy_clips: list[Path]) -> None:
    for path, waveform in zip(toy_clips, read_all(toy_clips), strict=True):
        np.testing.assert_array_equal(waveform, audio.read(path))
    assert len(read_all(toy_clips[:1])) == 1
    assert read_all([]) == []


def test_the_first_clip_that_cannot_be_read_is_named(toy_clips: list[Path], tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav: no such file"):
        read_all([*toy_clips[:5], tmp_path / "gone.wav", tmp_path / "also-gone.wav", *toy_clips[5:]])


def test_a_batch_is_the_front_ends_features_and_the_targets_in_the_order_given(toy_clips: list[Path]) -> None:
    clips = ClipSet(toy_clips[:6], [0, 1, 2, 3, 4, 5], LogMelFrontEnd(30))
    clips.load("reading")
    features, targets = clips.batch([4, 0, 4])
    assert targets.tolist() == [4, 0, 4]
    expected = LogMelFrontEnd(30)([audio.read(toy_clips[index]) for index in (4, 0, 4)])
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


def test_clips_that_do_not_fit_into_memory_are_the_same_batches(toy_clips: list[Path]) -> None:
    targets = [n % 2 for n in range(len(toy_clips))]
    kept = ClipSet(toy_clips, targets, LogMelFrontEnd(30))
    streamed = ClipSet(toy_clips, targets, LogMelFrontEnd(30), cache_bytes=1000)
    for clips in (kept, streamed):
        clips.load("reading")
    assert len(kept) == len(streamed) == 48
    for ours, theirs in zip(kept.batch(range(3, 20)), streamed.batch(range(3, 20)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_kept_clips_are_not_read_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = toy(0, 8)
    clips.load("reading")

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(audio, "read", refuse)
    assert clips.batch(range(8))[0].shape == (8, 30, 128)


def test_reading_is_reported_and_stops_at_a_bad_clip(toy_clips: list[Path], tmp_path: Path) -> None:
    steps: list[Step] = []
    many = [*toy_clips, *toy_clips]  # more than one chunk
    ClipSet(many, [0] * 96, LogMelFrontEnd(30)).load("reading", steps.append)
    assert [(step.stage, step.done, step.total) for step in steps] == [("reading", 64, 96), ("reading", 96, 96)]
    (tmp_path / "bad.wav").write_text("a letter")
    for cache_bytes in (0, 2**20):
        clips = ClipSet([toy_clips[0], tmp_path / "bad.wav"], [0, 1], LogMelFrontEnd(30), cache_bytes=cache_bytes)
        with pytest.raises(AudioError, match=r"bad\.wav"):
            clips.load("reading")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["memory", "file"])
def test_from_the_second_epoch_on_no_clip_is_opened(
    fresh: Fresh, toy_clips: list[Path], tmp_path: Path, place: str
) -> None:
    """The clips are deleted after the first epoch, and the weights are the same as without that."""
    budget = None if place == "memory" else 0
    kept, _ = _trained(fresh, toy_clips, None)
    folder = tmp_path / "clips"
    shutil.copytree(toy_clips[0].parent, folder)

    def delete(step: Step) -> None:
        if step.stage == "training":
            shutil.rmtree(folder, ignore_errors=True)

    deleted, _ = _trained(fresh, sorted(folder.iterdir()), budget, delete)
    assert not folder.exists()
    assert all(torch.equal(tensor, deleted.state()[name]) for name, tensor in kept.state().items())
    assert bool(list(tmp_path.rglob("*.features"))) == (place == "file")


@pytest.mark.slow
def test_clips_that_fit_nowhere_train_the_same_task(
    fresh: Fresh, toy_clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, _ = _trained(fresh, toy_clips, None)
    monkeypatch.setenv("CL_AST_CACHE_GB", "0")
    computed, reads = _trained(fresh, toy_clips, 0)
    assert all(torch.equal(tensor, computed.state()[name]) for name, tensor in kept.state().items())
    assert len(reads) > 3  # each epoch reads again


def test_a_clip_that_goes_away_stops_a_training_that_reads_ahead(
    fresh: Fresh, toy_clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_AST_CACHE_GB", "0")
    folder = tmp_path / "clips"
    shutil.copytree(toy_clips[0].parent, folder)
    before = threading.active_count()

    def delete(step: Step) -> None:
        if step.stage == "training":
            shutil.rmtree(folder, ignore_errors=True)

    with pytest.raises(AudioError, match="no such file"):
        _trained(fresh, sorted(folder.iterdir()), 0, delete)
    assert threading.active_count() == before


def _trained(
    fresh: Fresh, paths: list[Path], budget: int | None, progress: Progress = silent
) -> tuple[TaskModel, list[int]]:
    """Train with masks, so that features are needed in every epoch; return how many clips each call read, too."""
    reads: list[int] = []

    def read(some: Sequence[Place]) -> list[Waveform]:
        reads.append(len(some))
        return read_all(some)

    model = fresh("lora", labels=("tone", "noise"), frames=30)
    training, validation = (
        ClipSet(some, [n % 2 for n in range(len(some))], LogMelFrontEnd(30), cache_bytes=budget, read=read)
        for some in (paths[:32], paths[32:])
    )
    options = Hyperparameters(epochs=3, batch_size=8, head="fresh", frequency_mask=8, time_mask=4)
    train(model, training, validation, options, progress)
    return model, reads


# Prints by how many bytes a training of so many clips adds to the peak of this process.
_PEAK = """
import sys
from pathlib import Path
import numpy as np
import torch
from cl_ast.adapters.spec import parse
from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.backbone import pretrained
from cl_ast.tasks.task_model import TaskModel, TaskSettings
from cl_ast.training import memory
from cl_ast.training.clips import ClipSet
from cl_ast.training.options import Hyperparameters
from cl_ast.training.trainer import train

class Quick(LogMelFrontEnd):
    def __call__(self, waveforms, device="cpu"):
        return torch.randn(len(waveforms), *self.shape)

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024

def run(clips):
    front_end = Quick(128)
    backbone = pretrained.load(sys.argv[1])
    model = TaskModel.fresh(TaskSettings("toy", parse("linear"), ("a", "b"), front_end), backbone, torch.Generator())
    sets = [
        ClipSet([Path(f"/none/{clips}/{number}") for number in range(count)], [n % 2 for n in range(count)], front_end,
                cache_bytes=2**20, read=lambda paths: [np.zeros(160, np.float32)] * len(paths))
        for count in (clips, 12)
    ]
    train(model, *sets, Hyperparameters(epochs=1, batch_size=25, head="fresh", time_mask=2))

run(250)
before = peak()
run(2_500)
print(peak() - before)
raise SystemExit
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much memory is used")
def test_the_memory_of_a_training_does_not_grow_with_its_clips(save_backbone: SaveModel, tmp_path: Path) -> None:
    """2,500 clips have 164 MB of features. What is more than the budget of 1 MiB goes to a file."""
    backbone = save_backbone(
        tmp_path / "backbone", num_hidden_layers=1, time_stride=100
    )  # few tokens, quick to compute
    run = Forked(backbone, first=_PEAK)
    out, err = run.communicate()
    assert run.returncode == 0, err
    assert int(out) < 80e6


def test_chunks_cover_everything_once() -> None:
    assert [list(part) for part in chunks(5, 2)] == [[0, 1], [2, 3], [4]]
    assert list(chunks(0, 2)) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("place", ["gpu", "memory", "file", "nowhere"])
def test_a_gpu_gets_the_same_batches_from_wherever_they_are(
    toy_clips: list[Path], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    targets = list(range(48))
    on_cpu = ClipSet(toy_clips, targets, LogMelFrontEnd(30))
    on_cpu.load("reading")
    if place != "gpu":
        monkeypatch.setattr(memory, "_free_on_gpu", lambda _: 0)
    if place == "nowhere":
        monkeypatch.setenv("CL_AST_CACHE_GB", "0")
    budget = 2**30 if place in ("gpu", "memory") else 0
    clips = ClipSet(toy_clips, targets, LogMelFrontEnd(30), device="cuda", cache_bytes=budget)
    clips.load("reading")
    batches = [list(part) for part in chunks(48, 7)]
    with clips.ahead(batches):
        for batch in batches:
            features, found = clips.batch(batch)
            assert features.device.type == found.device.type == "cuda"
            assert found.tolist() == batch
            torch.testing.assert_close(features.cpu(), on_cpu.batch(batch)[0], rtol=0, atol=2e-3)


@pytest.fixture
def longer_clips(tmp_path: Path, sine: Sine) -> list[Clip]:
    """Two clips of 1.2 s with a call at 0.3 s and a fainter one at 0.9 s, and one of 0.3 s between them."""
    long = 0.001 * np.random.default_rng(0).normal(size=19_200).astype(np.float32)
    long[4_800:9_600] += sine(500, 0.3)
    long[14_400:] += sine(900, 0.3, level=0.3)
    for name, clip in (("a", long), ("short", sine(400, 0.3)), ("b", long)):
        soundfile.write(tmp_path / f"{name}.wav", clip, 16_000, subtype="FLOAT")
    return [Clip(tmp_path / f"{name}.wav", label) for name, label in (("a", "x"), ("short", "y"), ("b", "y"))]


def test_of_longer_clips_the_stretch_is_taken_that_the_crop_says(longer_clips: list[Clip]) -> None:
    front_end = LogMelFrontEnd(30)
    long, short, _ = (read(clip.path) for clip in longer_clips)
    expected = {
        "start": ([long, short, long], [0, 1, 1]),
        "loudest": ([long[4_800:9_600], short, long[4_800:9_600]], [0, 1, 1]),
        "all": ([long[4_800:9_600], long[14_400:], short, long[4_800:9_600], long[14_400:]], [0, 0, 1, 1, 1]),
    }
    for crop, (stretches, targets) in expected.items():
        found = labelled(longer_clips, ("x", "y"), front_end, crop=crop)
        found.load("reading")
        assert [Path(str(place)).name for place in found.longer] == ["a.wav", "b.wav"]
        features, labels = found.batch(range(len(found)))
        assert labels.tolist() == targets
        torch.testing.assert_close(features, front_end(stretches), rtol=0, atol=0)


def test_a_file_of_features_has_one_crop_and_says_which_clips_are_longer(
    longer_clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "room", lambda _: 0)
    files = FeatureFiles(tmp_path / "features", 2**30)
    first: dict[str, torch.Tensor] = {}
    reads: list[int] = []

    def noted(paths: Sequence[Place]) -> list[Waveform]:
        reads.append(len(paths))
        return read_all(paths)

    for again in (False, True):
        for crop in ("start", "loudest", "all"):
            reads.clear()
            found = labelled(longer_clips, ("x", "y"), LogMelFrontEnd(30), read=noted, crop=crop, files=files)
            found.load("reading")
            assert [Path(str(place)).name for place in found.longer] == ["a.wav", "b.wav"]
            features, _ = found.batch(range(len(found)))
            assert torch.equal(first.setdefault(crop, features), features)
            if again:
                assert sum(reads) == (3 if crop == "all" else 0)  # "all" reads to find the windows
    assert not torch.equal(first["start"], first["loudest"])
    assert len(list(files.folder.glob("*.features"))) == 3


def test_clips_that_fit_nowhere_are_cut_the_same(longer_clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = labelled(longer_clips, ("x", "y"), LogMelFrontEnd(30), crop="loudest")
    monkeypatch.setattr(memory, "room", lambda _: 0)
    monkeypatch.setenv("CL_AST_CACHE_GB", "0")
    nowhere = labelled(longer_clips, ("x", "y"), LogMelFrontEnd(30), crop="loudest")
    for one in (kept, nowhere):
        one.load("reading")
    with nowhere.ahead([[2, 0], [1]]):
        for batch in ([2, 0], [1]):
            assert torch.equal(nowhere.batch(batch)[0], kept.batch(batch)[0])


def test_a_file_of_features_is_of_one_part_of_a_recording(
    toy_clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "room", lambda _: 0)
    files = FeatureFiles(tmp_path / "features", 2**30)

    def features(start: float, end: float) -> torch.Tensor:
        clips = [Clip(path, "x", (start, end)) for path in toy_clips[:2]]
        found = labelled(clips, ("x",), LogMelFrontEnd(30), files=files)
        found.load("reading")
        return found.batch(range(2))[0]

    first, second = features(0.0, 0.1), features(0.1, 0.2)
    assert not torch.equal(first, second)
    assert torch.equal(features(0.0, 0.1), first)
    assert len(list(files.folder.glob("*.features"))) == 2
