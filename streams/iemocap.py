"""IEMOCAP (Busso et al., 2008), four emotions: https://sail.usc.edu/iemocap/

    Session1/dialog/EmoEvaluation/Ses01F_impro01.txt     [6.2901 - 8.2357]  Ses01F_impro01_F000  neu  […]
    Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav

Neutral, happy (with excited), sad and angry; other utterances are left out. Ten folds, one a speaker: fold
2N-1 is the woman of session N and fold 2N its man. Fold K tests, the other speaker of that session validates,
and the other four sessions train.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from streams.table_files import check_present
from streams.task import Collection, Record

SESSIONS = range(1, 6)
LABELS = ("neu", "hap", "sad", "ang")
EMOTIONS = {**{label: label for label in LABELS}, "exc": "hap"}

# Not compiled here: that would take longer than the rest of the import.
_TURN = r"(?m)^\[[\d.]+ - [\d.]+\]\s+(?P<utterance>\w+_(?P<speaker>[FM])\w*)\s+(?P<emotion>[a-z]+)\s"


def read(root: Path) -> Collection:
    """Every utterance of the four emotions.

    Raises:
        StreamError: a clip is missing.
    """
    records = [record for session in SESSIONS for record in _session(root / f"Session{session}", session)]
    check_present(records, root, "unpack the archive again, to its end")
    return Collection(records, LABELS)


def partner(folds: Sequence[str], test: str) -> str:
    """The other speaker of the session."""
    return str(int(test) + 1 if int(test) % 2 else int(test) - 1)


def _session(folder: Path, session: int) -> list[Record]:
    records = []
    for table in sorted((folder / "dialog" / "EmoEvaluation").glob("[!.]*.txt")):
        for turn in re.finditer(_TURN, table.read_text(encoding="latin-1")):
            label = EMOTIONS.get(turn["emotion"])
            if label is not None:
                clip = folder / "sentences" / "wav" / table.stem / f"{turn['utterance']}.wav"
                fold = 2 * session - (turn["speaker"] == "F")
                records.append(Record(clip, label, fold=str(fold)))
    return records
