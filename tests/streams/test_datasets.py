"""Tests of each published data set on a small folder in its published layout."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import streams
from cl_ast.errors import StreamError

Make = Callable[..., Path]
Clips = Sequence[streams.Clip]


def names(clips: Clips) -> set[str]:
    return {clip.path.name for clip in clips}


# How each is split.


def test_esc50(esc50: Path) -> None:
    task = streams.load("esc50", data=esc50)
    assert task.name == "esc50" and task.labels == ("dog", "rain", "water_drops")
    assert task.protocol == "fold 5 tests, fold 4 validates, folds 1, 2, 3 train"
    assert (len(task.train), len(task.validation), len(task.test)) == (9, 3, 3)
    assert task.clip_seconds == 5.0
    assert {name[0] for name in names(task.test)} == {"5"}
    assert streams.load("esc50", data=esc50, fold=1).protocol.startswith("fold 1 tests, fold 5 validates")
    assert streams.reload(task.source) == task
    with pytest.raises(StreamError, match="no fold 6; choose one of 1, 2, 3, 4, 5"):
        streams.load("esc50", data=esc50, fold=6)
    with pytest.raises(StreamError, match="keeps its published split"):
        streams.load("esc50", data=esc50, split_by="random")


def test_us8k(us8k: Path) -> None:
    task = streams.load("us8k", data=us8k, max_seconds=3.0)
    assert task.labels == ("air_conditioner", "car_horn", "dog_bark")
    assert task.protocol == "fold 10 tests, fold 9 validates, folds 1, 2, 3, 4, 5, 6, 7, 8 train"
    assert {clip.path.parent.name for clip in task.validation} == {"fold9"}
    assert task.clip_seconds == 3.0
    assert len(streams.load("us8k", data=us8k, few_shot=2).train) == 6


def test_gsc(gsc: Path) -> None:
    task = streams.load("gsc", data=gsc)
    assert task.labels == ("marvin", "no", "yes") and task.clip_seconds == 1.0
    assert names(task.train) == {"aa_nohash_0.wav", "dd_nohash_0.wav"}
    assert names(task.validation) == {"bb_nohash_0.wav"} and names(task.test) == {"cc_nohash_0.wav"}
    with pytest.raises(StreamError, match="no folds"):
        streams.load("gsc", data=gsc, fold=1)


def test_fsc(fsc: Path) -> None:
    task = streams.load("fsc", data=fsc)
    assert task.labels == ("activate_lights_kitchen", "activate_music_none", "change language_none_none")
    assert {clip.path.parent.name for clip in task.validation} == {"validSpeaker"}
    assert (len(task.train), len(task.validation), len(task.test), task.clip_seconds) == (3, 3, 3, 4.0)


def test_iemocap(iemocap: Path) -> None:
    task = streams.load("iemocap", data=iemocap)
    assert task.labels == ("neu", "hap", "sad", "ang") and task.clip_seconds == 8.0
    assert task.protocol == "fold 10 tests, fold 9 validates, folds 1, 2, 3, 4, 5, 6, 7, 8 train"
    assert all("Session5" in clip.path.parts and "_M00" in clip.path.name for clip in task.test)
    assert all("Session5" in clip.path.parts and "_F00" in clip.path.name for clip in task.validation)
    assert not any("Session5" in clip.path.parts for clip in task.train)
    assert (len(task.train), len(task.validation), len(task.test)) == (80, 10, 10)
    assert {clip.label for clip in task.test if clip.path.stem.endswith("2")} == {"hap"}
    assert streams.load("iemocap", data=iemocap, fold=3).protocol.startswith("fold 3 tests, fold 4 validates")


# Where data sets are looked for.


def test_places(esc50: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = str(esc50)
    assert streams.load("esc50", data=tmp_path).source.data == at
    assert streams.load("esc50", data_root=tmp_path).source.data == at
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path / name)
    shutil.copytree(esc50, tmp_path / "cl-ast" / "datasets" / "esc50")
    task = streams.load("esc50")
    assert task.source.data == str(tmp_path / "cl-ast" / "datasets" / "esc50")
    assert task.fingerprint() == streams.load("esc50", data=at).fingerprint()


@pytest.mark.parametrize("word", list(streams.DATASETS))
def test_not_there(word: str, tmp_path: Path) -> None:
    dataset = streams.DATASETS[word]
    with pytest.raises(StreamError) as caught:
        streams.load(word, data_root=tmp_path, download=not dataset.downloadable)
    message = str(caught.value)
    assert str(tmp_path / word / dataset.needs[0]) in message and dataset.page in message and "--data DIR" in message
    assert ("--download" in message) == dataset.downloadable == (word in ("esc50", "us8k", "gsc"))
    with pytest.raises(StreamError, match="looked for"):
        streams.load(word, data=tmp_path / "nowhere")


def test_a_folder_of_clips_is_no_data_set(tmp_path: Path, wav: Make) -> None:
    wav(tmp_path / "us8k" / "dog" / "a.wav")
    with pytest.raises(StreamError, match=r"us8k is there, but not metadata.*give its path as the task"):
        streams.load("us8k", data_root=tmp_path)


# Data sets that are not complete.


def test_half_unpacked_tables(esc50: Path, us8k: Path, fsc: Path) -> None:
    next((esc50 / "audio").glob("2-*")).unlink()
    with pytest.raises(StreamError, match=r"1 of 15 clips are missing, the first is audio/2-.*unpack"):
        streams.load("esc50", data=esc50)
    shutil.rmtree(us8k / "audio" / "fold3")
    with pytest.raises(StreamError, match=r"3 of 30 clips are missing, the first is audio/fold3/"):
        streams.load("us8k", data=us8k)
    (fsc / "data" / "test_data.csv").unlink()
    with pytest.raises(StreamError, match=r"there is no data/test_data.csv: .* half unpacked"):
        streams.load("fsc", data=fsc)


def test_half_unpacked_lists_and_sessions(gsc: Path, iemocap: Path) -> None:
    (gsc / "no" / "cc_nohash_0.wav").unlink()
    with pytest.raises(StreamError, match=r"1 of 3 clips of testing_list.txt are missing, the first is no/cc_"):
        streams.load("gsc", data=gsc)
    (gsc / "testing_list.txt").unlink()
    with pytest.raises(StreamError, match=r"no testing_list.txt"):
        streams.load("gsc", data=gsc)
    shutil.rmtree(iemocap / "Session4" / "sentences")
    with pytest.raises(StreamError, match=r"no Session4/sentences/wav"):
        streams.load("iemocap", data=iemocap)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("filename,fold", "name,fold", "no column 'filename'; it has name, fold"),
        ("A-38.wav,1,38", "A-38.wav,1,x", "class number 'x' of 'water_drops' is not a number"),
        ("A-38.wav,1,38", "A-38.wav,1,10", "class 10 is both"),
        ("A-38.wav,1,38,water_drops", "A-38.wav,1,39,water_drops", "two class numbers have the same name"),
        ("1-100038-A-38.wav", "../1.wav", "leads out"),
        ("1-100038-A-38.wav", "1-10000-A-0.wav", "is listed 2 times"),
    ],
)
def test_a_table_that_does_not_fit(esc50: Path, old: str, new: str, message: str) -> None:
    path = esc50 / "meta" / "esc50.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(StreamError, match=message):
        streams.load("esc50", data=esc50)


def test_the_catalog_is_complete() -> None:
    assert list(streams.DATASETS) == ["esc50", "us8k", "gsc", "fsc", "iemocap", "fsd50k"]
    for name, dataset in streams.DATASETS.items():
        assert dataset.name == name and dataset.title and dataset.licence and dataset.page.startswith("https://")
        assert dataset.domain in ("sound", "speech") and dataset.clip_seconds > 0
        assert dataset.archive is None or dataset.archive.hash or dataset.archive.contents
    with pytest.raises(TypeError):
        streams.DATASETS["fma"] = streams.DATASETS["gsc"]  # type: ignore[index]


def test_import_is_light() -> None:
    import subprocess
    import sys

    code = "import sys, streams; print(*(m for m in ('pooch', 'soundfile', 'numpy', 'torch') if m in sys.modules))"
    root = Path(streams.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
