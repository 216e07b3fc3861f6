"""Tests that tables are read in their usual spellings, and that other forms of them are named."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams
from cl_ast.errors import StreamError
from streams import values
from streams.table_files import read_rows

Make = Callable[..., Any]
quick = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file\tlabel\na.wav\tx\n", "separated by tabs; save it with commas"),
        (b"file|label\na.wav|x\n", "separated by bars"),
        ("file,label\na.wav,x\n".encode("utf-16"), "looks like UTF-16"),
        ("file,label\na.wav,x\n".encode("utf-16-le"), "looks like UTF-16"),
        ("file,label\na.wav,x\n".encode("utf-16-be"), "looks like UTF-16"),
        ("file,label\na.wav,café\n".encode("latin-1"), "is not UTF-8 text"),
        (b"File,file ,label\na.wav,a.wav,x\n", "names a column twice"),
    ],
)
def test_a_table_in_another_form_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(StreamError, match=message):
        streams.load(tmp_path)


def test_commas_in_cells_between_semicolons(tmp_path: Path, wav: Make) -> None:
    rows = "".join(f"{i}.wav;{'dog, big' if i % 2 else 'cat'};2,5\n" for i in range(8))
    (tmp_path / "metadata.csv").write_text("file;label;weight\n" + rows)
    for i in range(8):
        wav(tmp_path / f"{i}.wav")
    assert set(streams.load(tmp_path).labels) == {"cat", "dog, big"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"file": "a.wav", "label": "x", "label": "y"}', "row 1 names a column twice"),
        ('{"file": "a.wav", "label": "x", "Label ": "y"}', "row 1 names a column twice"),
        ('{"file": "a.wav", "label": "\\ud800"}', "has half a character"),
        ('{"file": "a.wav", "label": {"name": "x"}}', "no column 'label' with values"),
        ('{"file": "a.wav", "label": ["x"]}', "no column 'label' with values"),
    ],
)
def test_json_in_another_form_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(StreamError, match=message):
        streams.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("metadata.csv", "File Name,LABEL"),
        ("METADATA.CSV", " file-name , label "),
        ("metadata.csv", "\n\nfile_name,label"),
        ("metadata.csv", "\ufefffile,label"),
        ("Metadata.csv", '"file name","Label"'),
        ("metadata.csv", "file name,label,file_name"),
        ("metadata.csv", "file;label"),
        ("metadata.csv", "sep=;\r\n\ufefffile;label"),
    ],
)
def test_headers_are_read_in_other_spellings(tmp_path: Path, wav: Make, name: str, header: str) -> None:
    more = ",{0}.wav" if header.count(",") == 2 else ""
    rows = "".join((f"{i}.wav,{'ab'[i % 2]}" + more.format(i) + "\r\n") for i in range(8))
    (tmp_path / name).write_text(header + "\r\n" + (rows.replace(",", ";") if ";" in header else rows), "utf-8")
    for i in range(8):
        wav(tmp_path / f"{i}.wav")
    assert streams.load(tmp_path).labels == ("a", "b")


def test_a_table_with_tabs_is_not_passed_over(classes: Make) -> None:
    root = classes(dog=4, rain=4)
    (root / "metadata.tsv").write_text("file\tlabel\n")
    with pytest.raises(StreamError, match=r"metadata.tsv is not read; save it with commas as metadata.csv"):
        streams.load(root)


# Properties.


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@quick
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6))
def test_a_csv_that_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, ...]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "metadata.csv"
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows([("File", " Label", "speaker id"), *table])
    path.write_text(written.getvalue(), "utf-8", newline="")
    expected = [tuple(map(values.clean, row)) for row in table if any(cell.strip() for cell in row)]
    if not expected:
        with pytest.raises(StreamError, match="has no rows"):
            read_rows(path, path.parent)
        return
    rows = read_rows(path, path.parent, ("file", "label", "speaker_id"))
    assert [tuple(row.cells.values()) for row in rows] == expected


@quick
@given(st.binary(max_size=60), st.sampled_from(["metadata.csv", "metadata.jsonl"]))
def test_any_bytes_are_read_or_refused_with_a_way_out(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    try:
        rows = read_rows(path, path.parent)
    except StreamError as error:
        assert name in str(error) and ";" in str(error)
    else:
        assert rows and all(value == values.clean(value) for row in rows for value in row.cells.values())
