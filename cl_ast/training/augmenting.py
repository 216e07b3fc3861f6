"""Changes training clips in another way each time: mixup, noise, gain and shift, then SpecAugment's masks.

Everything is done on the features, so that clips are read once. The energies of log-mel features are added where sounds
are mixed, and frames of padding stay what they are. Numbers are drawn from torch's random state of the device, which is
seeded, and is the same in all processes that train together.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.log_mel import LogMelFrontEnd, log_mel
from cl_ast.audio.raw_samples import WaveformFrontEnd
from cl_ast.errors import TrainingError
from cl_ast.tasks.label_kinds import LabelKind
from cl_ast.tasks.task_model import TaskModel
from cl_ast.training.masking import masked
from cl_ast.training.options import Hyperparameters, words_in

Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps features and targets to changed features and targets, which mixup makes shares (batch, labels)."""

_MIXUP = 0.4  # both parameters of the Beta distribution of the share: mostly one of the two clips is far louder
_SHIFT = 0.1  # of the clip's length, at most, either way
_GAIN = 6.0  # dB, at most, either way
_SNR = (10.0, 40.0)  # dB
_NEPER = 10 / math.log(10)  # dB in a natural logarithm of an energy
_FLOOR = math.log(torch.finfo(torch.float32).eps)  # of log-mel, in digital silence
_ALIKE = 1e-3  # how near to the value of padding its bins are, also where features are kept in half precision


def augmentation(model: TaskModel, options: Hyperparameters) -> Augment | None:
    """Return what changes the training clips of a task, or None where nothing does.

    Raises:
        TrainingError: the backbone takes samples, and masks are wanted, or gain where it brings clips to one level.
    """
    kinds, masks = words_in(options.augment), options.frequency_mask or options.time_mask
    front_end = model.settings.front_end
    if not (kinds or masks):
        return None
    if isinstance(front_end, LogMelFrontEnd):
        mask = partial(
            masked, frequency_mask=options.frequency_mask, time_mask=options.time_mask, fill=front_end.padding
        )
    else:
        _check_samples(model.backbone.name, front_end, kinds, bool(masks))
        mask = None
    return _Augmentation(kinds, _sounds_of(front_end), model.settings.labelling, len(model.settings.labels), mask)


def _check_samples(name: str, front_end: WaveformFrontEnd, kinds: frozenset[str], masks: bool) -> None:
    if masks:
        raise TrainingError(
            f"{name} takes samples: there are no bins or frames to mask; set frequency_mask and time_mask "
            "(--freq-mask, --time-mask) to 0"
        )
    if "gain" in kinds and front_end.normalise:
        raise TrainingError(f"{name} brings all clips to one level, so gain changes nothing; leave it out of --augment")


