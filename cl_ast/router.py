"""Which task is this clip, or none: prototypes under a metric that belongs to the trunk alone.

A clip is described by the frozen trunk's first layers over windows of real audio. The metric (projection, mean,
whitening) is a constant of the trunk, made from synthetic audio, never from tasks; a task adds its own prototypes
and its own calibration, and reads no other's. So adding, removing and reordering tasks leaves every other task's
score identical to the bit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cl_ast import synth
from cl_ast.audio import SAMPLE_RATE, Waveform
from cl_ast.backbone import Backbone, pooled
from cl_ast.errors import BackboneError

DIMENSIONS = 256
PROTOTYPES = 32  # at most, a task
ALPHA = 0.05  # how often a clip of a known task is called unknown, by construction
_WINDOW_SECONDS = 1.0
_WINDOWS = 6  # at most, a clip
_BACKGROUND_CLIPS = 512
_SHRINKAGE = 0.1
_QUIET = 50.0  # dB under the loudest 10 ms: silence, which may be padding
_LEVEL = 0.05  # RMS that every clip is brought to
_FEWEST = 20  # validation clips for a calibration of their own
_BATCH = 32
_QUANTILES = 101


@dataclass(frozen=True, slots=True)
class Route:
    """Where a clip is sent.

    Attributes:
        task: the nearest.
        score: its similarity in [0, 1].
        known: whether the clip fits that task at all.
        nearest: (task, score), best first.
    """

    task: str
    score: float
    known: bool
    nearest: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class TaskRouting:
    """What a task adds to the router: about 33 kB.

    Attributes:
        prototypes: (p, d) unit vectors.
        calibration: (101,) quantiles of the task's own scores on clips it did not learn its prototypes from.
    """

    prototypes: Tensor
    calibration: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {"prototypes": self.prototypes, "calibration": self.calibration}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "TaskRouting":
        return cls(tensors["prototypes"], tensors["calibration"])

    def score(self, described: Tensor) -> Tensor:
        """(n, d) described clips to (n,) similarities: the best prototype's cosine."""
        return (described @ self.prototypes.T).amax(dim=1)

    def p_value(self, score: float) -> float:
        """How often a clip of this task scores no higher: the conformal p-value from its calibration."""
        return float(np.interp(score, self.calibration.numpy(), np.linspace(0, 1, len(self.calibration))))


class RouterSpace:
    """How a trunk describes a clip to the router: the first layers, pooled, projected and whitened.

    Only audio comes in: no task, no path, no label, no length.
    """

    def __init__(self, backbone: Backbone, mean: Tensor, whitening: Tensor) -> None:
        self.backbone = backbone
        self.layers = max(1, math.ceil(backbone.shape.depth / 4))
        self._front_end = backbone.front_end(_WINDOW_SECONDS)
        self._projection = _projection(2 * backbone.shape.width)
        self._mean, self._whitening = mean, whitening

    @classmethod
    def of(cls, backbone: Backbone) -> "RouterSpace":
        """Measure the background once: 512 seconds of synthetic audio through the first layers."""
        plain = cls(backbone, torch.zeros(0), torch.zeros(0))
        random = np.random.default_rng(20260101)
        clips = [synth.background(random).astype(np.float32) for _ in range(_BACKGROUND_CLIPS)]
        described = plain._project(clips).double()
        mean = described.mean(dim=0)
        centred = described - mean
        covariance = centred.T @ centred / len(centred)
        level = covariance.diagonal().mean()
        shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * level * torch.eye(len(mean), dtype=torch.float64)
        values, vectors = torch.linalg.eigh(shrunk)
        whitening = vectors @ torch.diag(values.rsqrt()) @ vectors.T
        return cls(backbone, mean.float(), whitening.float())

    def to_bytes(self) -> bytes:
        """The background, to be kept beside the trunk's fingerprint."""
        from safetensors.torch import save

        header = {"layers": str(self.layers), "fingerprint": self.backbone.fingerprint}
        return bytes(save({"mean": self._mean, "whitening": self._whitening}, metadata=header))

    @classmethod
    def from_bytes(cls, data: bytes, backbone: Backbone) -> "RouterSpace":
        """Raises BackboneError if the background was measured with another trunk or depth."""
        import json

        from safetensors.torch import load

        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])["__metadata__"]
        tensors = load(data)
        space = cls(backbone, tensors["mean"], tensors["whitening"])
        if header != {"layers": str(space.layers), "fingerprint": backbone.fingerprint}:
            raise BackboneError(
                f"the router was made with another trunk than {backbone.name}; open the registry with its own"
            )
        return space

    def describe(self, clips: Sequence[Waveform]) -> Tensor:
        """Waveforms to unit vectors (n, 256) on the CPU."""
        if not clips:
            return torch.zeros(0, DIMENSIONS)
        whitened = (self._project(clips) - self._mean) @ self._whitening
        return torch.nn.functional.normalize(whitened, dim=1)

    def _project(self, clips: Sequence[Waveform]) -> Tensor:
        windows = [windows_of(clip) for clip in clips]
        flat = [window for several in windows for window in several]
        features = torch.cat([self._pooled(flat[i : i + _BATCH]) for i in range(0, len(flat), _BATCH)])
        each = torch.split(features, [len(several) for several in windows])
        return torch.stack([one.mean(dim=0) for one in each]) @ self._projection

    def _pooled(self, windows: Sequence[Waveform]) -> Tensor:
        """Windows of one second to mean and spread over the sound's tokens, each half of unit length: (n, 2 width)."""
        with torch.inference_mode(), self.backbone.attached(None):
            tokens = self.backbone.embed(self._front_end(windows, self.backbone.device))
            tokens = self.backbone.run(tokens, last=self.layers)
            halves = pooled(tokens[:, self.backbone.family.special :].float(), "mean+std").chunk(2, dim=1)
            return torch.cat([torch.nn.functional.normalize(half, dim=1) for half in halves], dim=1).cpu()


