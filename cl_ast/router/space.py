"""How a backbone describes a clip to the router. Only audio comes in: no task, no path, no label."""

import hashlib
import math
from collections.abc import Sequence

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

DESCRIPTION_VERSION = 3  # counts up whenever the same clip is described otherwise
DIMENSIONS = 512  # at most; a narrow backbone has fewer
_BACKGROUND_CLIPS = 512
_NOISES = 100
_NOISE = "noise."  # in front of the names of its tensors
_SHRINKAGE = 0.1
_BATCH = 32


class RouterSpace:
    """How a backbone describes a clip to the router: the first layers, pooled, projected and whitened.

    Attributes:
        layers: how many of the backbone's are run.
        dimensions: of a description.
        kind: the router of this registry, one of `KINDS`; kept here since it is as lasting.
        noise: what noise is here, learned as a task is: no clip that fits it better is known to a task.
        description_id: 16 bytes that differ wherever descriptions cannot be compared: another backbone, other layers or
            another way to describe.
    """

    def __init__(self, backbone: Backbone, mean: Tensor, whitening: Tensor, kind: str = DEFAULT) -> None:
        self.backbone = backbone
        self.kind = kind
        self.noise: State | None = None
        self.layers = layers_of(backbone.shape.depth)
        self.dimensions = dimensions_of(backbone.shape)
        self.description_id = description_id(backbone)
        self._projection = _projection(2 * backbone.shape.width, self.dimensions)
        self._mean, self._whitening = mean, whitening.float()

    @classmethod
    def of(cls, backbone: Backbone, kind: str = DEFAULT) -> "RouterSpace":
        """Measure the background once: 512 seconds of synthetic audio and noise, through the first layers.

        Raises BackboneError for a router that there is not.
        """
        if kind not in KINDS:
            raise BackboneError(f"no router called {kind!r}; there are {', '.join(KINDS)}")
        plain = cls(backbone, torch.zeros(0), torch.zeros(0))
        random = np.random.default_rng(20260101)
        clips = [synth.background(random).astype(np.float32) for _ in range(_BACKGROUND_CLIPS)]
        described = plain._project(clips).double()
        mean = described.mean(dim=0)
        centred = described - mean
        covariance = centred.T @ centred / len(centred)
        values, vectors = torch.linalg.eigh(shrunk(covariance, _SHRINKAGE))
        whitening = vectors @ torch.diag((covariance.diagonal().mean() / values).sqrt()) @ vectors.T
        space = cls(backbone, mean.float(), whitening.half(), kind)
        space.noise = space._learn_noise(random)
        return space

    def _learn_noise(self, random: np.random.Generator) -> State:
        """As a task that learned from noises, from their lower half and from what a codec leaves of them."""
        noises = [synth.noise(random).astype(np.float32) for _ in range(_NOISES)]
        described = self.describe([copy for noise in noises for copy in (noise, low_passed(noise), coded(noise))])
        one_class = torch.zeros(len(described), dtype=torch.long)
        return KINDS[self.kind].learn(described, one_class, torch.Generator().manual_seed(0))

    def to_bytes(self) -> bytes:
        """The background and the router's kind, to be kept beside the backbone's fingerprint: half a megabyte."""
        from safetensors.torch import save

        noise = {f"{_NOISE}{name}": tensor for name, tensor in self.noise.tensors().items()} if self.noise else {}
        tensors = {"mean": self._mean, "whitening": self._whitening.half(), **noise}
        return bytes(save(tensors, metadata=self._header()))

    def _header(self) -> dict[str, str]:
        facts = {"recipe": str(DESCRIPTION_VERSION), "layers": str(self.layers), "router": self.kind}
        return {**facts, "fingerprint": self.backbone.fingerprint}

    @classmethod
    def from_bytes(cls, data: bytes, backbone: Backbone) -> "RouterSpace":
        """Raises BackboneError if the background is of another backbone, of other layers or of an older recipe."""
        from safetensors.torch import load

        header = _header_in(data)
        tensors = load(data)
        if header.get("recipe") != str(DESCRIPTION_VERSION):
            raise BackboneError(
                "the routing here was learned by another release of cl-ast; learn it anew with `cl-ast route`"
            )
        space = cls(backbone, tensors["mean"], tensors["whitening"], header["router"])
        if header != space._header():
            raise BackboneError(
                f"the router was made with another backbone than {backbone.name}, or with other layers of it; "
                "open the registry with its own backbone, or learn the routing anew with `cl-ast route`"
            )
        noise = {name.removeprefix(_NOISE): t for name, t in tensors.items() if name.startswith(_NOISE)}
        if noise:
            space.noise = KINDS[space.kind].restore(noise, space.dimensions)
        return space

    def describe(self, clips: Sequence[Waveform]) -> Tensor:
        """Waveforms to unit vectors (n, dimensions), float32 on the CPU."""
        if not clips:
            return torch.zeros(0, self.dimensions)
        return normalize((self._project(clips) - self._mean) @ self._whitening, dim=1)

    def _project(self, clips: Sequence[Waveform]) -> Tensor:
        sounds = [sound_of(clip) for clip in clips]
        rows: dict[int, Tensor] = {}
        for length in sorted({len(sound) for sound in sounds}):
            alike = [row for row, sound in enumerate(sounds) if len(sound) == length]
            for part in (alike[i : i + _BATCH] for i in range(0, len(alike), _BATCH)):
                rows |= zip(part, self._pooled([sounds[row] for row in part]), strict=True)
        return torch.stack([rows[row] for row in range(len(sounds))]) @ self._projection

    def _pooled(self, sounds: Sequence[Waveform]) -> Tensor:
        """Sounds of one length to mean and spread over their tokens, each half of unit length: (n, 2 width)."""
        front_end = self.backbone.front_end(len(sounds[0]) / SAMPLE_RATE)
        with torch.inference_mode(), self.backbone.attached(None):
            tokens = self.backbone.embed(front_end(sounds, self.backbone.device))
            tokens = self.backbone.run(tokens, last=self.layers)
            halves = pooled(tokens[:, self.backbone.family.special_tokens :].float(), "mean+std").chunk(2, dim=1)
            return torch.cat([normalize(half, dim=1) for half in halves], dim=1).cpu()


