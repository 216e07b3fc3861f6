"""Reads ESC-50 (Piczak, ACM Multimedia 2015): https://github.com/karolpiczak/ESC-50

    meta/esc50.csv     filename,fold,target,category,esc10,src_file,take
    audio/1-100032-A-0.wav

The data have five folds. One tests, the one before it (cyclically) validates, and the other three train. Labels
are in the order of `target`.
"""

from pathlib import Path

from streams.find_files import find_files
from streams.left_out import with_unlisted
from streams.records import Collection, Record, with_numbered_labels
from streams.table_files import read_rows

TABLE = "meta/esc50.csv"


def read(root: Path) -> Collection:
    """Read every clip of the table.

    Raises:
        StreamError: the table or a clip is missing, or the table does not fit the clips.
    """
    rows = read_rows(root / TABLE, root, ("filename", "fold", "target", "category"))
    records = [
        Record(root / "audio" / row.need_path("filename"), row.need("category"), fold=row.need_number("fold"))
        for row in rows
    ]
    records = find_files(records, root, "unpack the whole archive again")
    collection = with_numbered_labels(records, [(row.need_number("target"), row.need("category")) for row in rows])
    return with_unlisted(collection, root, root / "audio", TABLE, whole=True)
