"""Makes data sets of any size in the layout of Speech Commands and of Fluent Speech Commands, on all cores.

A clip is a tone of its class with noise, written as 16-bit WAV at 16 kHz, so 105,829 clips of a second take 3.4 GB.
"""

import csv
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

RATE = 16_000
GSC_CLIPS, FSC_CLIPS = 105_829, 30_043
_WORDS = 35
_INTENTS = 31
_SPEAKERS = 97  # of Fluent Speech Commands
_VALIDATION, _TEST = 9_981 / GSC_CLIPS, 11_005 / GSC_CLIPS
_FSC_VALIDATION, _FSC_TEST = 3_118 / FSC_CLIPS, 3_793 / FSC_CLIPS
_GROUP = 1_000  # clips that a process writes at a time

Clip = tuple[Path, int, float]  # where, which class, and how many seconds


def gsc(root: Path, clips: int = GSC_CLIPS) -> Path:
    """Write clips of a second as Speech Commands has them: a folder per word, and two lists of the held-out clips."""
    words = [f"word{number:02}" for number in range(_WORDS)]
    made: list[Clip] = []
    for number in range(clips):
        made.append((root / words[number % _WORDS] / f"{number:08x}_nohash_0.wav", number % _WORDS, 1.0))
    for word in words:
        (root / word).mkdir(parents=True)
    _write(made)
    names = [path.relative_to(root).as_posix() for path, _, _ in made]
    validation, test = (round(share * clips) for share in (_VALIDATION, _TEST))
    (root / "validation_list.txt").write_text("\n".join(names[:validation]) + "\n")
    (root / "testing_list.txt").write_text("\n".join(names[validation : validation + test]) + "\n")
    return root


def fsc(root: Path, clips: int = FSC_CLIPS) -> Path:
    """Write clips of one to four seconds as Fluent Speech Commands has them: a folder per speaker, and three tables."""
    rows: list[tuple[str, str, str]] = []
    made: list[Clip] = []
    for number in range(clips):
        intent, speaker = number % _INTENTS, f"speaker{number % _SPEAKERS:02}"
        word = hashlib.sha256(f"fsc {number}".encode()).hexdigest()
        name = "-".join((word[:8], word[8:12], word[12:16], word[16:20], word[20:32]))
        path = f"wavs/speakers/{speaker}/{name}.wav"
        rows.append((path, speaker, f"action{intent:02}"))
        made.append((root / path, intent, 1.0 + number % 13 / 4))
    for folder in {path.parent for path, _, _ in made}:
        folder.mkdir(parents=True)
    _write(made)
    validation, test = (round(share * clips) for share in (_FSC_VALIDATION, _FSC_TEST))
    parts = {"valid": rows[:validation], "test": rows[validation : validation + test]}
    (root / "data").mkdir()
    for name, part in {**parts, "train": rows[validation + test :]}.items():
        with (root / "data" / f"{name}_data.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("", "path", "speakerId", "transcription", "action", "object", "location"))
            table.writerows(
                (number, path, speaker, "words", action, "none", "none")
                for number, (path, speaker, action) in enumerate(part)
            )
    return root


def _write(clips: Sequence[Clip]) -> None:
    groups = [clips[first : first + _GROUP] for first in range(0, len(clips), _GROUP)]
    if len(groups) == 1:
        _write_group(groups[0])
        return
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(_write_group, groups))


def _write_group(clips: Sequence[Clip]) -> None:
    """Write some clips: a tone of the class, and a part of one long noise that differs from clip to clip."""
    noise = np.random.default_rng(0).normal(scale=500, size=2**18).astype(np.int16)
    time = np.arange(5 * RATE) / RATE
    tones: dict[int, npt.NDArray[np.int16]] = {}
    for path, label, seconds in clips:
        if label not in tones:
            tones[label] = (6_000 * np.sin(2 * np.pi * (200 + 90 * label) * time)).astype(np.int16)
        samples = round(seconds * RATE)
        start = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "little") % (len(noise) - samples)
        path.write_bytes(_header(samples) + (tones[label][:samples] + noise[start : start + samples]).tobytes())


def _header(samples: int) -> bytes:
    """Return the header of a WAV file of 16-bit samples."""
    size = 2 * samples
    numbers = (1).to_bytes(2, "little") * 2 + RATE.to_bytes(4, "little") + (2 * RATE).to_bytes(4, "little")
    form = b"fmt " + (16).to_bytes(4, "little") + numbers + (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    return b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVE" + form + b"data" + size.to_bytes(4, "little")
