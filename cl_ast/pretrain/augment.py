"""Makes training batches from stored clips, which are placed, mixed, filtered and padded differently each time.

Everything is done on the power of the mel bands, where sounds add up, a room smears over time and a channel scales. A
batch takes tens of milliseconds this way, and would take seconds on waveforms.

The stored frames, the draws and all arithmetic are tensors of one device. Nothing here reads a tensor back to the
host, so a GPU never waits for the CPU.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cl_ast.errors import TrainingError
from cl_ast.pretrain import effects, mel
from cl_ast.pretrain.cache import KINDS, Clips, from_bytes
from cl_ast.pretrain.draws import Draws
from cl_ast.pretrain.sounds import NAMES
from cl_ast.pretrain.speech import PHONEMES

SPEECH = len(NAMES)  # the family of all speech
PHONEME_CLASSES = len(PHONEMES) + 1  # the last class is for all other sounds of speech
# The frames of a batch, and how often each length is drawn. Most are half a second to one second long, some as short
# as a syllable or as long as five seconds.
LENGTHS = {32: 1, 48: 4, 64: 6, 96: 6, 128: 4, 160: 2, 192: 2, 256: 1.5, 400: 0.7, 512: 0.5}
MIX = {"word": 0.36, "phrase": 0.24, "sound": 0.4}
LABELS = ("word", "language", "voice", "mood", "kind")
_PITCH_OCTAVES = math.log2(10.0)  # the octaves that the byte of `pitch_track` covers


@dataclass(slots=True)
class Batch:
    """The input and all targets of a batch.

    Attributes:
        features: normalised log-mel (batch, frames, 128).
        labels: word, language, voice, mood and kind (batch,) each; -1 if a label does not apply.
        family: the share of each sound family in a clip (batch, families + 1); the shares sum to one.
        prosody: pitch, pitch range, rate and tilt (batch, 4).
        phonemes: how much of each phoneme is in a column of patches (batch, columns, classes), 0 to 1.
        pitch: the pitch of each column, -1 to 1, and the share of its frames that have one (batch, columns, 2).
    """

    features: Tensor
    labels: dict[str, Tensor]
    family: Tensor
    prosody: Tensor
    phonemes: Tensor
    pitch: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on a device."""
        labels = {name: label.to(device) for name, label in self.labels.items()}
        rest = (self.family, self.prosody, self.phonemes, self.pitch)
        return Batch(self.features.to(device), labels, *(tensor.to(device) for tensor in rest))