def layers_of(depth: int) -> int:
    """How many layers describe a clip: a quarter, at least two."""
    return min(depth, max(2, math.ceil(depth / 4)))


def description_id(backbone: Backbone) -> bytes:
    """16 bytes that say how this cl-ast describes clips by that backbone."""
    told = f"{DESCRIPTION_VERSION} {layers_of(backbone.shape.depth)} {backbone.fingerprint}"
    return hashlib.sha256(told.encode()).digest()[:16]


def dimensions_of(shape: Shape) -> int:
    """Of a description: the mean and the spread, projected where they have more than `DIMENSIONS`."""
    return min(DIMENSIONS, 2 * shape.width)


def kind_in(background: bytes) -> str:
    """The router that a registry's background asks for, whatever recipe wrote it."""
    kind = _header_in(background).get("router", DEFAULT)
    return kind if kind in KINDS else DEFAULT


def is_current(background: bytes) -> bool:
    """Whether this recipe wrote it."""
    return _header_in(background).get("recipe") == str(DESCRIPTION_VERSION)


def _header_in(data: bytes) -> dict[str, str]:
    """What a background says of itself; nothing where it is none."""
    try:
        return dict(safetensors_header.read(data).metadata)
    except CorruptRegistryError:
        return {}


def _projection(width: int, dimensions: int) -> Tensor:
    """A seeded map (width, dimensions) with orthonormal columns; the identity where nothing is left out."""
    if width == dimensions:
        return torch.eye(width)
    generator = torch.Generator().manual_seed(1)
    basis, _ = torch.linalg.qr(torch.randn(width, dimensions, generator=generator, dtype=torch.float64))
    chosen: Tensor = basis
    return chosen.float()
