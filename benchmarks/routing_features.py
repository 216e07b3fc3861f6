"""Describes recordings as the router does, and computes every head's logits for them; both are cached in a folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import streams
from cl_ast.audio import reading as audio
from cl_ast.audio.clip_reader import read_all
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.manager import Manager
from cl_ast.router import RouterSpace
from cl_ast.router.copies import coded, copies, low_passed, second_of

NAMES = ("esc10", "us8k", "asc", "fsdd", "emodb")
# Other clips of these recordings are kept apart from the data (its README): never learned from here.
SHARED = ("1-30344-A", "1-59513-A", "3-163459-A", "4-199261-A", *(f"203128-3-{i}-0" for i in (1, 3, 6, 9)))
COUNTS = {"train": 150, "validation": 60, "test": 100}  # most clips of a task, chosen with seed 0
ALTERED_CLIPS = 40  # how many test clips are altered
FASTER = 4 / 3


@dataclass(frozen=True)
class Split:
    """Has the described clips of one split of a task.

    Attributes:
        views: by name ("plain", "band", …): (n, d).
        labels: (n,) classes.
        logits: by view ("plain", "band"), by the task whose head answers: (n, classes); empty without a registry.
    """

    views: Mapping[str, Tensor]
    labels: Tensor
    logits: Mapping[str, Mapping[str, Tensor]]


Features = Mapping[str, Mapping[str, Split]]  # by task (and task + "-faster"), by split


def load(
    data: Path, registry: Path | None, cache: Path, space: RouterSpace, splits: Sequence[str], many: bool
) -> Features:
    """Return every task's splits, as recorded; with `many`, also played a third faster."""
    out: dict[str, dict[str, Split]] = {}
    for change, suffix in ((None, ""), (faster, "-faster"))[: 2 if many else 1]:
        for split in splits:
            for name in NAMES:
                path = cache / f"{name}{suffix}-{split}.pt"
                if not path.exists():
                    cache.mkdir(parents=True, exist_ok=True)
                    torch.save(_compute(data / name, split, registry, space, change), path)
                kept = torch.load(path)
                out.setdefault(name + suffix, {})[split] = Split(**kept)
                print("ready:", path.name, flush=True)
    return out


def _compute(
    data: Path, split: str, registry: Path | None, space: RouterSpace, change: Callable[[Waveform], Waveform] | None
) -> dict[str, object]:
    task = streams.load(str(data))
    chosen = drawn(getattr(task, split), COUNTS[split])
    decoded = read_all([clip.path for clip in chosen])
    decoded = [change(clip) for clip in decoded] if change else decoded
    views: dict[str, list[Waveform]]
    views = {} if split == "train" else {"plain": decoded, "band": [low_passed(clip) for clip in decoded]}
    if split != "test":
        each = zip(*(copies(clip) for clip in decoded), strict=True)
        views |= {f"copy {number}": list(one) for number, one in enumerate(each)}
    elif change is None:
        views |= {name: [alter(clip) for clip in decoded[:ALTERED_CLIPS]] for name, alter in ALTERED.items()}
    labels = torch.tensor([task.labels.index(clip.label) for clip in chosen])
    logits = {}
    if registry and change is None and split != "train":
        with Manager.open(registry) as manager:
            for view in ("plain", "band"):
                logits[view] = {name: manager.logits(views[view], name) for name in NAMES}
    return {"views": {n: space.describe(v) for n, v in views.items()}, "labels": labels, "logits": logits}


def drawn(clips: Sequence[streams.Clip], most: int) -> list[streams.Clip]:
    """Return at most so many clips, the same in each run, without those of which other clips are kept apart."""
    own = [clip for clip in clips if clip.path.stem not in SHARED]
    return [own[place] for place in np.random.default_rng(0).permutation(len(own))[:most]]


def faster(clip: Waveform) -> Waveform:
    """Play a clip a third faster, and so a fourth higher: another sound, as another speaker is (Ko et al. 2015)."""
    places = np.arange(0, len(clip) - 1, FASTER)
    out: Waveform = np.interp(places, np.arange(len(clip)), clip).astype(np.float32)
    return out


