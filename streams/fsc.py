"""Reads Fluent Speech Commands (Lugosch et al., Interspeech 2019): https://fluent.ai

    data/{train,valid,test}_data.csv     path,speakerId,transcription,action,object,location
    wavs/speakers/2BqVo8kVB2Skwgyb/0a3129c0-4474-11e9-a9a5-5dbec3b8816a.wav

The three tables are the three splits, and no speaker is in two of them. A label is one of 31 intents, written as
`action_object_location`. Labels are sorted.
"""

from pathlib import Path

from streams.find_files import find_files
from streams.left_out import with_unlisted
from streams.records import Collection, Record, with_sorted_labels
from streams.table_files import read_rows

TABLES = {"train": "data/train_data.csv", "validation": "data/valid_data.csv", "test": "data/test_data.csv"}
INTENT = ("action", "object", "location")


def read(root: Path) -> Collection:
    """Read every utterance of the three tables.

    Raises:
        StreamError: a table or a clip is missing, or a table does not fit.
    """
    records = [
        Record(root / row.need_path("path"), "_".join(row.need(slot) for slot in INTENT), split=split)
        for split, table in TABLES.items()
        for row in read_rows(root / table, root, ("path", *INTENT))
    ]
    records = find_files(records, root, "unpack the whole archive again")
    collection = with_sorted_labels(records)
    return with_unlisted(collection, root, root / "wavs", "the three tables", whole=False)
