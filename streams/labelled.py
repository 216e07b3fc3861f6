"""Reads a folder of labelled clips to measure with: nothing is split, and a class may have one clip."""

from pathlib import Path
from typing import NamedTuple

from cl_ast.errors import StreamError
from cl_ast.excerpts import sort_key
from streams import clip_folder
from streams.task import Clip


class Labelled(NamedTuple):
    """The clips of a folder, and sentences about what was left out of it or taken in another way than it is written."""

    clips: tuple[Clip, ...]
    notes: tuple[str, ...]


def read_labelled(folder: Path, *, tags: bool = False) -> Labelled:
    """Read the labelled clips of a folder: class folders, or a metadata file (docs/layouts.md).

    A folder with a split of its own gives its test clips only.

    Args:
        tags: whether clips may have several labels.

    Raises:
        StreamError: the folder is missing, cannot be read, or has no labelled clip to measure with.
    """
    try:
        root = folder.resolve()
        records, _, notes = clip_folder.read_any(root, tags=tags)
    except StreamError as error:
        raise StreamError(f"{folder}: {error}") from None
    except (OSError, RuntimeError, ValueError) as error:  # such as a name that is too long, or links in a circle
        raise StreamError(f"{folder} cannot be read ({error}); give a folder of labelled clips") from None
    if any(record.split for record in records):
        tested = [record for record in records if record.split == "test"]
        if not tested:
            raise StreamError(f"{folder} has a split of its own without test clips; give a folder that has some")
        notes = (*notes, f"its own split is used: {len(tested)} of {len(records)} clips test")
        records = tested
    records = sorted(records, key=lambda record: sort_key(record.place))
    return Labelled(tuple(map(Clip.of, records)), notes)
