"""ESC-50 (Piczak, ACM Multimedia 2015): https://github.com/karolpiczak/ESC-50

    meta/esc50.csv     filename,fold,target,category,esc10,src_file,take
    audio/1-100032-A-0.wav

Five folds; one tests, the one before it (cyclically) validates, the other three train. Labels in order of
`target`.
"""

from pathlib import Path

from streams.table_files import check_present, ordered_labels, read_rows
from streams.task import Collection, Record

TABLE = "meta/esc50.csv"


def read(root: Path) -> Collection:
    """Every clip of the table.

    Raises:
        StreamError: the table or a clip is missing.
    """
    rows = read_rows(root / TABLE, root, ("filename", "fold", "target", "category"))
    records = [
        Record(root / "audio" / row.need_path("filename"), row.need("category"), fold=row.need("fold")) for row in rows
    ]
    check_present(records, root, "unpack the archive again, to its end")
    return ordered_labels(records, [(row.need("target"), row.need("category")) for row in rows])