class Router:
    """All tasks' routing, by name. Scores of one task never depend on another."""

    def __init__(self, tasks: Mapping[str, TaskRouting]) -> None:
        self._tasks = dict(tasks)

    def choose(self, described: Tensor, *, nearest: int = 5) -> list[Route]:
        """The nearest task of each described clip (n, 256), and whether it fits. Equal scores: by name."""
        names = sorted(self._tasks)
        scores = torch.stack([self._tasks[name].score(described) for name in names], dim=1).tolist()
        return [self._route(dict(zip(names, row, strict=True)), nearest) for row in scores]

    def _route(self, scores: Mapping[str, float], nearest: int) -> Route:
        ordered = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        best, score = ordered[0]
        return Route(
            task=best,
            score=_unit(score),
            known=self._tasks[best].p_value(score) >= ALPHA,
            nearest=tuple((name, _unit(value)) for name, value in ordered[:nearest]),
        )


def learn(training: Tensor, targets: Sequence[int], validation: Tensor, *, generator: torch.Generator) -> TaskRouting:
    """A task's prototypes and calibration from its described clips.

    Args:
        training: (n, d) described training clips.
        targets: their classes; each class gets a share of the prototypes.
        validation: (m, d) described clips that made no prototype; with fewer than 20, halves of the training
            clips are scored under prototypes of the other half as well.
    """
    labels = torch.as_tensor(targets)
    prototypes = _prototypes(training, labels, generator)
    scores = TaskRouting(prototypes, torch.zeros(0)).score(validation)
    if len(validation) < _FEWEST:
        order = torch.randperm(len(training), generator=generator)
        halves = order[::2], order[1::2]
        for mine, other in (halves, halves[::-1]):
            if len(mine) and len(other):
                made = _prototypes(training[other], labels[other], generator)
                scores = torch.cat([scores, TaskRouting(made, torch.zeros(0)).score(training[mine])])
    return TaskRouting(prototypes, torch.quantile(scores.float(), torch.linspace(0, 1, _QUANTILES)))


def windows_of(clip: Waveform) -> list[Waveform]:
    """Windows of exactly one second of sound, at one level.

    Silence is dropped first, since it may be padding; a shorter rest is repeated to a second, so neither length
    nor padding can be seen in a window.
    """
    size = int(_WINDOW_SECONDS * SAMPLE_RATE)
    heard = _without_silence(clip)
    heard = heard * (_LEVEL / max(float(np.sqrt(np.mean(heard.astype(np.float64) ** 2))), 1e-8))
    heard = heard.astype(np.float32)
    if len(heard) < size:
        return [np.tile(heard, -(-size // len(heard)))[:size]]
    count = min(_WINDOWS, len(heard) // size)
    starts = np.linspace(0, len(heard) - size, count).round().astype(int)
    return [heard[start : start + size] for start in starts]


def _without_silence(clip: Waveform) -> Waveform:
    """The clip without its silent 10 ms blocks; all of it where it is silent throughout."""
    block = SAMPLE_RATE // 100
    whole = len(clip) // block * block
    if not whole:
        return clip
    power = np.mean(clip[:whole].reshape(-1, block).astype(np.float64) ** 2, axis=1)
    loudest = power.max()
    if loudest <= 0:
        return clip
    keep = power > loudest * 10 ** (-_QUIET / 10)
    heard: Waveform = clip[:whole].reshape(-1, block)[keep].reshape(-1)
    return heard


def _prototypes(points: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Unit centres, a share of `PROTOTYPES` a class; with more classes than that, centres of class means."""
    classes = sorted(set(labels.tolist()))
    share = PROTOTYPES // len(classes)
    if share:
        return torch.cat([_k_means(points[labels == c], share, generator) for c in classes])
    means = torch.stack([points[labels == c].mean(dim=0) for c in classes])
    return _k_means(torch.nn.functional.normalize(means, dim=1), PROTOTYPES, generator)


def _k_means(points: Tensor, k: int, generator: torch.Generator, rounds: int = 20) -> Tensor:
    """Spherical k-means (Dhillon & Modha 2001) with seeded starts; at most one centre for three points."""
    k = max(1, min(k, len(points) // 3))
    centres = points[torch.randperm(len(points), generator=generator)[:k]]
    for _ in range(rounds):
        owner = (points @ centres.T).argmax(dim=1)
        moved = torch.zeros_like(centres).index_add_(0, owner, points)
        empty = moved.norm(dim=1) < 1e-6
        moved[empty] = centres[empty]
        moved = torch.nn.functional.normalize(moved, dim=1)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _projection(width: int) -> Tensor:
    """A seeded map (width, 256) with orthonormal columns (or rows, where the trunk is narrow)."""
    generator = torch.Generator().manual_seed(1)
    wide, narrow = max(width, DIMENSIONS), min(width, DIMENSIONS)
    basis, _ = torch.linalg.qr(torch.randn(wide, narrow, generator=generator, dtype=torch.float64))
    chosen: Tensor = basis if width >= DIMENSIONS else basis.T
    return chosen.float()


def _unit(score: float) -> float:
    return min(1.0, max(0.0, score))
