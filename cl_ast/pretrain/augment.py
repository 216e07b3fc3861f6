"""Makes training batches from stored clips, which are placed, mixed, filtered and padded differently each time.

Everything is done on the power of the mel bands, where sounds add up, a room smears over time and a channel scales. A
batch takes tens of milliseconds this way, and would take seconds on waveforms.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from cl_ast.pretrain import mel
from cl_ast.pretrain.cache import KINDS, Clips, from_bytes
from cl_ast.pretrain.sounds import NAMES
from cl_ast.pretrain.speech import PHONEMES

SPEECH = len(NAMES)  # the family of all speech
PHONEME_CLASSES = len(PHONEMES) + 1  # the last class is for all other sounds of speech
# The frames of a batch, and how often each length is drawn. Most are half a second to one second long, some as short
# as a syllable or as long as five seconds.
LENGTHS = {32: 1, 48: 4, 64: 6, 96: 6, 128: 4, 160: 2, 192: 2, 256: 1.5, 400: 0.7, 512: 0.5}
MIX = {"word": 0.36, "phrase": 0.24, "sound": 0.4}
_PITCH_OCTAVES = float(np.log2(10.0))  # the octaves that the byte of `pitch_track` covers


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


class Augmenter:
    """Draws batches from a set of clips.

    Args:
        clips: the clips to draw from.
        stride, patch: frames from one column of patches to the next, and frames in a column. With them, labels of
            frames become labels of columns.
    """

    def __init__(self, clips: Clips, *, stride: int, patch: int = 16) -> None:
        self.clips, self.stride, self.patch = clips, stride, patch
        self._offsets, self._lengths = clips.offsets, clips.column("length").astype(np.int64)
        kind = clips.column("kind")
        self._of_kind = {name: np.flatnonzero(kind == i) for i, name in enumerate(KINDS)}
        loud = clips.mel.mean(axis=1, dtype=np.float32)
        # The loudest frame of each clip. Crops are placed around it, so that a rare event is not cut away.
        self._peak = np.array(
            [loud[o : o + n].argmax() for o, n in zip(self._offsets, self._lengths, strict=True)], np.int64
        )
        noise = np.random.default_rng(0).standard_normal(mel.samples_for(4096)) * 0.1
        self._floor = torch.as_tensor(mel.log_mel(noise)).exp()

    def batch(self, rng: Generator, size: int, frames: int, hard: float) -> Batch:
        """Draw a batch of `size` clips of `frames` frames. `hard` (0 to 1) strengthens noise, rooms and channels."""
        names = list(MIX)
        kinds = rng.choice(len(names), size, p=np.array([MIX[k] for k in names]))
        rows = np.array([rng.choice(self._of_kind[names[k]]) for k in kinds])
        active = np.where(rng.random(size) < 0.5, frames, rng.integers(max(16, frames // 5), frames + 1, size))
        speed = np.exp(rng.normal(0, 0.06, size))
        index, valid = self._place(rng, rows, kinds == KINDS.index("sound"), active, frames, speed)
        warp = np.exp(rng.normal(0, 0.05, size))
        power = self._power(index, valid, warp)
        power, family = self._mix(rng, power, rows, kinds, active, frames, hard)
        power = _rooms(rng, power, hard)
        power = power * _channels(rng, size, hard)
        power = self._finish(rng, power, frames)
        features = power.clamp_min(torch.finfo(torch.float32).eps).log()
        features = _masked(rng, features)
        beyond = torch.arange(frames)[None] >= torch.as_tensor(active)[:, None]
        features = features.masked_fill(beyond[..., None], 0.0)
        prosody = torch.as_tensor(self.clips.prosody[rows])
        prosody[:, 2] += torch.as_tensor(2 * np.log(speed), dtype=torch.float32)
        return Batch(
            features=mel.normalise(features),
            labels=self._labels(rows, valid),
            family=family,
            prosody=prosody,
            phonemes=self._phonemes(index, valid, frames),
            pitch=self._pitch(index, valid, warp, frames),
        )

    def _place(
        self,
        rng: Generator,
        rows: NDArray[np.int64],
        loops: NDArray[np.bool_],
        active: NDArray[np.int64],
        frames: int,
        speed: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the index of the stored frame for each frame of the batch, and whether there is one."""
        lengths, time = self._lengths[rows], np.arange(frames)[None]
        used = np.ceil(lengths / speed).astype(np.int64)
        room = active - used
        # A clip that is too long for its place is cut at random, and a shorter one is put at a random position.
        start = np.where(room >= 0, rng.random(len(rows)) * (room + 1), -rng.random(len(rows)) * -room).astype(int)
        source = ((time - start[:, None]) * speed[:, None]).astype(np.int64)
        onset = np.where(
            rng.random(len(rows)) < 0.7,
            self._peak[rows] - rng.random(len(rows)) * active * 0.8,
            rng.random(len(rows)) * lengths,
        ).astype(np.int64)
        looped = ((time * speed[:, None]).astype(np.int64) + onset[:, None]) % lengths[:, None]
        source = np.where(loops[:, None], looped, source)
        inside = (
            (source >= 0)
            & (source < lengths[:, None])
            & (time < active[:, None])
            & (loops[:, None] | (time >= start[:, None]))
        )
        return self._offsets[rows][:, None] + source.clip(0, lengths[:, None] - 1), inside

    def _power(self, index: NDArray[np.int64], valid: NDArray[np.bool_], warp: NDArray[np.float64]) -> Tensor:
        """Return the mel power of stored frames. `warp` moves the bands, as another vocal tract or body size would."""
        bins = torch.arange(mel.BINS, dtype=torch.float32)
        wanted = torch.as_tensor(warp, dtype=torch.float32)[:, None] * bins
        hat = (1 - (bins[None, :, None] - wanted.clamp(max=mel.BINS - 1)[:, None, :]).abs()).clamp_min(0)
        log_power = torch.bmm(from_bytes(torch.from_numpy(self.clips.mel[index])), hat)
        return log_power.exp_() * torch.as_tensor(valid)[..., None]

    def _mix(
        self,
        rng: Generator,
        power: Tensor,
        rows: NDArray[np.int64],
        kinds: NDArray[np.int64],
        active: NDArray[np.int64],
        frames: int,
        hard: float,
    ) -> tuple[Tensor, Tensor]:
        """Add a second sound to some clips. Return the power, and the families' shares by amplitude."""
        size = len(rows)
        family = torch.zeros(size, SPEECH + 1)
        first = self.clips.column("family")[rows]
        first = np.where(first < 0, SPEECH, first)
        other = rng.choice(self._of_kind["sound"], size)
        second = self.clips.column("family")[other]
        chosen = rng.random(size) < 0.35 + 0.25 * hard
        snr = np.where(chosen, rng.uniform(22 - 22 * hard, 45, size), np.inf)
        index, valid = self._place(rng, other, np.ones(size, bool), active, frames, np.ones(size))
        where = np.flatnonzero(chosen)
        if len(where):
            extra = self._power(index[where], valid[where], np.exp(rng.normal(0, 0.05, len(where))))
            level = _level(power[where]) / _level(extra) * torch.as_tensor(10 ** (-snr[where] / 10)).float()
            power[where] += extra * level[:, None, None]
        amplitude = 10 ** (-snr / 20)
        share = torch.as_tensor(np.where(amplitude > 0.15, amplitude / (1 + amplitude), 0.0)).float()
        every = torch.arange(size)
        family[every, torch.as_tensor(first)] += 1 - share
        family[every, torch.as_tensor(second)] += share
        return power, family

    def _finish(self, rng: Generator, power: Tensor, frames: int) -> Tensor:
        """Add background noise of a random colour, then set the level of the whole recording."""
        size = len(power)
        start = rng.integers(0, len(self._floor) - frames, size)
        hiss = self._floor[torch.as_tensor(start[:, None] + np.arange(frames)[None])]
        colour = 10 ** (rng.uniform(-2.5, 0.5, size)[:, None] * np.linspace(0, 1, mel.BINS)[None])
        hiss *= torch.as_tensor(colour).float()[:, None]
        below = torch.as_tensor(10 ** (-rng.uniform(18, 75, size) / 10)).float()
        power = power + hiss * (below * _level(power) / _level(hiss))[:, None, None]
        gain = 10 ** (np.where(rng.random(size) < 0.5, rng.normal(-4, 6, size), rng.uniform(-38, 10, size)) / 10)
        return power * torch.as_tensor(gain).float()[:, None, None]

    def _labels(self, rows: NDArray[np.int64], valid: NDArray[np.bool_]) -> dict[str, Tensor]:
        labels = {k: self.clips.column(k)[rows].astype(np.int64) for k in ("word", "language", "voice", "mood", "kind")}
        # A word of which more than a fifth was cut counts as no word, because it may sound like another one.
        labels["word"] = np.where(valid.sum(1) > 0.8 * self._lengths[rows], labels["word"], -1)
        return {k: torch.from_numpy(v) for k, v in labels.items()}

    def _columns(self, values: Tensor, frames: int) -> Tensor:
        """Return the sums of values (batch, frames, n) over the frames of each column (batch, columns, n)."""
        count = (frames - self.patch) // self.stride + 1
        return values.unfold(1, self.patch, self.stride)[:, :count].sum(-1)

    def _phonemes(self, index: NDArray[np.int64], valid: NDArray[np.bool_], frames: int) -> Tensor:
        spoken = torch.from_numpy(np.where(valid, self.clips.phoneme[index], 0).astype(np.int64))
        one_hot = torch.zeros(*spoken.shape, PHONEME_CLASSES + 1).scatter_(2, spoken[..., None], 1.0)[..., 1:]
        return (self._columns(one_hot, frames) / 4).clamp(max=1)

    def _pitch(
        self, index: NDArray[np.int64], valid: NDArray[np.bool_], warp: NDArray[np.float64], frames: int
    ) -> Tensor:
        code = torch.from_numpy(np.where(valid, self.clips.pitch[index], 0)).float()
        voiced = (code > 0).float()
        sums = self._columns(torch.stack([code * voiced, voiced], -1), frames)
        shift = torch.as_tensor(np.log2(warp) / _PITCH_OCTAVES * 2).float()[:, None]
        pitch = sums[..., 0] / sums[..., 1].clamp_min(1) / 127.5 - 1 - shift
        return torch.stack([pitch, sums[..., 1] / self.patch], -1)


