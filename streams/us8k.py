"""Reads UrbanSound8K (Salamon et al., ACM Multimedia 2014): https://urbansounddataset.weebly.com/urbansound8k.html

    metadata/UrbanSound8K.csv     slice_file_name,fsID,start,end,salience,fold,classID,class
    audio/fold1/101415-3-0-2.wav

The data have ten folds, which must not be reshuffled, because slices of one recording share a fold. One fold tests,
and the one before it (cyclically) is taken from the training folds to validate. The code published with the adapter
papers chose its epoch on the test fold instead. Labels are in the order of `classID`.
"""

from pathlib import Path

from streams.find_files import find_files
from streams.left_out import with_unlisted
from streams.records import Collection, Record, with_numbered_labels
from streams.table_files import read_rows

TABLE = "metadata/UrbanSound8K.csv"


def read(root: Path) -> Collection:
    """Read every slice of the table.

    Raises:
        StreamError: the table or a clip is missing, or the table does not fit the clips.
    """
    rows = read_rows(root / TABLE, root, ("slice_file_name", "fold", "classid", "class"))
    records = [
        Record(
            root / "audio" / f"fold{row.need_number('fold')}" / row.need_path("slice_file_name"),
            row.need("class"),
            fold=row.need_number("fold"),
        )
        for row in rows
    ]
    records = find_files(records, root, "unpack the whole archive again")
    collection = with_numbered_labels(records, [(row.need_number("classid"), row.need("class")) for row in rows])
    return with_unlisted(collection, root, root / "audio", TABLE, whole=True)
