"""Describes clips to the router by the first layers of the backbone.

A description is computed from audio alone: it does not depend on tasks, paths or labels.
"""

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cl_ast.audio import synthesis as synth
from cl_ast.audio.reading import SAMPLE_RATE, Waveform
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.pooling import pooled
from cl_ast.backbone.sites import Shape
from cl_ast.errors import BackboneError, CorruptRegistryError
from cl_ast.router.copies import coded, low_passed
from cl_ast.router.kinds import DEFAULT, KINDS, State
from cl_ast.router.moments import shrunk
from cl_ast.router.sound import sound_of
from registry import header as safetensors_header

DESCRIPTION_VERSION = 4  # must be increased whenever a release describes the same clip differently
DIMENSIONS = 512  # the most that a description has; a narrow backbone gives fewer
_BACKGROUND_CLIPS = 512
_NOISES = 100
_NOISE_PREFIX = "noise."  # of the names of the noise state's tensors
_SHRINKAGE = 0.1
_BATCH = 32


class RouterSpace:
    """Describes clips: the tokens after the backbone's first layers are pooled, projected and whitened.

    Attributes:
        layers: how many layers of the backbone are run.
        dimensions: the number of dimensions of a description.
        kind: the kind of router of the registry, one of `KINDS`; it is stored with the space.
        noise: the state of noise, learned like that of a task; a clip that fits noise better than a task is not
            accepted as a clip of that task. None while it has not been learned.
        description_id: 16 bytes that are equal only for descriptions that can be compared: those of the same backbone
            and layers, made by the same version of the method.
    """

    def __init__(self, backbone: Backbone, mean: Tensor, whitening: Tensor, kind: str = DEFAULT) -> None:
        self.backbone = backbone
        self.kind = kind
        self.noise: State | None = None
        self.layers = layers_of(backbone.shape.depth)
        self.dimensions = dimensions_of(backbone.shape)
        self.description_id = description_id(backbone)
        self._projection = projection(2 * backbone.shape.width)
        self._mean, self._whitening = mean, whitening.float()

    @classmethod
    def of(cls, backbone: Backbone, kind: str = DEFAULT) -> "RouterSpace":
        """Make the space of a backbone: measure mean and whitening on 512 s of synthetic audio, and learn noise.

        Raises:
            BackboneError: there is no router of this kind.
        """
        if kind not in KINDS:
            raise BackboneError(f"no router called {kind!r}; there are {', '.join(KINDS)}")
        measured = measure(backbone)
        space = cls(backbone, measured.mean, measured.whitening, kind)
        one_class = torch.zeros(len(measured.noises), dtype=torch.long)
        space.noise = KINDS[kind].learn(measured.noises, one_class, torch.Generator().manual_seed(0))
        return space

    def to_bytes(self) -> bytes:
        """Return the background (mean, whitening, noise and kind of router) as a file of half a megabyte."""
        from safetensors.torch import save

        noise = (
            {f"{_NOISE_PREFIX}{name}": tensor for name, tensor in self.noise.tensors().items()} if self.noise else {}
        )
        tensors = {"mean": self._mean, "whitening": self._whitening.half(), **noise}
        return bytes(save(tensors, metadata=self._header()))

    def _header(self) -> dict[str, str]:
        # "recipe" is the name in files of registries that exist.
        facts = {"recipe": str(DESCRIPTION_VERSION), "layers": str(self.layers), "router": self.kind}
        return {**facts, "fingerprint": self.backbone.fingerprint}

    @classmethod
    def from_bytes(cls, data: bytes, backbone: Backbone) -> "RouterSpace":
        """Return the space that `to_bytes` wrote.

        Raises:
            BackboneError: it is for another backbone or other layers, or was written by another version of the method.
            CorruptRegistryError: it has tensors that `of` cannot have made.
        """
        header = _header_in(data)
        if header.get("recipe") != str(DESCRIPTION_VERSION):
            raise BackboneError(
                "the routing here was learned by another release of cl-ast; rebuild it with `cl-ast route`"
            )
        mean, whitening, noise = _tensors_in(data)
        space = cls(backbone, mean, whitening, header.get("router", DEFAULT))
        if header != space._header():
            raise BackboneError(
                f"the router was made with another backbone than {backbone.name}, or with other layers of it; "
                "open the registry with its own backbone, or rebuild the routing with `cl-ast route`"
            )
        shapes = mean.shape == (space.dimensions,) and whitening.shape == (space.dimensions, space.dimensions)
        if not shapes or (noise and set(noise) != KINDS[space.kind].names()):
            raise CorruptRegistryError("the background of the router has other tensors than this cl-ast's")
        if noise:
            space.noise = KINDS[space.kind].restore(noise, space.dimensions)
        return space

    def describe(self, clips: Sequence[Waveform]) -> Tensor:
        """Return the descriptions of waveforms: unit vectors (n, dimensions), float32 on the CPU."""
        if not clips:
            return torch.zeros(0, self.dimensions)
        return normalize((self._project(clips) - self._mean) @ self._whitening, dim=1)

    def _project(self, clips: Sequence[Waveform]) -> Tensor:
        """Return the pooled and projected tokens of waveforms (n, dimensions), which are not whitened yet."""
        sounds = [sound_of(clip) for clip in clips]
        rows: dict[int, Tensor] = {}
        for length in sorted({len(sound) for sound in sounds}):
            same_length = [row for row, sound in enumerate(sounds) if len(sound) == length]
            for part in (same_length[i : i + _BATCH] for i in range(0, len(same_length), _BATCH)):
                rows |= zip(part, self._pooled([sounds[row] for row in part]), strict=True)
        return torch.stack([rows[row] for row in range(len(sounds))]) @ self._projection

    def _pooled(self, sounds: Sequence[Waveform]) -> Tensor:
        """Return mean and standard deviation over the tokens of sounds of one length: (n, 2 width).

        Each half is scaled to unit length.
        """
        front_end = self.backbone.front_end(len(sounds[0]) / SAMPLE_RATE)
        with torch.inference_mode(), self.backbone.attached(None):
            tokens = self.backbone.embed(front_end(sounds, self.backbone.device))
            tokens = self.backbone.run(tokens, last=self.layers)
            halves = pooled(tokens[:, self.backbone.family.special_tokens :].float(), "mean+std").chunk(2, dim=1)
            return torch.cat([normalize(half, dim=1) for half in halves], dim=1).cpu()