def noise_around(clip: Waveform, before: float, after: float) -> Waveform:
    """Add noise before and after the clip, so many seconds each, 40 dB under the clip."""
    level = float(np.sqrt(np.mean(clip.astype(np.float64) ** 2))) * 10 ** (-40 / 20)
    first, rest = round(before * SAMPLE_RATE), round(after * SAMPLE_RATE)
    noise = np.random.default_rng(len(clip)).normal(size=first + rest) * level
    return np.concatenate([noise[:first], clip, noise[first:]]).astype(np.float32)


class WholeClips(RouterSpace):
    """Describes clips as a pass shared with the answer would: at their own length and level, in one piece."""

    def _project(self, clips: Sequence[Waveform]) -> Tensor:
        return torch.cat([self._pooled([clip[: 10 * SAMPLE_RATE]]) for clip in clips]) @ self._projection


ALTERED: Mapping[str, Callable[[Waveform], Waveform]] = {
    "mp3": coded,
    "ogg": lambda clip: coded(clip, "OGG", 0.9),
    "trimmed": lambda clip: clip[len(clip) // 10 : -(len(clip) // 10) or None],
    "noise around": partial(noise_around, before=0.5, after=1.0),
    "its middle second": second_of,
    "half of it": lambda clip: clip[len(clip) // 4 : -(len(clip) // 4) or None],
    "twice": lambda clip: np.tile(clip, 2),
    "30 dB quieter": lambda clip: clip * np.float32(10 ** (-30 / 20)),
}


def foreign_sounds(space: RouterSpace) -> dict[str, Tensor]:
    """Return described sounds that belong to no task: silence, noise of many colours, and synthetic tunes."""
    random = np.random.default_rng(7)
    made = {
        "silence": [np.zeros(SAMPLE_RATE, np.float32)] + [_faint(random) for _ in range(9)],
        "noise": [_noise(random) for _ in range(40)],
        "shaped noise": [_shaped_noise(random) for _ in range(40)],
        "music": [_tune(random) for _ in range(40)],
    }
    return {name: space.describe(clips) for name, clips in made.items()}


def _faint(random: np.random.Generator) -> Waveform:
    return (random.normal(size=SAMPLE_RATE) * 1e-5).astype(np.float32)


def _noise(random: np.random.Generator) -> Waveform:
    spectrum = np.fft.rfft(random.normal(size=2 * SAMPLE_RATE))
    spectrum *= np.linspace(1e-3, 1, len(spectrum)) ** random.uniform(-1, 0.3)
    clip = np.fft.irfft(spectrum)
    out: Waveform = (clip / np.abs(clip).max() * random.uniform(0.001, 0.9)).astype(np.float32)
    return out


def _shaped_noise(random: np.random.Generator) -> Waveform:
    """Return noise that swells, with a random level in each of eight bands, within 40 dB."""
    spectrum = np.fft.rfft(random.normal(size=2 * SAMPLE_RATE))
    bands = np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), random.uniform(-40, 0, 8))
    clip = np.fft.irfft(spectrum * 10 ** (bands / 20))
    clip *= 1 + random.uniform(0, 0.9) * np.sin(random.uniform(1, 20) * np.linspace(0, 2 * np.pi, len(clip)))
    out: Waveform = (0.5 * clip / np.abs(clip).max()).astype(np.float32)
    return out


def _tune(random: np.random.Generator) -> Waveform:
    """Return up to three voices of plucked harmonic notes on a pentatonic scale."""
    out = np.zeros(3 * SAMPLE_RATE)
    root = random.uniform(110, 440)
    for voice in range(random.integers(1, 4)):
        at = 0
        while at < len(out):
            length = min(len(out) - at, int(random.choice([4000, 8000, 12000])))
            pitch = root * 2 ** (random.choice([0, 2, 4, 7, 9, 12]) / 12) * (1 + voice)
            time = np.arange(length) / SAMPLE_RATE
            note = sum(np.sin(2 * np.pi * h * pitch * time) / h for h in range(1, 6))
            out[at : at + length] += note * np.exp(-time * random.uniform(1, 8))
            at += length
    tune: Waveform = (0.5 * out / np.abs(out).max()).astype(np.float32)
    return tune


def timing_clips(data: Path) -> list[Waveform]:
    """Return a few clips of each task, to be timed."""
    return [audio.read(clip.path) for name in NAMES for clip in streams.load(str(data / name)).test[:4]]
