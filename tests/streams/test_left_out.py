"""Tests that clips which are left out are counted and said, and that data are refused where a class or fold suffers."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import streams
from cl_ast.errors import StreamError
from streams.folders import OTHER_AUDIO
from streams.metadata import FORMATS

Make = Callable[..., Any]


def names(task: streams.Task) -> set[str]:
    return {clip.path.name for clip in (*task.train, *task.validation, *task.test)}


def fill(folder: Path, n: int, ending: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        (folder / f"other{i}{ending}").write_bytes(b"\0\0\0\x20ftypM4A ")


# Formats.


@pytest.mark.parametrize(
    "ending", [".m4a", ".AAC", ".wma", ".ape", ".voc", ".mp4", ".MKV", ".sph", ".ac3", ".wav.gz", ".amr", ""]
)
def test_a_few_clips_in_other_formats_are_said_and_most_of_a_class_is_refused(classes: Make, ending: str) -> None:
    root = classes(dog=4, rain=4)
    fill(root / "dog" / "deep", 3, ending)
    task = streams.load(root)
    assert len(names(task)) == 4 and task.notes == (
        f"left out, because they are not {FORMATS}: 3 in dog; the first is dog/deep/other0{ending}",
    )
    fill(root / "dog", 2, ending)
    with pytest.raises(
        StreamError,
        match=rf"is not {FORMATS} \(5 of the 9 clips of 'dog' are not\); convert",
    ):
        streams.load(root)


@pytest.mark.parametrize("part", ["train/dog", "val/rain", "test/dog"])
def test_a_class_that_is_lost_in_one_split_is_refused(tmp_path: Path, wav: Make, part: str) -> None:
    for folder in ("train/dog", "train/rain", "val/dog", "val/rain", "test/dog", "test/rain"):
        if folder == part:
            fill(tmp_path / folder, 2, ".m4a")
        else:
            wav(tmp_path / folder / "a.wav")
    with pytest.raises(StreamError, match=rf"{part}/other0.m4a is not wav.*2 of the 2 clips of '{part}'"):
        streams.load(tmp_path)


def test_a_whole_split_or_fold_in_another_format_is_refused(tmp_path: Path, wav: Make) -> None:
    for name in ("test", "fold"):
        parts = ("train", "test") if name == "test" else ("fold1", "fold2", "fold3")
        for part in parts[:-1]:
            for label in ("dog", "rain"):
                wav(tmp_path / name / part / label / "a.wav")
                wav(tmp_path / name / part / label / "b.wav")
        fill(tmp_path / name / parts[-1] / "dog", 2, ".m4a")
        with pytest.raises(StreamError, match=rf"{parts[-1]}/dog/other0.m4a is not wav"):
            streams.load(tmp_path / name)


def test_loose_files_and_empty_folders_are_said_and_links_are_followed(
    classes: Make, wav: Make, tmp_path: Path
) -> None:
    root = classes(dog=4, rain=4)
    fill(root, 1, ".mp4")
    (root / "cat").mkdir()
    (root / "docs").mkdir()
    (root / "docs" / "a.txt").write_text("x")
    wav(tmp_path / "elsewhere" / "a.wav")
    (root / "dog" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "dog" / "round").symlink_to(root)  # which leads back, and must not go on for ever
    task = streams.load(root)
    assert root / "dog" / "more" / "a.wav" in {clip.path for clip in (*task.train, *task.validation, *task.test)}
    assert task.notes == (
        f"left out, because they are not {FORMATS}: 1 in the folder itself; the first is other0.mp4",
        "no clips are in cat, docs",
    )
    fill(tmp_path / "flat", 3, ".m4a")
    with pytest.raises(StreamError, match=r"no clip is in the folder .*because they are not wav.*other0.m4a"):
        streams.load(tmp_path / "flat")


def test_text_beside_clips_is_not_audio(classes: Make) -> None:
    root = classes(dog=4, rain=4)
    for name in ("a.txt", "README", "b.json", "c.lab", "d.TextGrid", "e.png", "f.txt.gz", "g.1"):
        (root / "dog" / name).write_text("some text")
    assert streams.load(root).notes == ()
    assert not OTHER_AUDIO & {".txt", ".csv", ".json", ".jpg", ".png", ".pdf", ".npy", ".mid"}


# Tables.


@pytest.mark.parametrize("more", ["audio/x.wav", "audio/deep/x.FLAC", "x.mp3", "other/x.m4a", "audio/X.OGG"])
def test_clips_that_a_table_does_not_list_are_said(labelled: Make, rows: Make, more: str) -> None:
    root = labelled(rows())
    (root / more).parent.mkdir(parents=True, exist_ok=True)
    (root / more).write_bytes(b"x")
    task = streams.load(root)
    assert task.notes == (f"left out: 1 clip that metadata.csv does not list; the first is {more}",)


def test_background_noise_that_a_table_lists_is_read(labelled: Make, rows: Make) -> None:
    entries = [row | {"file": f"_background_noise_/{i}.wav"} for i, row in enumerate(rows())]
    task = streams.load(labelled(entries))
    assert task.notes == () and len(task.train + task.validation + task.test) == 12


# Published data sets.


@pytest.mark.parametrize("name", list(streams.DATASETS))
def test_endings_in_upper_case_are_read_in_every_data_set(name: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(name)
    before = streams.load(name, data=root)
    for path in list(root.rglob("*.wav")):
        path.rename(path.with_suffix(".WAV"))
    after = streams.load(name, data=root)
    assert {path.upper() for path in names(before)} == {path.upper() for path in names(after)}
    for part in ("train", "validation", "test"):
        assert [clip.label for clip in getattr(before, part)] == [clip.label for clip in getattr(after, part)]


@pytest.mark.parametrize("name", ["esc50", "us8k", "fsc"])
def test_clips_that_a_published_table_does_not_list(name: str, request: pytest.FixtureRequest, wav: Make) -> None:
    root = request.getfixturevalue(name)
    folder = min(root.rglob("*.wav")).parent
    wav(folder / "more.wav")
    assert "more.wav" in streams.load(name, data=root).notes[0]
    for i in range(40):
        wav(folder / f"more{i}.wav")
    with pytest.raises(StreamError, match=r"lists less than half of the clips in \w+; unpack the whole archive again"):
        streams.load(name, data=root)


def test_a_fold_that_the_table_does_not_list_is_refused(us8k: Path) -> None:
    path = us8k / "metadata" / "UrbanSound8K.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "30000" not in line))
    with pytest.raises(StreamError, match=r"lists none of the clips in audio/fold3; unpack the whole archive again"):
        streams.load("us8k", data=us8k)


def test_folds_and_classes_of_published_tables_as_decimals(us8k: Path, esc50: Path) -> None:
    for name, root, table in (("us8k", us8k, "metadata/UrbanSound8K.csv"), ("esc50", esc50, "meta/esc50.csv")):
        before = streams.load(name, data=root)
        path = root / table
        header, *rows = path.read_text().splitlines()
        at = [header.split(",").index(column) for column in ("fold", "classID" if name == "us8k" else "target")]
        cells = [row.split(",") for row in rows]
        text = "\n".join(",".join(c + ".0" if i in at else c for i, c in enumerate(row)) for row in cells)
        path.write_text(f"{header}\n{text}\n")
        after = streams.load(name, data=root)
        assert after.fingerprint() == before.fingerprint() and after.protocol == before.protocol


def test_speech_commands_counts_what_it_leaves_out(gsc: Path, wav: Make) -> None:
    fill(gsc / "yes", 2, ".m4a")
    (gsc / "empty").mkdir()
    assert streams.load("gsc", data=gsc).notes == (
        "left out, because they are no class: _background_noise_ (1 clip)",
        f"left out, because they are not {FORMATS}: 2 in yes; the first is yes/other0.m4a",
        "no clips are in empty",
    )
    fill(gsc / "no", 5, ".m4a")
    with pytest.raises(StreamError, match=r"no/other0.m4a is not wav.*5 of the 9 clips of 'no'"):
        streams.load("gsc", data=gsc)


@pytest.mark.parametrize(
    "line", [r"yes\bb_nohash_0.wav", "./yes/bb_nohash_0.wav", "yes/bb_nohash_0.WAV", "\ufeffyes/bb_nohash_0.wav"]
)
def test_lists_of_speech_commands_in_other_spellings(gsc: Path, line: str) -> None:
    before = streams.load("gsc", data=gsc)
    path = gsc / "validation_list.txt"
    text = path.read_text("utf-8").replace("yes/bb_nohash_0.wav", line)
    path.write_text(text, "utf-8", newline="\r\n")
    assert streams.load("gsc", data=gsc).validation == before.validation


IEMOCAP_TABLES = "Session3/dialog/EmoEvaluation"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("rm {root}/" + IEMOCAP_TABLES + "/*.txt", r"2 dialogues with clips but no emotions, the first is Session3"),
        ("rm {root}/" + IEMOCAP_TABLES + "/Ses03F*.txt", r"1 dialogue with clips .* no turn in Session3/dialog/EmoEv"),
        ("truncate -s 0 {root}/" + IEMOCAP_TABLES + "/Ses03M*.txt", r"1 dialogue with clips .*Ses03M_script01_1.txt"),
        ("rm -r {root}/" + IEMOCAP_TABLES + "/*.txt {root}/Session3/sentences/wav/*", r"fold 5, a speaker of Session3"),
        ("sed -i /_F00/d {root}/" + IEMOCAP_TABLES + "/*.txt", r"fold 5, a speaker of Session3, has no utterance"),
        ("rm {root}/Session3/sentences/wav/*/*F000.wav", r"2 of 100 clips are missing"),
    ],
)
def test_iemocap_half_unpacked_is_refused(iemocap: Path, harm: str, message: str) -> None:
    subprocess.run(harm.format(root=iemocap), shell=True, check=True)
    with pytest.raises(StreamError, match=message) as caught:
        streams.load("iemocap", data=iemocap)
    assert "unpack the whole archive again" in str(caught.value)


def test_iemocap_counts_what_it_leaves_out(iemocap: Path) -> None:
    tables = iemocap / IEMOCAP_TABLES
    shutil.move(tables / "Ses03F_impro01.txt", tables / "Ses03F_impro01.TXT")
    text = (tables / "Ses03F_impro01.TXT").read_text()
    (tables / "Ses03F_impro01.TXT").write_text(text.replace("F000\tneu", "F000 : neu"))
    task = streams.load("iemocap", data=iemocap)
    assert len(task.train + task.validation + task.test) == 99
    assert task.notes == (
        "left out: 40 utterances of other emotions (fru, xxx)",
        "left out: 1 clip without emotions; the first is Ses03F_impro01_F000.wav",
    )