class Measured(NamedTuple):
    """What follows from a backbone alone, whatever the kind of router.

    Attributes:
        mean: of the synthetic background, (d,) float32.
        whitening: of the same, (d, d) float16.
        noises: the descriptions of synthetic noises, (n, d) float32.
    """

    mean: Tensor
    whitening: Tensor
    noises: Tensor


def measure(backbone: Backbone) -> Measured:
    """Measure mean and whitening of a backbone on 512 s of synthetic audio, and describe noises; it takes seconds."""
    background, noises = synthetic_clips()
    unwhitened = RouterSpace(backbone, torch.zeros(0), torch.zeros(0))
    mean, whitening = mean_and_whitening(unwhitened._project(background))
    mean, whitening = mean.float(), whitening.half()
    return Measured(mean, whitening, RouterSpace(backbone, mean, whitening).describe(noises))


def layers_of(depth: int) -> int:
    """Return how many layers describe a clip: a quarter of the backbone's, at least two."""
    return min(depth, max(2, math.ceil(depth / 4)))


def description_id(backbone: Backbone) -> bytes:
    """Return 16 bytes that identify how this release describes clips with that backbone."""
    text = f"{DESCRIPTION_VERSION} {layers_of(backbone.shape.depth)} {backbone.fingerprint}"
    return hashlib.sha256(text.encode()).digest()[:16]


def dimensions_of(shape: Shape) -> int:
    """Return the number of dimensions of a description: that of mean and deviation, or `DIMENSIONS` if it is less."""
    return min(DIMENSIONS, 2 * shape.width)


def kind_in(background: bytes) -> str:
    """Return the kind of router in a registry's background, whatever version of the method wrote it."""
    kind = _header_in(background).get("router", DEFAULT)
    return kind if kind in KINDS else DEFAULT


def is_current(background: bytes) -> bool:
    """Return whether this version of the method wrote the background."""
    return _header_in(background).get("recipe") == str(DESCRIPTION_VERSION)


def _tensors_in(data: bytes) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return mean, whitening and the state of noise in a background. Raises CorruptRegistryError if they cannot be."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        mean, whitening = tensors["mean"], tensors["whitening"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise CorruptRegistryError(f"the background of the router cannot be read ({error})") from error
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise CorruptRegistryError("the background of the router has values that are not numbers")
    noise = {name.removeprefix(_NOISE_PREFIX): t for name, t in tensors.items() if name.startswith(_NOISE_PREFIX)}
    return mean, whitening, noise


def _header_in(data: bytes) -> dict[str, str]:
    """Return the metadata of a background; empty if the bytes are not a background."""
    try:
        return dict(safetensors_header.read(data).metadata)
    except CorruptRegistryError:
        return {}


def synthetic_clips() -> tuple[list[Waveform], list[Waveform]]:
    """Return the background by which descriptions are whitened, and noises, which are also low-passed and coded."""
    random = np.random.default_rng(20260101)
    background = [synth.background(random).astype(np.float32) for _ in range(_BACKGROUND_CLIPS)]
    noises = (synth.noise(random).astype(np.float32) for _ in range(_NOISES))
    with ThreadPoolExecutor(cpu_count() or 1) as pool:  # one noise is coded while the next is made
        versions = list(pool.map(lambda noise: (noise, low_passed(noise), coded(noise)), noises))
    return background, [version for each in versions for version in each]


def mean_and_whitening(projected: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (d,) and the shrunk whitening (d, d), in float64, of projected clips (n, d) of the background."""
    projected = projected.double()
    mean = projected.mean(dim=0)
    centred = projected - mean
    covariance = centred.T @ centred / len(centred)
    values, vectors = torch.linalg.eigh(shrunk(covariance, _SHRINKAGE))
    return mean, vectors @ torch.diag((covariance.diagonal().mean() / values).sqrt()) @ vectors.T


def projection(width: int) -> Tensor:
    """Return a fixed random map (width, dimensions) with orthonormal columns; the identity if no dimension is lost."""
    if width <= DIMENSIONS:
        return torch.eye(width)
    generator = torch.Generator().manual_seed(1)
    basis, _ = torch.linalg.qr(torch.randn(width, DIMENSIONS, generator=generator, dtype=torch.float64))
    found: Tensor = basis.float()
    return found
