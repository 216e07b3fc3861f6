"""Tests that the values of tables are put into one form."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from cl_ast.errors import StreamError
from streams import values
from streams.records import Record
from streams.split import find_fold, fold_names

Make = Callable[..., Any]
quick = settings(max_examples=60, deadline=None)
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def lines(root: Path, wav: Make, rows: list[dict[str, object]]) -> Path:
    """Write a metadata.jsonl and the files that it names."""
    for row in rows:
        wav(root / str(row["file"]))
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


# Missing values.


@pytest.mark.parametrize("missing", ["", " ", "nan", "NaN", "None", "null", "NULL", "N/A", "<NA>", "NaT", "\ufeff"])
@pytest.mark.parametrize("column", ["label", "fold", "speaker"])
def test_a_missing_cell_of_a_csv_is_no_value(labelled: Make, rows: Make, missing: str, column: str) -> None:
    entries = rows(12, fold=lambda i: i // 2 % 3, speaker=lambda i: i % 4)
    entries[2][column] = missing
    with pytest.raises(StreamError, match=rf"row 4: no {column}; fill it in"):
        streams.load(labelled(entries))


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf"), "nan", "None", ""])
def test_a_missing_cell_of_json_is_no_value(tmp_path: Path, wav: Make, missing: object) -> None:
    rows = [{"file": f"{i}.wav", "label": missing if i == 3 else "ab"[i % 2]} for i in range(8)]
    with pytest.raises(StreamError, match=r"row 4: no label"):
        streams.load(lines(tmp_path, wav, rows))


@pytest.mark.parametrize("word", ["none", "nano", "na", "annan", "unknown", "0", "False"])
def test_a_word_that_is_a_class_stays_one(labelled: Make, rows: Make, word: str) -> None:
    entries = [row | {"label": word if row["label"] == "dog" else "x"} for row in rows()]
    assert set(streams.load(labelled(entries)).labels) == {word, "x"}


def test_a_column_of_missing_values_is_no_column(labelled: Make, rows: Make) -> None:
    task = streams.load(labelled(rows(fold=lambda i: "nan", speaker=lambda i: ("NaN", "None")[i % 2])))
    assert "random split" in task.protocol


# Folds, speakers and labels that are numbers.


@pytest.mark.parametrize(
    ("folds", "order"),
    [
        (["9.0", "10.0", "11.0"], ["9", "10", "11"]),
        (["1", "01", "1.0", "2", "002"], ["1", "2"]),
        (["03", "08", "10"], ["03", "08", "10"]),
        (["fold10", "fold9", "fold 1"], ["fold 1", "fold9", "fold10"]),
        (["Fold1", "fold_01", "fold-2"], ["Fold1", "fold-2"]),
        (["1.5", "1.50", "-1"], ["-1", "1.5"]),
        (["b", "a", "10"], ["10", "a", "b"]),
        ([NFC, NFD, "x"], [NFC, "x"]),
    ],
)
def test_folds_in_natural_order(folds: list[str], order: list[str]) -> None:
    records, _ = values.in_one_spelling([Record(Path(f"{i}"), "a", fold=fold) for i, fold in enumerate(folds)])
    assert sorted(fold_names(records)) == sorted(order)
    if NFC not in order:
        assert fold_names(records) == order


@pytest.mark.parametrize("wanted", ["11", "11.0", "011", 11, 11.0, "fold11", "Fold 11"])
@pytest.mark.parametrize("written", ["{}", "{}.0", "{:03}", "fold{}", "Fold_{:02}"])
def test_a_fold_is_found_in_any_spelling(labelled: Make, rows: Make, written: str, wanted: Any) -> None:
    root = labelled(rows(44, fold=lambda i: written.format(i // 2 % 11 + 1)))
    tested = streams.load(root, fold=wanted).test
    assert {clip.path.name for clip in tested} == {f"{i:03}.wav" for i in (20, 21, 42, 43)}
    assert streams.load(root).test == tested


@pytest.mark.parametrize("word", ["train", "Test", "dev", "validation", "EVAL"])
def test_folds_that_are_splits_are_named(labelled: Make, rows: Make, word: str) -> None:
    with pytest.raises(StreamError, match=r"the folds of metadata.csv are .*; call the column split"):
        streams.load(labelled(rows(fold=lambda i: ("train", word)[i // 2 % 2])))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((1, "1", 1.0), ("1",)),
        (("1.0", "1", "1.00"), ("1",)),
        ((True, "true", "TRUE"), ("TRUE",)),
        ((0.5, "0.50", ".5"), (".5", "0.5")),
        ((1, "01", "1 "), ("01", "1")),
        ((NFC, NFD, f" {NFD} "), (NFC,)),
        ((1, True, 10), ("1", "10", "True")),
    ],
)
def test_labels_of_one_value_are_one_class(
    tmp_path: Path, wav: Make, labels: tuple[object, ...], expected: tuple[str, ...]
) -> None:
    choices = (*labels, "zebra")
    rows = [{"file": f"{i}.wav", "label": choices[i % len(choices)]} for i in range(len(choices) * 4)]
    assert streams.load(lines(tmp_path, wav, rows)).labels == (*expected, "zebra")


def test_labels_written_in_one_way_keep_it_and_several_ways_are_said(labelled: Make, rows: Make) -> None:
    plain = streams.load(labelled([row | {"label": f"{i % 2}.0"} for i, row in enumerate(rows())], "plain"))
    assert plain.labels == ("0.0", "1.0") and plain.notes == ()
    mixed = streams.load(labelled([row | {"label": ("1", "1.0", "2")[i % 3]} for i, row in enumerate(rows())], "mixed"))
    assert mixed.labels == ("1", "2")
    assert mixed.notes == ("the label '1' is written as '1' and '1.0', which are taken as one",)
    alike = streams.load(
        labelled([row | {"label": ("Dog", "dog", "2")[i % 3]} for i, row in enumerate(rows())], "alike")
    )
    assert alike.labels == ("2", "Dog", "dog")
    assert alike.notes == ("the classes 'Dog' and 'dog' are spelled alike; give them one name if they are one",)


def test_one_speaker_in_two_spellings_is_in_one_split(labelled: Make, rows: Make) -> None:
    root = labelled(rows(60, speaker=lambda i: (f"{i // 2 % 6:02}", f"{i // 2 % 6}")[i > 30]))
    task = streams.load(root)
    tested = {int(clip.path.stem) // 2 % 6 for clip in task.test}
    assert not tested & {int(clip.path.stem) // 2 % 6 for clip in (*task.train, *task.validation)}
    assert len(task.notes) == 6 and "speaker" in task.notes[0]


# Unicode forms and other spellings of names.


def test_class_folders_in_two_unicode_forms_are_one_class(tmp_path: Path, wav: Make) -> None:
    for folder in (NFC, NFD, "rain"):
        for i in range(4):
            wav(tmp_path / folder / f"{i}.wav")
    task = streams.load(tmp_path)
    assert task.labels == (NFC, "rain") and len(task.train + task.validation + task.test) == 12
    assert task.notes == (f"the label {NFC!r} is written in two Unicode forms, which are taken as one",)


def test_a_copy_on_a_disk_of_the_other_form_has_the_same_splits_and_fingerprint(tmp_path: Path, wav: Make) -> None:
    tasks = []
    for form in ("NFC", "NFD"):
        for folder in ("café", "regn"):
            for name in ("é", "ez", "ö", "oz", "a", "å", "z"):
                wav(tmp_path / form / unicodedata.normalize(form, f"{folder}/{name}.wav"))
        tasks.append(streams.load(tmp_path / form))
    assert tasks[0].fingerprint() == tasks[1].fingerprint() and tasks[0].labels == tasks[1].labels


@pytest.mark.parametrize(
    ("disk", "written"),
    [
        ("audio/dog/0.wav", r"audio\dog\0.wav"),
        ("audio/dog/0.wav", r".\audio\dog/0.wav"),
        ("audio/dog/0.wav", "./audio//dog/0.wav"),
        ("audio/dog/0.WAV", "audio/dog/0.wav"),
        ("Audio/Dog/0.wav", r"audio\dog\0.wav"),
        (f"{NFD}/{NFD}.wav", f"{NFC}/{NFC}.wav"),
        (f"{NFC}/{NFC}.wav", rf"{NFD}\{NFD}.WAV"),
        (r"audio\dog.wav", r"audio\dog.wav"),
    ],
)
def test_files_are_found_in_other_spellings(
    tmp_path: Path, wav: Make, table: Make, rows: Make, disk: str, written: str
) -> None:
    entries = rows()
    for entry in entries:
        wav(tmp_path / str(entry["file"]))
    wav(tmp_path / disk)
    table(tmp_path / "metadata.csv", [*entries, {"file": written, "label": "dog"}])
    task = streams.load(tmp_path)
    assert tmp_path / disk in {clip.path for part in (task.train, task.validation, task.test) for clip in part}


def test_two_files_that_differ_in_form_only_are_both_found(labelled: Make, rows: Make) -> None:
    entries = [*rows(), {"file": f"{NFC}.wav", "label": "dog"}, {"file": f"{NFD}.wav", "label": "rain"}]
    task = streams.load(labelled(entries))
    assert len(task.train + task.validation + task.test) == 14


@pytest.mark.parametrize(
    "written",
    [
        r"..\secret.wav",
        "../secret.wav",
        r"audio\..\..\secret.wav",
        r"\secret.wav",
        "C:secret.wav",
        r"\\host\secret.wav",
    ],
)
def test_no_spelling_leads_outside(tmp_path: Path, wav: Make, table: Make, rows: Make, written: str) -> None:
    wav(tmp_path / "secret.wav")
    entries = rows()
    for entry in entries:
        wav(tmp_path / "in" / str(entry["file"]))
    table(tmp_path / "in" / "metadata.csv", [*entries, {"file": written, "label": "dog"}])
    with pytest.raises(StreamError, match="leads out of the folder"):
        streams.load(tmp_path / "in")


def test_two_rows_that_mean_one_file_and_a_spelling_that_fits_two_files(labelled: Make, rows: Make, wav: Make) -> None:
    root = labelled(rows())
    (root / "metadata.csv").open("a").write("AUDIO\\000.WAV,dog\n")
    with pytest.raises(StreamError, match=r"'000.wav' is listed already in metadata.csv row 2"):
        streams.load(root)
    wav(root / "A.wav")
    wav(root / "a.WAV")
    (root / "metadata.csv").write_text("file,label\na.wav,dog\n")
    with pytest.raises(StreamError, match=r"1 of 1 clips are missing"):
        streams.load(root)


# Properties.


@quick
@given(text)
def test_cleaning_and_normalising_twice_changes_nothing(value: str) -> None:
    assert values.clean(values.clean(value)) == values.clean(value)
    assert values.nfc(values.nfc(value)) == values.nfc(value)
    assert values.whole_number(values.whole_number(value)) == values.whole_number(value)
    assert values.shortest_number(values.shortest_number(value)) == values.shortest_number(value)


@quick
@given(st.lists(text | st.integers(-20, 200).map(str) | st.decimals(0, 20, places=1).map(str), max_size=12))
def test_one_spelling_keeps_keys_and_every_text_has_a_place(texts: list[str]) -> None:
    for key in (values.fold_key, values.speaker_key, values.label_key):
        spelling = values.one_spelling(texts, key)
        assert all(key(value) == key(written) and written in texts for value, written in spelling.items())
        assert len(set(spelling.values())) == len({key(value) for value in texts})
    ordered = sorted(set(texts), key=values.natural_key)
    numbers = [float(value) for value in ordered if values.natural_key(value)[0] == 0]
    assert numbers == sorted(numbers)


@pytest.mark.slow
@quick
@given(st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True), st.data())
def test_every_spelling_of_a_fold_finds_it(folds: list[int], data: st.DataObject) -> None:
    write = st.sampled_from(["{}", "{:03}", "{}.0"])
    records = [Record(Path(f"{i}"), "a", fold=data.draw(write).format(fold)) for i, fold in enumerate([*folds, *folds])]
    names = fold_names(values.in_one_spelling(records)[0])
    assert [int(name) for name in names] == sorted(folds)
    wanted = data.draw(st.sampled_from(folds))
    assert int(find_fold(names, data.draw(write).format(wanted))) == wanted
