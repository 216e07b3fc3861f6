"""UrbanSound8K (Salamon et al., ACM Multimedia 2014): https://urbansounddataset.weebly.com/urbansound8k.html

    metadata/UrbanSound8K.csv     slice_file_name,fsID,start,end,salience,fold,classID,class
    audio/fold1/101415-3-0-2.wav

Ten folds, never reshuffled: slices of one recording share a fold. One tests, and the one before it
(cyclically), a training fold, is held out to validate; the code published with the adapter papers chose its
epoch on the test fold. Labels in order of `classID`.
"""

from pathlib import Path

from streams.table_files import check_present, ordered_labels, read_rows
from streams.task import Collection, Record

TABLE = "metadata/UrbanSound8K.csv"


def read(root: Path) -> Collection:
    """Every slice of the table.

    Raises:
        StreamError: the table or a clip is missing.
    """
    rows = read_rows(root / TABLE, root, ("slice_file_name", "fold", "classid", "class"))
    records = [
        Record(
            root / "audio" / f"fold{row.need('fold')}" / row.need_path("slice_file_name"),
            row.need("class"),
            fold=row.need("fold"),
        )
        for row in rows
    ]
    check_present(records, root, "unpack the archive again, to its end")
    return ordered_labels(records, [(row.need("classid"), row.need("class")) for row in rows])