def _level(power: Tensor) -> Tensor:
    """Return the mean power of each clip (batch,) over its frames that are not silent."""
    frames = power.mean(2)
    return frames.sum(1) / (frames > 0).sum(1).clamp_min(1) + 1e-9


def _rooms(rng: Generator, power: Tensor, hard: float) -> Tensor:
    """Add reverberation to some clips: power that decays by 60 dB in the room's reverberation time."""
    where = np.flatnonzero(rng.random(len(power)) < 0.15 + 0.2 * hard)
    if not len(where):
        return power
    frames = power.shape[1]
    rt60 = torch.as_tensor(np.exp(rng.uniform(np.log(0.12), np.log(1.2), len(where)))).float()
    wet = torch.as_tensor(rng.uniform(0.01, 0.15, len(where))).float()
    lag = (torch.arange(frames)[:, None] - torch.arange(frames)[None]).float()
    smear = wet[:, None, None] * torch.exp(-13.8 / 100 / rt60[:, None, None] * lag.clamp_min(0)) * (lag > 0)
    power[where] += torch.bmm(smear, power[where])
    return power


def _channels(rng: Generator, size: int, hard: float) -> Tensor:
    """Return a smooth random frequency response as power (batch, 1, 128), sometimes with band limits."""
    x = np.linspace(-1, 1, mel.BINS)[None]
    response = rng.normal(0, 3 + 2 * hard, (size, 1)) * x
    for k in (1, 2, 3, 5):
        response = response + rng.normal(0, 2.0 / k**0.5, (size, 1)) * np.cos(
            np.pi * k * x + rng.uniform(0, 6, (size, 1))
        )
    bins = np.arange(mel.BINS)[None]
    cut = np.where(rng.random((size, 1)) < 0.25, rng.uniform(75, 126, (size, 1)), mel.BINS)
    response = response - np.clip((bins - cut) * rng.uniform(2, 10, (size, 1)), 0, rng.uniform(20, 70, (size, 1)))
    low = np.where(rng.random((size, 1)) < 0.15, rng.uniform(4, 25, (size, 1)), 0)
    response = response - np.clip((low - bins) * 1.5, 0, 30)
    return torch.as_tensor(10 ** (response / 10)).float()[:, None]


def _masked(rng: Generator, features: Tensor) -> Tensor:
    """Mask one band and one stretch of time of some clips with the value of padding (a light SpecAugment)."""
    size, frames, bins = features.shape
    masked = rng.random((size, 1)) < 0.25
    band, at = rng.integers(4, 20, (size, 1)), rng.integers(0, bins - 20, (size, 1))
    f = np.arange(bins)[None]
    wide, when = rng.integers(2, max(3, frames // 8), (size, 1)), rng.integers(0, frames, (size, 1))
    t = np.arange(frames)[None]
    in_band = torch.as_tensor(masked & (f >= at) & (f < at + band))[:, None, :]
    in_time = torch.as_tensor(masked & (t >= when) & (t < when + wide))[:, :, None]
    return features.masked_fill(in_band | in_time, 0.0)
