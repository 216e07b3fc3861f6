"""results.csv: any value comes back, a run that is killed at any byte goes on, and nobody else's file is touched."""

import csv
import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cl_ast.errors import ClAstError
from cl_ast.experiments.results import Results

KEYS, VALUES = ["task", "seed"], ["accuracy", "reason"]
# All text that the name of a file may be, among it what CSV writes in quotes.
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\",\n\r'\\ \udce9\0"), max_size=12)
NUMBER = st.integers() | st.floats(allow_nan=False) | st.none()
CELL = st.fixed_dictionaries({"task": TEXT, "seed": NUMBER, "accuracy": NUMBER, "reason": TEXT})
OFTEN = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


Cell = dict[str, str | int | float | None]


def opened(folder: Path) -> Results:
    return Results(folder, KEYS, VALUES)


def emptied(folder: Path) -> Path:
    """Return the folder without the file that the example before has left."""
    (folder / "results.csv").unlink(missing_ok=True)
    return folder


@pytest.mark.slow
@OFTEN
@given(st.lists(CELL, max_size=5))
def test_what_is_written_is_read_back(tmp_path: Path, cells: list[Cell]) -> None:
    with opened(emptied(tmp_path)) as results:
        for cell in cells:
            results.append(cell)
        kept = results.rows
    with opened(tmp_path) as results:
        assert results.rows == kept
        for cell, row in zip(cells, results.rows, strict=True):
            assert (row["task"], row["reason"]) == (cell["task"], cell["reason"])
            for name in ("seed", "accuracy"):
                number = int if isinstance(cell[name], int) else float  # no double has all digits of a large integer
                assert (number(row[name]) if row[name] else None) == cell[name]
            assert results.key_of(row) == results.key_of(cell)
    with (tmp_path / "results.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert tuple(csv.DictReader(file)) == kept  # as anybody reads it


@OFTEN
@given(st.lists(CELL, max_size=4), st.data())
def test_a_run_that_is_killed_at_any_byte_goes_on_with_the_whole_lines(
    tmp_path: Path, cells: list[Cell], data: st.DataObject
) -> None:
    ends = []
    with opened(emptied(tmp_path)) as results:
        ends.append(results.path.stat().st_size)
        for cell in cells:
            results.append(cell)
            ends.append(results.path.stat().st_size)
        kept = results.rows
    written = results.path.read_bytes()
    end = data.draw(st.integers(0, len(written)))
    results.path.write_bytes(written[:end])
    with opened(tmp_path) as again:
        whole = sum(one <= end for one in ends[1:])
        assert again.rows == kept[:whole]
        for cell in cells[whole:]:
            again.append(cell)
    assert results.path.read_bytes() == written


def test_the_last_line_of_a_cell_counts(tmp_path: Path) -> None:
    with opened(tmp_path / "new" / "folder") as results:
        cells: list[Cell] = [{"task": "a", "seed": seed, "reason": None} for seed in (0, 1, 0)]
        for cell, accuracy in zip(cells, (None, 0.5, 0.25), strict=True):
            results.append({**cell, "accuracy": accuracy})
        found = {key: row["accuracy"] for key, row in results.latest().items()}
    assert found == {("a", "0"): "0.25", ("a", "1"): "0.5"}


@pytest.mark.parametrize("content", ["task,seed\na,0\n", "a poem", '"task', "task,seed,accuracy,reason,more\n"])
def test_the_file_of_something_else_is_refused_and_stays(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.csv").write_text(content)
    with pytest.raises(ClAstError, match=r"results of something else.*name another folder"):
        opened(tmp_path)
    assert (tmp_path / "results.csv").read_text() == content


@pytest.mark.parametrize("line", ["a,0,0.5\n", "a,0,0.5,,\n", 'a,0,"0"5,\n', "a,0,0.5,\nb\n"])
def test_a_line_that_somebody_spoiled_is_named(tmp_path: Path, line: str) -> None:
    content = "task,seed,accuracy,reason\n" + line
    (tmp_path / "results.csv").write_text(content)
    with pytest.raises(ClAstError, match=rf"line {2 + line.startswith('a,0,0.5,' + chr(10))} is not as"):
        opened(tmp_path)
    assert (tmp_path / "results.csv").read_text() == content


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_two_runs_do_not_write_at_once(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(ClAstError, match="another run writes there"):
        opened(tmp_path)
    opened(tmp_path).__exit__(None, None, None)


def test_a_line_has_all_columns(tmp_path: Path) -> None:
    with opened(tmp_path) as results, pytest.raises(ValueError, match="columns"):
        results.append({"task": "a", "seed": 0})


def test_where_there_is_no_room_the_file_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell: Cell = {"task": "a", "seed": 0, "accuracy": 0.5, "reason": ""}
    with opened(tmp_path) as results:
        results.append(cell)
        before = results.path.read_bytes()

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(ClAstError, match="No space left"):
                results.append(cell)
        assert results.path.read_bytes() == before
        assert len(results.rows) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClAstError, match=r"results\.csv: results cannot be written there"):
        opened(tmp_path / "file")