class Augmenter:
    """Draws batches from a set of clips.

    Args:
        clips: the clips to draw from. On a CPU their frames are used where they are; a GPU gets a copy.
        stride, patch: frames from one column of patches to the next, and frames in a column. With them, labels of
            frames become labels of columns.
        device: where batches are made.

    Raises:
        TrainingError: there are no clips of some kind.
    """

    def __init__(self, clips: Clips, *, stride: int, patch: int = 16, device: torch.device | str = "cpu") -> None:
        self.device, self.stride, self.patch = torch.device(device), stride, patch
        self._mel, self._phoneme, self._pitch, self._prosody = (
            self._put(values) for values in (clips.mel, clips.phoneme, clips.pitch, clips.prosody)
        )
        lengths = clips.column("length").astype(np.int64)
        self._offsets, self._lengths = self._put(clips.offsets), self._put(lengths)
        self._peak = self._put(_loudest(clips))
        family = clips.column("family")
        self._family = self._put(np.where(family < 0, SPEECH, family).astype(np.int64))
        self._labels_of = self._put(np.stack([clips.column(name) for name in LABELS], 1).astype(np.int64))
        self._rows = _rows_by_kind(clips)
        self._by_kind = self._put(np.concatenate(self._rows))
        counts = np.array([len(rows) for rows in self._rows])
        self._first_of_kind, self._count_of_kind = self._put(counts.cumsum() - counts), self._put(counts)
        self._until_kind = self._put(np.cumsum([MIX[kind] for kind in KINDS], dtype=np.float32)[:-1])
        self._floor = effects.noise_floor().to(self.device)

    def _put(self, values: NDArray[np.generic]) -> Tensor:
        """Return an array on the device: a copy for a GPU, the array itself for the CPU."""
        return torch.from_numpy(values).to(self.device)

    @torch.no_grad()
    def batch(self, draws: Draws, size: int, frames: int, hard: float) -> Batch:
        """Make a batch of `size` clips of `frames` frames. `hard` (0 to 1) strengthens noise, rooms and channels."""
        kinds = (draws.uniform(0, 1, size, 1) >= self._until_kind).sum(1)
        rows = self._pick(draws, kinds)
        part = draws.integers(max(16, frames // 5), frames + 1, size)
        active = torch.where(draws.chance(0.5, size), frames, part)
        speed = draws.normal(size).mul_(0.06).exp_()
        index, valid = self._place(draws, rows, kinds == KINDS.index("sound"), active, frames, speed)
        warp = draws.normal(size).mul_(0.05).exp_()
        power = self._power(index, valid, warp)
        family = self._mix(draws, power, rows, active, hard)
        prosody = self._prosody[rows]
        prosody[:, 2] += 2 * speed.log()
        return Batch(
            features=self._recorded(draws, power, active, hard),
            labels=self._labels(rows, valid),
            family=family,
            prosody=prosody,
            phonemes=self._phonemes(index, valid),
            pitch=self._pitches(index, valid, warp),
        )

    def _pick(self, draws: Draws, kinds: Tensor) -> Tensor:
        """Return a random clip of each of the kinds (n,)."""
        at = (draws.uniform(0, 1, len(kinds)) * self._count_of_kind[kinds]).long()
        return self._by_kind[self._first_of_kind[kinds] + at]

    def _place(
        self, draws: Draws, rows: Tensor, loops: Tensor, active: Tensor, frames: int, speed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the index of the stored frame for each frame of the batch, and whether there is one.

        Sounds (`loops`) are repeated to fill their place. Speech is not.
        """
        size, lengths, time = len(rows), self._lengths[rows], torch.arange(frames, device=self.device)
        room = active - (lengths / speed).ceil()
        # A clip that is too long for its place is cut at random, and a shorter one is put at a random position.
        start = (draws.uniform(0, 1, size) * torch.where(room >= 0, room + 1, room)).trunc()
        # Crops of sounds are placed around the loudest frame, so that a rare event is not cut away.
        near_peak = self._peak[rows] - draws.uniform(0, 0.8, size) * active
        onset = torch.where(draws.chance(0.7, size), near_peak, draws.uniform(0, 1, size) * lengths).long()
        lengths, loops = lengths[:, None], loops[:, None]
        once = ((time - start[:, None]) * speed[:, None]).long()
        looped = ((time * speed[:, None]).long() + onset[:, None]) % lengths
        source = torch.where(loops, looped, once)
        inside = (loops | (time >= start[:, None])) & (source < lengths) & (time < active[:, None])
        return self._offsets[rows][:, None] + torch.minimum(source.clamp_min_(0), lengths - 1), inside

    def _power(self, index: Tensor, valid: Tensor, warp: Tensor) -> Tensor:
        """Return the mel power of stored frames. `warp` moves the bands, as another vocal tract or body size would."""
        bins = torch.arange(mel.BINS, dtype=torch.float32, device=self.device)
        wanted = (warp[:, None] * bins).clamp_(max=mel.BINS - 1)
        hat = (bins[:, None] - wanted[:, None]).abs_().neg_().add_(1).clamp_min_(0)
        stored = self._mel.index_select(0, index.flatten()).view(*index.shape, mel.BINS)
        # The weights of a band sum to one, so bytes can be moved before they become log energies.
        return from_bytes(torch.bmm(stored.float(), hat)).exp_().mul_(valid[..., None])

    def _mix(self, draws: Draws, power: Tensor, rows: Tensor, active: Tensor, hard: float) -> Tensor:
        """Add a second sound to some clips. Return the families' shares by amplitude."""
        first = self._family[rows]
        family = torch.zeros(len(rows), SPEECH + 1, device=self.device).scatter_(1, first[:, None], 1.0)
        mixed = draws.some(0.35 + 0.25 * hard, len(rows))
        count = len(mixed)
        if not count:
            return family
        other = self._pick(draws, torch.full_like(mixed, KINDS.index("sound")))
        every, speed = torch.ones_like(mixed, dtype=torch.bool), torch.ones(count, device=self.device)
        index, valid = self._place(draws, other, every, active[mixed], power.shape[1], speed)
        extra = self._power(index, valid, draws.normal(count).mul_(0.05).exp_())
        below = effects.from_decibels(-draws.uniform(22 - 22 * hard, 45, count))
        level = effects.mean_level(power[mixed]) / effects.mean_level(extra) * below
        power.index_add_(0, mixed, extra.mul_(level[:, None, None]))
        amplitude = below.sqrt()
        share = torch.where(amplitude > 0.15, amplitude / (1 + amplitude), 0.0)
        shares = torch.zeros(count, SPEECH + 1, device=self.device)
        shares.scatter_add_(1, first[mixed][:, None], (1 - share)[:, None])
        shares.scatter_add_(1, self._family[other][:, None], share[:, None])
        return family.index_copy_(0, mixed, shares)

    def _recorded(self, draws: Draws, power: Tensor, active: Tensor, hard: float) -> Tensor:
        """Return the features of power (batch, frames, 128) that is recorded in a room, padded and masked."""
        size, frames, _ = power.shape
        effects.add_rooms(draws, power, hard)
        power.mul_(effects.channels(draws, size, hard))
        effects.add_noise(draws, power, self._floor)
        power.mul_(effects.gains(draws, size))
        features = power.clamp_min_(torch.finfo(torch.float32).eps).log_()
        in_time, in_band = effects.masks(draws, size, frames)
        beyond = torch.arange(frames, device=self.device) >= active[:, None]
        features.masked_fill_((in_time | beyond)[..., None], 0.0).masked_fill_(in_band[:, None], 0.0)
        return mel.normalise(features)

    def _labels(self, rows: Tensor, valid: Tensor) -> dict[str, Tensor]:
        labels = dict(zip(LABELS, self._labels_of[rows].unbind(1), strict=True))
        # A word of which more than a fifth was cut counts as no word, because it may sound like another one.
        labels["word"] = torch.where(valid.sum(1) > 0.8 * self._lengths[rows], labels["word"], -1)
        return labels

    def _columns(self, values: Tensor) -> Tensor:
        """Return the sums of values (batch, frames, n) over the frames of each column (batch, columns, n)."""
        return values.unfold(1, self.patch, self.stride).sum(-1)

    def _phonemes(self, index: Tensor, valid: Tensor) -> Tensor:
        spoken = (self._phoneme[index] * valid).long()
        one_hot = torch.zeros(*spoken.shape, PHONEME_CLASSES + 1, device=self.device).scatter_(
            2, spoken[..., None], 1.0
        )
        return self._columns(one_hot[..., 1:]).div_(4).clamp_(max=1)

    def _pitches(self, index: Tensor, valid: Tensor, warp: Tensor) -> Tensor:
        code = (self._pitch[index] * valid).float()
        total, voiced = self._columns(torch.stack([code, (code > 0).float()], -1)).unbind(-1)
        shift = (warp.log2() / _PITCH_OCTAVES * 2)[:, None]
        return torch.stack([total / voiced.clamp_min(1) / 127.5 - 1 - shift, voiced / self.patch], -1)


def _loudest(clips: Clips) -> NDArray[np.int64]:
    """Return the loudest frame of each clip (clips,)."""
    loud = clips.mel.mean(axis=1, dtype=np.float32)
    places = zip(clips.offsets, clips.column("length"), strict=True)
    return np.array([loud[offset : offset + length].argmax() for offset, length in places], np.int64)


def _rows_by_kind(clips: Clips) -> list[NDArray[np.int64]]:
    """Return the numbers of the clips of each of the `KINDS`."""
    kind = clips.column("kind")
    rows = [np.flatnonzero(kind == number) for number in range(len(KINDS))]
    for name, found in zip(KINDS, rows, strict=True):
        if not len(found):
            raise TrainingError(f"there are no clips of kind {name!r} to train on; render at least one chunk of them")
    return rows
