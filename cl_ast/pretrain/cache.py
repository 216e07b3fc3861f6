"""Renders clips once and stores them as 8-bit log-mel frames, in chunks that depend on the seed alone."""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from cl_ast.pretrain import mel, sounds, speech
from cl_ast.pretrain.dsp import Signal
from cl_ast.pretrain.pitch import pitch_track

log = logging.getLogger(__name__)

KINDS = ("word", "phrase", "sound")
LIMITS = {"word": 160, "phrase": 288, "sound": 256}  # frames
# log energy = _LOW + _STEP * byte. A step is 0.4 dB, far below the random variation of the frames themselves.
_LOW, _STEP = -16.0, 0.1
COLUMNS = ("length", "kind", "family", "word", "language", "voice", "mood")


@dataclass(slots=True)
class Clips:
    """Many clips, with their frames end to end.

    Attributes:
        mel: log-mel energies as bytes (frames, 128).
        phoneme: the class of the phoneme of each frame (frames,), 0 for none.
        pitch: the pitch of each frame as a byte (frames,), see `pitch_track`.
        table: the `COLUMNS` of each clip (clips, 7); a label is -1 if it does not apply.
        prosody: pitch, pitch range, rate and tilt of each clip (clips, 4), about -1 to 1 each.
    """

    mel: NDArray[np.uint8]
    phoneme: NDArray[np.uint8]
    pitch: NDArray[np.uint8]
    table: NDArray[np.int32]
    prosody: NDArray[np.float32]

    def column(self, name: str) -> NDArray[np.int32]:
        """Return one column of the table (clips,) by its name."""
        return np.asarray(self.table[:, COLUMNS.index(name)])

    @property
    def offsets(self) -> NDArray[np.int64]:
        """The index of the first frame of each clip (clips,)."""
        return np.concatenate([[0], np.cumsum(self.column("length"), dtype=np.int64)[:-1]])

    def __len__(self) -> int:
        return len(self.table)


def to_bytes(features: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return log energies as one byte each."""
    return np.clip(np.round((features - _LOW) / _STEP), 0, 255).astype(np.uint8)


def from_bytes(data: torch.Tensor) -> torch.Tensor:
    """Return the log energies of bytes, within half a step of the original."""
    return data.float() * _STEP + _LOW


@dataclass(slots=True)
class _Rendered:
    """One rendered clip.

    Attributes:
        samples: the waveform at 16 kHz.
        labels: family, word, language, voice and mood; -1 if a label does not apply.
        phonemes: class and first sample of each phoneme.
        prosody: pitch, pitch range, rate and tilt.
    """

    samples: Signal
    labels: tuple[int, int, int, int, int]
    phonemes: list[tuple[int, int]]
    prosody: list[float]


def render_chunk(seed: int, kind: str, index: int, count: int) -> Clips:
    """Render `count` clips of a kind. The result depends on the arguments alone, so any chunk can be made alone."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, KINDS.index(kind), index])
    frames: list[NDArray[np.uint8]] = []
    phonemes: list[NDArray[np.uint8]] = []
    pitches: list[NDArray[np.uint8]] = []
    rows: list[tuple[int, ...]] = []
    prosody: list[list[float]] = []
    limit = mel.samples_for(LIMITS[kind])
    while len(rows) < count:
        clip = _sound(rng, len(rows), limit) if kind == "sound" else _speech(rng, kind, limit)
        if clip is None:
            continue
        features = mel.log_mel(clip.samples)
        frames.append(to_bytes(features))
        phonemes.append(_phoneme_of_frames(clip, len(features)))
        pitches.append(pitch_track(clip.samples, len(features)))
        rows.append((len(features), KINDS.index(kind), *clip.labels))
        prosody.append(clip.prosody)
    return Clips(
        np.concatenate(frames), np.concatenate(phonemes), np.concatenate(pitches),
        np.array(rows, np.int32), np.array(prosody, np.float32),
    )  # fmt: skip


def _sound(rng: Generator, number: int, limit: int) -> _Rendered:
    """Render the sound of that number in its chunk. The families take turns."""
    family = number % len(sounds.NAMES)
    samples = sounds.render(rng, sounds.NAMES[family], limit)
    return _Rendered(samples, (family, -1, -1, -1, -1), [], [0.0] * 4)


def _speech(rng: Generator, kind: str, limit: int) -> _Rendered | None:
    """Render a word or a phrase, or return None if espeak-ng cannot say it."""
    said = speech.render(rng, phrase=kind == "phrase", limit=limit)
    if said is None:
        return None
    labels = (-1, said.word, said.language, said.voice, said.mood)
    return _Rendered(said.samples, labels, said.phonemes, said.prosody)


def _phoneme_of_frames(clip: _Rendered, length: int) -> NDArray[np.uint8]:
    """Return the class of the phoneme of each frame (length,), 0 for none."""
    classes = np.zeros(length, np.uint8)
    ends = [start for _, start in clip.phonemes[1:]] + [len(clip.samples)]
    for (phoneme, start), end in zip(clip.phonemes, ends, strict=False):
        classes[start // mel.SHIFT : max(start // mel.SHIFT + 1, end // mel.SHIFT)] = phoneme
    return classes


def _render_to(folder: Path, seed: int, kind: str, index: int, count: int) -> str:
    path = folder / f"{kind}-{index:04d}.npz"
    clips = render_chunk(seed, kind, index, count)
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        mel=clips.mel,
        phoneme=clips.phoneme,
        pitch=clips.pitch,
        table=clips.table,
        prosody=clips.prosody,
    )
    part.replace(path)
    return path.name


def render(folder: Path, seed: int, chunks: dict[str, int], count: int, workers: int) -> None:
    """Render the chunks of each kind that the folder does not have yet.

    Args:
        folder: where the chunks are stored.
        seed: the seed of all chunks.
        chunks: the number of chunks of each kind.
        count: the clips of a chunk.
        workers: the number of processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (kind, index)
        for index in range(max(chunks.values()))
        for kind in KINDS
        if index < chunks.get(kind, 0) and not (folder / f"{kind}-{index:04d}.npz").exists()
    ]
    # Each chunk has a process of its own, because espeak-ng carries state from one text to the next.
    fork = "forkserver" in multiprocessing.get_all_start_methods()  # not on Windows
    context = multiprocessing.get_context("forkserver" if fork else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        pending = [pool.submit(_render_to, folder, seed, kind, index, count) for kind, index in jobs]
        for done, future in enumerate(as_completed(pending), 1):
            log.info("rendered %s (%d of %d)", future.result(), done, len(jobs))


def load(folder: Path, chunks: dict[str, range]) -> Clips:
    """Load the chunks of a folder, given by kind and index, as one set of clips."""
    paths = [folder / f"{kind}-{index:04d}.npz" for kind in KINDS for index in chunks.get(kind, ())]
    parts = []
    for path in paths:
        with np.load(path) as data:
            parts.append({name: data[name] for name in data.files})
    names = ("mel", "phoneme", "pitch", "table", "prosody")
    return Clips(*(np.concatenate([part.pop(name) for part in parts]) for name in names))
