"""Parts of long recordings as clips: tables with start and end, label files beside recordings, and what is left out."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streams
from cl_ast.errors import StreamError
from streams.excerpts import SHORTEST, usable
from streams.label_files import Marked, parse
from streams.labelled import read_labelled
from streams.left_out import LeftOut
from streams.recorded_split import RecordedSplit, members_of, reload_recorded
from streams.records import Listed, Record
from streams.values import clean, nfc

Make = Callable[..., Any]
LABELS = ("dog", "rain")


def _marks(count: int = 6) -> list[tuple[float, float, str]]:
    """Return labels of a second each, with half a second between them, of two classes that take turns."""
    return [(0.25 + 1.5 * i, 1.25 + 1.5 * i, LABELS[i % 2]) for i in range(count)]


@pytest.fixture
def recordings(tmp_path: Path, wav: Make) -> Path:
    """Six recordings of ten seconds."""
    first: Path = wav(tmp_path / "sites" / "site0.wav", seconds=10.0)
    for number in range(1, 6):
        shutil.copy(first, first.with_name(f"site{number}.wav"))
    return first.parent


@pytest.fixture
def labelled_table(recordings: Path, table: Make) -> Path:
    rows = [
        {"file": f"site{number}.wav", "start": start, "end": end, "label": label}
        for number in range(6)
        for start, end, label in _marks()
    ]
    table(recordings / "metadata.csv", rows)
    return recordings


def _audacity(path: Path, marks: Sequence[tuple[float, float, str]], low: str = "") -> None:
    path.write_text("".join(f"{start:.6f}\t{end:.6f}\t{label}\n{low}" for start, end, label in marks))


def _raven(path: Path, rows: Sequence[dict[str, object]]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
    path.write_text("\r\n".join(lines) + "\r\n")


def _clips(task: streams.Task) -> set[tuple[str, object, str]]:
    return {(clip.path.name, clip.span, clip.label) for clip in (*task.train, *task.validation, *task.test)}


EXPECTED = {(f"site{number}.wav", (start, end), label) for number in range(6) for start, end, label in _marks()}


def _check_apart(task: streams.Task) -> None:
    parts = [{clip.path for clip in part} for part in (task.train, task.validation, task.test)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set().union(*parts))


def test_a_table_lists_parts_of_recordings(labelled_table: Path) -> None:
    task = streams.load(labelled_table)
    assert _clips(task) == EXPECTED
    _check_apart(task)
    assert task.clip_seconds == 1.0
    assert task.notes == ()
    assert task.protocol == (
        "by recording, no recording is in two splits (seed 0): 1 recording tests, 1 recording validates,"
        " 4 recordings train"
    )
    again = streams.reload(streams.Source.from_json(json.loads(json.dumps(task.source.to_json()))))
    assert again == task
    assert again.fingerprint() == task.fingerprint()


def test_audacity_labels_beside_recordings_are_found(recordings: Path) -> None:
    for number in range(6):
        _audacity(recordings / f"site{number}.txt", _marks(), low="\\\t100.0\t4000.0\n")
    (recordings / "README.txt").write_text("0.1\t0.2\tnot beside a recording of this name\n")
    task = streams.load(recordings)
    assert _clips(task) == EXPECTED
    _check_apart(task)


def test_raven_tables_beside_recordings_are_found(recordings: Path) -> None:
    for number in range(6):
        rows: list[dict[str, object]] = []
        for selection, (start, end, label) in enumerate(_marks(), start=1):
            for view in ("Waveform 1", "Spectrogram 1"):
                row = {"Selection": selection, "View": view, "Begin Time (s)": start, "End Time (s)": end}
                rows.append({**row, "Low Freq (Hz)": 0, "Species": label})
        _raven(recordings / f"site{number}.Table.1.selections.txt", rows)
    assert _clips(streams.load(recordings)) == EXPECTED


def test_one_raven_table_may_be_of_many_recordings(recordings: Path) -> None:
    rows = [
        {
            "Begin Time (s)": start + 10 * number,
            "End Time (s)": end + 10 * number,
            "Begin Path": f"C:\\field\\site{number}.wav",
            "File Offset (s)": start,
            "Annotation": label,
        }
        for number in range(6)
        for start, end, label in _marks()
    ]
    _raven(recordings / "all.txt", rows)
    assert _clips(streams.load(recordings)) == EXPECTED
    rows[7]["Begin Path"] = "gone.wav"
    _raven(recordings / "all.txt", rows)
    with pytest.raises(StreamError, match=r"all\.txt line 9: 'gone\.wav' is not beside all\.txt"):
        streams.load(recordings)


@pytest.mark.parametrize(
    ("folders", "says"),
    [
        (("train", "train", "train", "train", "dev", "test"), "the data's own train, validation and test split"),
        (("fold1", "fold1", "fold2", "fold2", "fold3", "fold3"), "fold 3 tests, fold 2 validates, fold 1 train"),
        (("north", "north", "north", "south", "south", "south"), "by recording"),
    ],
)
def test_recordings_may_be_in_folders(recordings: Path, folders: Sequence[str], says: str) -> None:
    for number, folder in enumerate(folders):
        (recordings / folder).mkdir(exist_ok=True)
        (recordings / f"site{number}.wav").rename(recordings / folder / f"site{number}.wav")
        _audacity(recordings / folder / f"site{number}.txt", _marks())
    task = streams.load(recordings)
    assert _clips(task) == EXPECTED
    assert task.protocol.startswith(says)
    _check_apart(task)


def test_bad_rows_are_left_out_and_named(recordings: Path) -> None:
    for number in range(6):
        _audacity(recordings / f"site{number}.txt", _marks())
    bad = [
        (2.0, 1.0, "dog"),
        (9.8, 11.0, "dog"),
        (-1.0, 0.2, "rain"),
        (0.3, 0.3, "dog"),
        (9.5, 9.9, ""),
        (0.5, 1.0, "cat"),
    ]
    _audacity(recordings / "site3.txt", [*_marks(), *bad])
    task = streams.load(recordings)
    assert _clips(task) == EXPECTED - {("site3.wav", (0.25, 1.25), "dog")}
    assert task.notes == (
        "left out: 2 clips ending less than 0.01 s after the start; the first is site3.txt line 7",
        "left out: 2 clips reaching beyond the recording; the first is site3.txt line 8",
        "left out: 1 clip without a label; the first is site3.txt line 11",
        "left out: 2 clips overlapping with another label; the first is site3.txt line 1",
    )


def test_recordings_without_labels_are_counted(recordings: Path) -> None:
    for number in range(5):
        _audacity(recordings / f"site{number}.txt", _marks())
    assert streams.load(recordings).notes == ("left out: 1 clip that no label file marks; the first is site5.wav",)


def test_what_cannot_be_read_is_refused(recordings: Path, wav: Make) -> None:
    for number in range(6):
        _audacity(recordings / f"site{number}.txt", _marks())
    (recordings / "site2.selections.txt").write_text("0.1\t0.2\tdog\n")
    with pytest.raises(StreamError, match=r"site2\.wav has two label files, site2\.selections\.txt and site2\.txt"):
        streams.load(recordings)
    (recordings / "site2.selections.txt").unlink()
    (recordings / "site1.txt").write_text("0.1\t0.2\tdog\nhere a dog barks\n")
    with pytest.raises(StreamError, match=r"site1\.txt line 2 is no label"):
        streams.load(recordings)


def test_a_table_with_a_time_that_is_none_is_refused(labelled_table: Path) -> None:
    path = labelled_table / "metadata.csv"
    path.write_text(path.read_text().replace("1.75", "soon", 1))
    with pytest.raises(StreamError, match=r"metadata\.csv row 3: the start 'soon' is no number"):
        streams.load(labelled_table)


def test_a_comma_may_be_the_decimal_mark(labelled_table: Path) -> None:
    path = labelled_table / "metadata.csv"
    path.write_text(path.read_text().replace(",", ";").replace(".25", ",25").replace(".75", ",75"))
    assert _clips(streams.load(labelled_table)) == EXPECTED


def test_a_row_that_is_there_twice_is_refused(labelled_table: Path) -> None:
    path = labelled_table / "metadata.csv"
    path.write_text(path.read_text() + "site0.wav,0.250,1.25,dog\n")
    with pytest.raises(StreamError, match=r"row 38: 'site0\.wav' is listed already in metadata\.csv row 2"):
        streams.load(labelled_table)


def test_too_few_recordings_are_refused(labelled_table: Path) -> None:
    path = labelled_table / "metadata.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if not line.startswith(("site2", "site3", "site4", "site5"))))
    with pytest.raises(StreamError, match="of 2 recordings, which cannot be divided"):
        streams.load(labelled_table)


def test_splits_that_share_recordings_are_not_used(recordings: Path, table: Make) -> None:
    def write(column: str, values: Sequence[str]) -> None:
        rows = [
            {"file": f"site{number}.wav", "start": start, "end": end, "label": label, column: values[i // 2 % 3]}
            for number in range(6)
            for i, (start, end, label) in enumerate(_marks())
        ]
        table(recordings / "metadata.csv", rows)

    write("split", ("train", "dev", "test"))
    task = streams.load(recordings)
    assert task.protocol.endswith("; the data's own split is not used: its parts share recordings")
    _check_apart(task)
    write("fold", ("1", "2", "3"))
    task = streams.load(recordings)
    assert task.protocol.endswith("; the data's own folds are not used: they share recordings")
    _check_apart(task)
    with pytest.raises(StreamError, match=r"would have parts in the \w+ split and in the \w+ split"):
        streams.load(recordings, fold=2)


def test_recordings_that_share_a_speaker_stay_together(recordings: Path, table: Make) -> None:
    rows = [
        {"file": f"site{number}.wav", "start": start, "end": end, "label": label, "speaker": number // 2}
        for number in range(6)
        for start, end, label in _marks()
    ]
    table(recordings / "metadata.csv", rows)
    task = streams.load(recordings)
    parts = [{int(clip.path.stem[-1]) // 2 for clip in part} for part in (task.train, task.validation, task.test)]
    assert sorted(speaker for part in parts for speaker in part) == [0, 1, 2]


def test_an_older_registry_reads_such_a_table_as_it_did(recordings: Path, table: Make, wav: Make) -> None:
    rows = [
        {"file": f"site{number}.wav", "start": 0.5, "end": 1.5, "label": LABELS[number % 2], "fold": number // 2}
        for number in range(6)
    ]
    table(recordings / "metadata.csv", rows)
    old = {"task": "folder", "data": str(recordings), "name": "sites", "draw": "by name"}
    task = streams.reload(streams.Source.from_json(old))
    assert {clip.span for clip in (*task.train, *task.test)} == {None}
    now = streams.load(recordings)
    assert {clip.span for clip in (*now.train, *now.test)} == {(0.5, 1.5)}
    assert now.fingerprint() != task.fingerprint()
    assert "excerpts" not in task.source.to_json()
    assert now.source.to_json()["excerpts"] is True


def test_clips_of_their_own_leave_no_trace_in_the_source(classes: Make) -> None:
    assert "excerpts" not in streams.load(classes(dog=6, rain=6)).source.to_json()


def test_label_files_in_class_folders_are_no_labels_where_most_clips_have_none(classes: Make) -> None:
    root = classes(dog=6, rain=6)
    _audacity(root / "dog" / "00.txt", [(0.0, 0.04, "cat")])
    task = streams.load(root)
    assert task.labels == LABELS
    assert len(_clips(task)) > 6
    assert all(span is None for _, span, _ in _clips(task))


def test_a_recorded_split_is_found_again_after_labels_were_added(labelled_table: Path) -> None:
    task = streams.load(labelled_table)
    members = {split: frozenset(numbers) for split, numbers in members_of(task).items()}
    recorded = RecordedSplit(task.labels, task.fingerprint(), task.protocol, members)
    path = labelled_table / "metadata.csv"
    before = path.read_text()
    path.write_text(before + "site0.wav,9.3,9.9,dog\n")
    found = reload_recorded(task.source, recorded)
    assert (found.train, found.validation, found.test) == (task.train, task.validation, task.test)
    path.write_text(before.replace("site0.wav,1.75,2.75", "site0.wav,1.76,2.75"))  # another stretch, so another clip
    with pytest.raises(StreamError, match=r"1 of its .* clips are gone or have changed"):
        reload_recorded(task.source, recorded)


def test_few_shot_and_measuring_take_parts(labelled_table: Path) -> None:
    task = streams.load(labelled_table)
    drawn = [streams.few_shot(task, 2, seed=seed) for seed in range(4)]
    for few in drawn:
        assert len(few.train) == 4
        assert {clip.span for clip in few.train} <= {span for _, span, _ in EXPECTED}
        assert replace(few, train=task.train) == task
    assert len({few.train for few in drawn}) > 1
    assert {(clip.path.name, clip.span, clip.label) for clip in read_labelled(labelled_table).clips} == EXPECTED


@given(st.text())
def test_any_text_is_labels_or_an_error(text: str) -> None:
    for head in ("", "Begin Time (s)\tEnd Time (s)\tLabel\tBegin File\n", "0\t1\tdog\n"):
        try:
            found = parse(head + text, "x.txt")
        except StreamError:
            continue
        assert all(isinstance(one, Marked) for one in found)


TIMES = st.integers(0, 10**9).map(lambda number: number / 1e6)
WORDS = st.text(st.characters(categories=("L", "N", "P"), include_characters=" "), max_size=12)


@pytest.mark.slow
@given(st.lists(st.tuples(TIMES, TIMES, WORDS.map(lambda text: text.strip())), max_size=8))
def test_labels_are_read_as_they_were_written(marks: list[tuple[float, float, str]]) -> None:
    found = parse("".join(f"{start:.6f}\t{end:.6f}\t{label}\n" for start, end, label in marks), "x.txt")
    assert [(one.start, one.end) for one in found] == [(start, end) for start, end, _ in marks]
    assert [one.label for one in found] == [nfc(clean(label)) for _, _, label in marks]
    assert [one.line for one in found] == list(range(1, len(marks) + 1))


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12), st.sampled_from("abc")), max_size=12))
def test_exactly_those_that_overlap_with_another_label_are_left_out(rows: list[tuple[int, int, str]]) -> None:
    path = Path("/nowhere/x.wav")  # whose length is not known
    listed = [
        Listed(Record(path, label, span=(start / 4, (start + length) / 4)), f"row {number}")
        for number, (start, length, label) in enumerate(rows)
    ]

    def overlaps(one: Record, other: Record) -> bool:
        assert one.span is not None
        assert other.span is not None
        return min(one.span[1], other.span[1]) - max(one.span[0], other.span[0]) > SHORTEST

    expected = [
        one.record
        for one in listed
        if not any(overlaps(one.record, two.record) for two in listed if two.record.label != one.record.label)
    ]
    assert usable(listed, LeftOut(Path("/nowhere"))) == expected
