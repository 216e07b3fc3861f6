"""Fluent Speech Commands (Lugosch et al., Interspeech 2019): https://fluent.ai

    data/{train,valid,test}_data.csv     path,speakerId,transcription,action,object,location
    wavs/speakers/2BqVo8kVB2Skwgyb/0a3129c0-4474-11e9-a9a5-5dbec3b8816a.wav

The three tables are the splits, with speakers of their own. A label is an intent, `action_object_location`,
31 of them, sorted.
"""

from pathlib import Path

from streams.table_files import check_present, read_rows, sorted_labels
from streams.task import Collection, Record

TABLES = {"train": "data/train_data.csv", "validation": "data/valid_data.csv", "test": "data/test_data.csv"}
INTENT = ("action", "object", "location")


def read(root: Path) -> Collection:
    """Every utterance of the three tables.

    Raises:
        StreamError: a table or a clip is missing.
    """
    records = [
        Record(root / row.need_path("path"), "_".join(row.need(slot) for slot in INTENT), split=split)
        for split, table in TABLES.items()
        for row in read_rows(root / table, root, ("path", *INTENT))
    ]
    check_present(records, root, "unpack the archive again, to its end")
    return sorted_labels(records)
