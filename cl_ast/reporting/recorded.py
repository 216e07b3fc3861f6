"""Reads the results.csv of a folder that an experiment has written; no clips are needed for it."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cl_ast.errors import ClAstError
from cl_ast.experiments.results import FILE, Row


def is_results(folder: Path) -> bool:
    """Return whether a folder has results of an experiment, and is no registry."""
    return (folder / FILE).is_file() and not (folder / "registry.db").exists()


def columns_in(folder: Path) -> tuple[str, ...]:
    """Return the columns of the results in a folder. Raises ClAstError where they cannot be read."""
    with _lines(folder) as lines:
        return tuple(lines.fieldnames or ())


def latest(folder: Path, keys: Sequence[str]) -> list[Row]:
    """Return the last line of each cell, which its keys name. A line that a killed run has not finished is left out.

    Raises:
        ClAstError: there is no finished cell, or the results cannot be read.
    """
    found: dict[tuple[str, ...], Row] = {}
    with _lines(folder) as lines:
        for line in lines:
            if None not in line and None not in line.values():
                found[tuple(line[name] for name in keys)] = line
    if not found:
        raise ClAstError(f"{folder / FILE}: there is no finished training to report on")
    return list(found.values())


@contextmanager
def checked(folder: Path) -> Iterator[None]:
    """Raise ClAstError, which names the file, where a value in it turns out to be none that can have been written."""
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        raise ClAstError(f"{folder / FILE}: a line is not as it was written ({error}); mend or remove it") from None


def shares(values: Sequence[float]) -> Sequence[float]:
    """Return fractions as they are. Raises ValueError where one is not in [0, 1]."""
    if not all(0 <= value <= 1 for value in values):
        raise ValueError("an accuracy is between 0 and 1")
    return values


@contextmanager
def _lines(folder: Path) -> Iterator["csv.DictReader[str]"]:
    path = folder / FILE
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield csv.DictReader(file)
    except (OSError, csv.Error) as error:
        raise ClAstError(f"{path}: the results cannot be read ({error})") from None
