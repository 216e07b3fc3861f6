"""Features in files: found again, bounded, safe beside other processes, and never believed when damaged."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cl_ast.audio.log_mel import LogMelFrontEnd
from cl_ast.errors import TrainingError
from cl_ast.training.clips import ClipSet
from cl_ast.training.feature_files import FeatureFiles
from tests.cli.forked import Forked

SHAPE = (4, 16, 128)
BYTES = 4 * 16 * 128 * 4


def _kept(files: FeatureFiles, key: str, fill: float = 1.0) -> bool:
    writer = files.create(key, SHAPE, torch.float32)
    if writer is None:
        return False
    for _ in range(4):
        writer.append(torch.full((1, 16, 128), fill))
    return writer.finish() is not None


def _rows(files: FeatureFiles, key: str) -> Tensor | None:
    found = files.open(key, SHAPE, torch.float32)
    return None if found is None else found.take(range(4))


def _names(files: FeatureFiles) -> list[str]:
    return sorted(path.stem for path in files.folder.glob("*.features"))


@pytest.fixture
def files(tmp_path: Path) -> FeatureFiles:
    return FeatureFiles(tmp_path / "features", 2**30)


@pytest.fixture
def own_clips(toy_clips: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of some toy clips, which a test may change."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for path in toy_clips[:12]:
        (folder / path.name).write_bytes(path.read_bytes())
    return sorted(folder.iterdir())


def _set(paths: list[Path], files: FeatureFiles | None, frames: int = 30) -> ClipSet:
    """A set of clips that may take no memory."""
    return ClipSet(paths, [0] * len(paths), LogMelFrontEnd(frames), cache_bytes=0, files=files)


def test_a_later_run_opens_no_clip(own_clips: list[Path], files: FeatureFiles) -> None:
    computed = ClipSet(own_clips, [0] * 12, LogMelFrontEnd(30))
    computed.load("reading")
    _set(own_clips, files).load("reading")

    def refuse(_: object) -> list[object]:
        raise AssertionError("a clip was read")

    later = ClipSet(own_clips, [0] * 12, LogMelFrontEnd(30), cache_bytes=0, read=refuse, files=files)  # type: ignore[arg-type]
    steps: list[tuple[int, int]] = []
    later.load("reading", lambda step: steps.append((step.done, step.total)))
    assert steps == [(12, 12)]
    assert torch.equal(later.batch(range(12))[0], computed.batch(range(12))[0])


def test_a_clip_that_was_written_again_is_read_again(own_clips: list[Path], files: FeatureFiles) -> None:
    _set(own_clips, files).load("reading")
    os.utime(own_clips[3], ns=(1, 1))
    _set(own_clips, files).load("reading")
    own_clips[3].write_bytes(own_clips[4].read_bytes())
    changed = _set(own_clips, files)
    changed.load("reading")
    assert torch.equal(changed.batch([3])[0], changed.batch([4])[0])
    assert len(_names(files)) == 3


def test_another_front_end_has_features_of_its_own(own_clips: list[Path], files: FeatureFiles) -> None:
    _set(own_clips, files).load("reading")
    other = _set(own_clips, files, frames=20)
    other.load("reading")
    assert other.batch([0])[0].shape == (1, 20, 128)


Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "empty": lambda _: b"",
    "truncated": lambda data: data[:-1],
    "cut in the rows": lambda data: data[:1000],
    "longer": lambda data: data + b"\0",
    "one bit": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    "a word of its description": lambda data: data.replace(b'"shape"', b'"shale"'),
    "no description": lambda data: data[:-40] + bytes(40),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_file_is_made_again(own_clips: list[Path], files: FeatureFiles, damage: Damage) -> None:
    whole = _set(own_clips, files)
    whole.load("reading")
    (path,) = files.folder.glob("*.features")
    before = path.read_bytes()
    path.unlink()
    path.write_bytes(damage(before))
    again = _set(own_clips, files)
    steps: list[int] = []
    again.load("reading", lambda step: steps.append(step.done))
    assert torch.equal(again.batch(range(12))[0], whole.batch(range(12))[0])
    assert path.read_bytes() == before


def test_a_file_of_another_set_is_not_taken(files: FeatureFiles) -> None:
    assert _kept(files, "one", 1.0)
    (files.folder / "one.features").rename(files.folder / "two.features")
    assert _rows(files, "two") is None


def test_the_file_used_longest_ago_goes_first_and_can_still_be_read(tmp_path: Path) -> None:
    files = FeatureFiles(tmp_path, 3 * (BYTES + 1024))
    for number, name in enumerate("abc"):
        assert _kept(files, name, float(number))
        os.utime(tmp_path / f"{name}.features", ns=(number, number))
    reader = files.open("b", SHAPE, torch.float32)  # used now
    assert _kept(files, "d")
    assert _names(files) == ["b", "c", "d"]
    os.utime(tmp_path / "b.features", ns=(1, 1))
    assert _kept(files, "e")
    assert _names(files) == ["c", "d", "e"]
    assert reader is not None
    assert torch.equal(reader.take([2]), torch.ones(1, 16, 128))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * (BYTES + 1024)


@pytest.mark.parametrize("most", [0, BYTES])
def test_what_does_not_fit_is_not_written_and_removes_nothing(
    own_clips: list[Path], toy_clips: list[Path], tmp_path: Path, most: int
) -> None:
    small, large = FeatureFiles(tmp_path / "features", 2**20), FeatureFiles(tmp_path / "features", most)
    assert _kept(small, "small")
    clips = _set(own_clips, large)
    clips.load("reading")
    assert _names(large) == ["small"]
    kept = ClipSet(toy_clips[:12], [0] * 12, LogMelFrontEnd(30))
    kept.load("reading")
    assert torch.equal(clips.batch(range(12))[0], kept.batch(range(12))[0])


def test_a_file_that_becomes_shorter_stops_the_training_and_says_why(files: FeatureFiles) -> None:
    assert _kept(files, "one")
    found = files.open("one", SHAPE, torch.float32)
    assert found is not None
    os.truncate(files.folder / "one.features", 100)
    with pytest.raises(TrainingError, match=r"shorter.*CL_AST_CACHE_GB=0"):
        found.take([1])


def test_a_folder_that_cannot_be_written_stops_nothing(own_clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    clips = _set(own_clips, FeatureFiles(tmp_path / "file" / "features", 2**30))
    clips.load("reading")
    assert clips.batch([1])[0].shape == (1, 30, 128)


def test_what_a_killed_process_left_is_removed_but_not_what_another_writes(files: FeatureFiles) -> None:
    writing = files.create("writing", SHAPE, torch.float32)
    assert writing is not None
    (files.folder / "left.0123.part").write_bytes(bytes(100))
    assert _kept(files, "other")
    parts = [path.name for path in files.folder.glob("*.part")]
    assert len(parts) == 1
    assert parts[0].startswith("writing.")
    writing.close()
    assert not list(files.folder.glob("*.part"))


def test_an_interrupted_reading_leaves_no_file(own_clips: list[Path], files: FeatureFiles) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _set(own_clips, files).load("reading", interrupt)
    assert {path.name for path in files.folder.iterdir()} == {"lock"}


# Reads and writes the same keys as another process, in a folder that has room for half of them.
_BESIDE = """
import sys, torch
from pathlib import Path
from cl_ast.training.feature_files import FeatureFiles
from tests.cli.forked import Forked
files = FeatureFiles(Path(sys.argv[1]), 4 * 33_792)
for turn in range(20):
    for number in range(6):
        found = files.open(str(number), (4, 16, 128), torch.float32)
        if found is None:
            writer = files.create(str(number), (4, 16, 128), torch.float32)
            if writer is None:
                continue
            for _ in range(4):
                writer.append(torch.full((1, 16, 128), float(number)))
            found = writer.finish()
        assert found is not None
        assert torch.equal(found.take(range(4)), torch.full((4, 16, 128), float(number))), number