@dataclass(frozen=True, slots=True)
class _Augmentation:
    """What changes a batch: `kinds` in a fixed order, and then the masks."""

    kinds: frozenset[str]
    sounds: "LogMelSounds | SampleSounds"
    labelling: LabelKind
    labels: int
    mask: Callable[[Tensor], Tensor] | None

    def __call__(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        batch, device = len(features), features.device
        if "shift" in self.kinds:
            most = int(_SHIFT * features.shape[1])
            features = shifted(features, torch.randint(-most, most + 1, (batch,), device=device), self.sounds.padding)
        if "gain" in self.kinds:
            features = self.sounds.louder(features, _uniform(batch, -_GAIN, _GAIN, device))
        if "mixup" in self.kinds:
            # A Beta distribution is drawn on the CPU, whose random state is the same in all processes, too.
            share = torch.distributions.Beta(_MIXUP, _MIXUP).sample((batch,)).to(device)
            other = torch.randperm(batch).to(device)
            features = self.sounds.mixed(features, features[other], share)
            shares = self.labelling.shares(targets, self.labels)
            targets = share[:, None] * shares + (1 - share[:, None]) * shares[other]
        if "noise" in self.kinds:
            features = self.sounds.noisy(features, _uniform(batch, *_SNR, device))
        return (features if self.mask is None else self.mask(features)), targets


def _uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return low + (high - low) * torch.rand(count, device=device)


def shifted(features: Tensor, steps: Tensor, fill: float) -> Tensor:
    """Move each clip in time by its own number of frames or samples; what comes in from outside has the value `fill`.

    Args:
        features: (batch, time) or (batch, time, bins).
        steps: (batch,) integers; positive ones move a clip to a later time.
    """
    length = features.shape[1]
    source = torch.arange(length, device=features.device) - steps[:, None]  # (batch, time)
    inside = (source >= 0) & (source < length)
    rows = torch.arange(len(features), device=features.device)[:, None]
    moved = features[rows, source.clamp(0, length - 1)]
    return torch.where(inside if features.ndim == 2 else inside[..., None], moved, fill)


def _sounds_of(front_end: FrontEnd) -> "LogMelSounds | SampleSounds":
    return LogMelSounds(front_end) if isinstance(front_end, LogMelFrontEnd) else SampleSounds(front_end.normalise)


class LogMelSounds:
    """Sounds as normalised log-mel energies (batch, frames, 128)."""

    def __init__(self, front_end: LogMelFrontEnd) -> None:
        self.padding = front_end.padding
        self._front_end = front_end
        self._noise: Tensor | None = None

    def louder(self, features: Tensor, decibels: Tensor) -> Tensor:
        """Change each clip's level by so many dB (batch,): a constant is added to its log energies."""
        energies, padded = self._energies(features)
        return self._features(energies * (decibels / _NEPER).exp()[:, None, None], padded)

    def mixed(self, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
        """Add the energies of two clips, of which the first has this share (batch,)."""
        (first, padded), (second, also) = self._energies(one), self._energies(other)
        return self._features(share[:, None, None] * first + (1 - share[:, None, None]) * second, padded & also)

    def noisy(self, features: Tensor, decibels: Tensor) -> Tensor:
        """Add the energies of white noise, with so many dB (batch,) between the clip's mean energy and the noise's."""
        energies, padded = self._energies(features)
        sounding = (~padded).sum(dim=1, keepdim=True).clamp_min(1)
        level = energies.mean(dim=2, keepdim=True).sum(dim=1, keepdim=True) / sounding
        noise = self._white(features.device)
        # Another part of the same noise for each clip: its frames in a circle, from anywhere.
        start = torch.randint(len(noise), (len(features), 1), device=features.device)
        noise = noise[(start + torch.arange(features.shape[1], device=features.device)) % len(noise)]
        return self._features(energies + noise * level / (decibels / _NEPER).exp()[:, None, None], padded)

    def _white(self, device: torch.device) -> Tensor:
        """Return the energies (frames, 128) of white noise, with mean 1; they are computed once."""
        if self._noise is None:
            samples = np.random.default_rng(0).normal(size=16_000 * 5).astype(np.float32)
            energies = log_mel([samples], 490)[0].exp()
            self._noise = (energies / energies.mean()).to(device)
        return self._noise

    def _energies(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies and which frames (batch, frames, 1) are padding, whose energy is 0."""
        padded = ((features - self.padding).abs() < _ALIKE).all(dim=2, keepdim=True)
        logarithm = features * (2 * self._front_end.std) + self._front_end.mean
        return logarithm.exp().masked_fill(padded, 0), padded

    def _features(self, energies: Tensor, padded: Tensor) -> Tensor:
        features = self._front_end.normalise(energies.log().clamp_min(_FLOOR))
        return features.masked_fill(padded, self.padding)


class SampleSounds:
    """Sounds as samples (batch, samples), which end with zeros where a clip is shorter."""

    padding = 0.0

    def __init__(self, normalise: bool) -> None:
        self._normalise = normalise

    def louder(self, samples: Tensor, decibels: Tensor) -> Tensor:
        """Change each clip's level by so many dB (batch,)."""
        return samples * (decibels / (2 * _NEPER)).exp()[:, None]

    def mixed(self, one: Tensor, other: Tensor, share: Tensor) -> Tensor:
        """Add two clips, of which the first has this share (batch,) of the energy."""
        mixed = share.sqrt()[:, None] * one + (1 - share).sqrt()[:, None] * other
        return self._level(mixed, (one != 0) | (other != 0))

    def noisy(self, samples: Tensor, decibels: Tensor) -> Tensor:
        """Add white noise, with so many dB (batch,) between the clip's mean energy and the noise's."""
        used = samples != 0
        level = samples.square().sum(dim=1, keepdim=True) / used.sum(dim=1, keepdim=True).clamp_min(1)
        noise = torch.randn_like(samples) * (level / (decibels / _NEPER).exp()[:, None]).sqrt()
        return self._level(samples + noise * used, used)

    def _level(self, samples: Tensor, used: Tensor) -> Tensor:
        """Return the samples with zero mean and unit variance where `used`, if the backbone takes clips that way."""
        if not self._normalise:
            return samples
        count = used.sum(dim=1, keepdim=True).clamp_min(1)
        centred = (samples - samples.sum(dim=1, keepdim=True) / count) * used
        return centred / (centred.square().sum(dim=1, keepdim=True) / count).clamp_min(1e-7).sqrt()
