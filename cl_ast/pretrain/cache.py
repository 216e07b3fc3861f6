"""Clips rendered once and kept as 8-bit log-mel frames, in chunks that depend on the seed alone."""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cl_ast.pretrain import mel, sounds, speech
from cl_ast.pretrain.pitch import pitch_track

log = logging.getLogger(__name__)

KINDS = ("word", "phrase", "sound")
LIMITS = {"word": 160, "phrase": 288, "sound": 256}  # frames
_LOW, _STEP = -16.0, 0.1  # log energy = _LOW + _STEP * byte: steps of 0.4 dB, far below the frames' own noise
COLUMNS = ("length", "kind", "family", "word", "language", "voice", "mood")


@dataclass(slots=True)
class Clips:
    """Many clips end to end. Frame arrays have one row a frame; `table` and `prosody` one row a clip."""

    mel: NDArray[np.uint8]
    phoneme: NDArray[np.uint8]
    pitch: NDArray[np.uint8]
    table: NDArray[np.int32]
    prosody: NDArray[np.float32]

    def column(self, name: str) -> NDArray[np.int32]:
        """One column of the table by its name."""
        return np.asarray(self.table[:, COLUMNS.index(name)])

    @property
    def offsets(self) -> NDArray[np.int64]:
        """The first frame of each clip."""
        return np.concatenate([[0], np.cumsum(self.column("length"), dtype=np.int64)[:-1]])

    def __len__(self) -> int:
        return len(self.table)


def to_bytes(features: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Log energies to one byte each."""
    return np.clip(np.round((features - _LOW) / _STEP), 0, 255).astype(np.uint8)


def from_bytes(data: torch.Tensor) -> torch.Tensor:
    """And back."""
    return data.float() * _STEP + _LOW


def render_chunk(seed: int, kind: str, index: int, count: int) -> Clips:
    """`count` clips of a kind. The generator's seed is (seed, kind, index): any chunk can be made alone."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, KINDS.index(kind), index])
    frames: list[NDArray[np.uint8]] = []
    phonemes: list[NDArray[np.uint8]] = []
    pitches: list[NDArray[np.uint8]] = []
    rows: list[tuple[int, ...]] = []
    prosody: list[list[float]] = []
    while len(rows) < count:
        limit = mel.samples_for(LIMITS[kind])
        if kind == "sound":
            family = len(rows) % len(sounds.NAMES)
            samples = sounds.render(rng, sounds.NAMES[family], limit)
            labels, track = (family, -1, -1, -1, -1), None
            manner = [0.0] * 4
        else:
            said = speech.render(rng, phrase=kind == "phrase", limit=limit)
            if said is None:
                continue
            samples, track, manner = said.samples, said.phonemes, said.prosody
            labels = (-1, said.word, said.language, said.voice, said.mood)
        features = mel.log_mel(samples)
        length = len(features)
        spoken = np.zeros(length, np.uint8)
        for k, (name, start) in enumerate(track or []):
            stop = track[k + 1][1] if track and k + 1 < len(track) else len(samples)
            spoken[start // 160 : max(start // 160 + 1, stop // 160)] = name
        frames.append(to_bytes(features))
        phonemes.append(spoken)
        pitches.append(pitch_track(samples, length))
        rows.append((length, KINDS.index(kind), *labels))
        prosody.append(manner)
    return Clips(
        np.concatenate(frames), np.concatenate(phonemes), np.concatenate(pitches),
        np.array(rows, np.int32), np.array(prosody, np.float32),
    )  # fmt: skip


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
    """Make the chunks of each kind that are not in the folder yet, kinds in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (kind, index)
        for index in range(max(chunks.values()))
        for kind in KINDS
        if index < chunks.get(kind, 0) and not (folder / f"{kind}-{index:04d}.npz").exists()
    ]
    # A fresh process for each chunk: espeak-ng carries state from one text to the next.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        pending = [pool.submit(_render_to, folder, seed, kind, index, count) for kind, index in jobs]
        for done, future in enumerate(as_completed(pending), 1):
            log.info("rendered %s (%d of %d)", future.result(), done, len(jobs))


def load(folder: Path, chunks: dict[str, range]) -> Clips:
    """These chunks of a folder as one set of clips."""
    paths = [folder / f"{kind}-{index:04d}.npz" for kind in KINDS for index in chunks.get(kind, ())]
    parts = []
    for path in paths:
        with np.load(path) as data:
            parts.append({name: data[name] for name in data.files})
    names = ("mel", "phoneme", "pitch", "table", "prosody")
    return Clips(*(np.concatenate([part.pop(name) for part in parts]) for name in names))