print("done")
raise SystemExit
"""


@pytest.mark.slow
def test_several_processes_use_one_folder_at_once(tmp_path: Path) -> None:
    running = [Forked(tmp_path, first=_BESIDE) for _ in range(2)]
    assert [process.communicate() for process in running] == [("done\n", "")] * 2
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4 * 33_792
    assert not list(tmp_path.glob("*.part"))


def test_the_environment_names_folder_and_size(
    own_clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_AST_CACHE", str(tmp_path / "elsewhere"))
    _set(own_clips, None).load("reading")
    (path,) = (tmp_path / "elsewhere" / "features").glob("*.features")
    path.unlink()
    monkeypatch.setenv("CL_AST_CACHE_GB", "0")
    _set(own_clips, None).load("reading")
    assert not list(path.parent.glob("*.features"))
    for wrong in ("many", "-1", "nan"):
        monkeypatch.setenv("CL_AST_CACHE_GB", wrong)
        with pytest.raises(TrainingError, match="CL_AST_CACHE_GB"):
            _set(own_clips, None).load("reading")


def test_half_precision_is_kept_as_it_is(files: FeatureFiles) -> None:
    values = torch.randn(SHAPE).half()
    writer = files.create("half", SHAPE, torch.float16)
    assert writer is not None
    writer.append(values)
    writer.finish()
    found = files.open("half", SHAPE, torch.float16)
    assert found is not None
    assert torch.equal(found.take([3, 0]), values[[3, 0]])
    assert files.open("half", SHAPE, torch.float32) is None
