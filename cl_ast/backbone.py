"""The one frozen trunk: it owns the loop over layers, the position table, and the sites where an adapter may act.

The layers stay transformers' own modules. Each site of a layer is wrapped once, when the trunk is loaded; while
nothing is attached the wrapper hands its input on, and the model is the stock one to the bit.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cl_ast.errors import BackboneError
from cl_ast.sites import LEAVES, SITES, Act, HeadsSite, Site, wrapping_order

_STEM: Mapping[str, str] = {
    "embed.cls": "embeddings.cls_token",
    "embed.distillation": "embeddings.distillation_token",
    "embed.position": "embeddings.position_embeddings",
    "embed.patch.weight": "embeddings.patch_embeddings.projection.weight",
    "embed.patch.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_SPECIAL = 2  # CLS and distillation tokens, before the patches


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a trunk that decide how large an adapter is."""

    width: int = 768
    depth: int = 12
    hidden: int = 3072
    norm_eps: float = 1e-12

    def of(self, site: str) -> tuple[int, int]:
        """Input and output width of a site."""
        return {"fc1": (self.width, self.hidden), "fc2": (self.hidden, self.width)}.get(site, (self.width, self.width))


AST_BASE = Shape()


class Attachable(Protocol):
    """Anything that can act at the trunk's sites: one adapter, or a bank of them."""

    def acts(self) -> Mapping[tuple[int, str], Act]: ...


class Backbone:
    """A frozen trunk, in evaluation mode, shared by every task and never written.

    Attributes:
        name: as the user gave it.
        fingerprint: SHA-256 over its tensors, by our own names, and over what else decides its output.
        shape: the sizes adapters depend on.
    """

    def __init__(self, model: Any, name: str, *, fingerprint: str | None = None) -> None:
        # Any: transformers types its modules as `Tensor | Module`.
        self.model: Any = model.eval().requires_grad_(False)
        self.name = name
        config = model.config
        self.shape = Shape(
            config.hidden_size, config.num_hidden_layers, config.intermediate_size, config.layer_norm_eps
        )
        self.patch: int = config.patch_size
        self.stride: tuple[int, int] = (config.frequency_stride, config.time_stride)
        self.grid: tuple[int, int] = (
            (config.num_mel_bins - self.patch) // self.stride[0] + 1,
            (config.max_length - self.patch) // self.stride[1] + 1,
        )
        self._sites: dict[tuple[int, str], Site] = {}
        self._check_sites()
        self.fingerprint = fingerprint or _fingerprint(self.tensors(), _decisive(config))
        self._wrap_sites()

    # What it is

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def parameters(self) -> int:
        """How many numbers the trunk holds."""
        return sum(tensor.numel() for tensor in self.tensors().values())

    @property
    def bytes(self) -> int:
        """What a full copy of the trunk takes, in its own precision."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors().values())

    def to(self, device: torch.device | str) -> "Backbone":
        self.model.to(device)
        return self

    def tensors(self) -> dict[str, nn.Parameter]:
        """Every tensor of the trunk by our own layer and site names, never by module paths."""
        found = {name: self._parameter(path) for name, path in _STEM.items()}
        for layer in range(self.shape.depth):
            for site in LEAVES:
                module = self._stock(layer, site)
                for kind, parameter in module.named_parameters(recurse=False):
                    found[f"layers.{layer}.{site}.{kind}"] = parameter
        return found

    def tensor(self, layer: int, site: str, kind: str) -> Tensor:
        """One stock tensor of a layer, such as (0, "norm_ffn", "weight")."""
        stock: Tensor = getattr(self._stock(layer, site), kind)
        return stock.detach()

    def stock(self, layer: int, site: str) -> dict[str, Tensor]:
        """Every stock tensor of a site of `LEAVES`, such as weight and bias."""
        return {kind: tensor.detach() for kind, tensor in self._stock(layer, site).named_parameters(recurse=False)}

    def copy(self) -> "Backbone":
        """A trunk of its own with the same weights, for full fine-tuning."""
        own = type(self.model)(self.model.config)
        twin = Backbone(own, self.name, fingerprint=self.fingerprint)
        with torch.no_grad():
            for name, tensor in twin.tensors().items():
                tensor.copy_(self.tensors()[name])
        return twin.to(self.device)

    # What it does

    def embed(self, features: Tensor, *, positions: str = "resize") -> Tensor:
        """Features (batch, frames, 128) to tokens (batch, 2 + patches, width), positions added.

        Args:
            features: normalised log-mel, at least 16 frames.
            positions: "resize" fits the trained table to the input; "zeros" leaves it out, as the papers'
                published code does without meaning to (docs/architecture.md).
        """
        if features.shape[1] < self.patch:
            raise BackboneError(
                f"{features.shape[1]} frames are fewer than one patch of {self.patch}; pad the clip first"
            )
        embeddings = self.model.embeddings
        patches = embeddings.patch_embeddings(features)
        batch = len(features)
        tokens = torch.cat(
            [
                embeddings.cls_token.expand(batch, -1, -1),
                embeddings.distillation_token.expand(batch, -1, -1),
                patches,
            ],
            dim=1,
        )
        if positions == "zeros":
            return tokens
        return tokens + self.positions((features.shape[1] - self.patch) // self.stride[1] + 1)

    def positions(self, columns: int) -> Tensor:
        """The position table for `columns` patches in time: (1, 2 + patches, width)."""
        return resized_positions(self.model.embeddings.position_embeddings, self.grid, columns)

    def run(self, tokens: Tensor, *, first: int = 0, last: int | None = None) -> Tensor:
        """Layers `first` to `last` (excluded; all by default), with whatever is attached. Not normalised."""
        for layer in range(self.shape.depth)[first:last]:
            tokens = self._sites[layer, "layer"](tokens)
        return tokens

    def norm(self, tokens: Tensor) -> Tensor:
        """The trunk's own final LayerNorm."""
        normed: Tensor = self.model.layernorm(tokens)
        return normed

    @contextmanager
    def attached(self, adapter: Attachable | None) -> Iterator[None]:
        """Let `adapter` act at its sites inside the block; what acted before acts again after it."""
        acts = adapter.acts() if adapter is not None else {}
        before = {key: site.act for key, site in self._sites.items()}
        try:
            for key, site in self._sites.items():
                site.act = acts.get(key)
            yield
        finally:
            for key, site in self._sites.items():
                site.act = before[key]

    # How its modules are found

    def _check_sites(self) -> None:
        for site, path in SITES.items():
            try:
                self.model.layers[0].get_submodule(path)
            except (AttributeError, IndexError):
                raise BackboneError(
                    f"the trunk {self.name} has no module for the site {site} ({path}); "
                    "use a transformers release from 5.17 on, below 6"
                ) from None

    def _wrap_sites(self) -> None:
        for layer, module in enumerate(self.model.layers):
            # Leaves first: wrapping a block does not change how its own leaves are reached.
            for site in sorted(SITES, key=wrapping_order):
                if site == "layer":  # stays where it is in the model; `run` goes through the site
                    self._sites[layer, site] = Site(module).eval()
                    continue
                parent, _, child = SITES[site].rpartition(".")
                owner = module.get_submodule(parent)
                wrapped = (HeadsSite if site == "heads" else Site)(getattr(owner, child)).eval()
                setattr(owner, child, wrapped)
                self._sites[layer, site] = wrapped

    def _stock(self, layer: int, site: str) -> Any:
        if (layer, site) in self._sites:
            return self._sites[layer, site].stock
        return self.model.layers[layer].get_submodule(SITES[site])

    def _parameter(self, path: str) -> nn.Parameter:
        parameter: nn.Parameter = self.model.get_parameter(path)
        return parameter


def resized_positions(table: Tensor, grid: tuple[int, int], columns: int) -> Tensor:
    """A position table (1, 2 + rows · trained, width) for a `grid` of (rows, trained), fitted to `columns` in time.

    As the original AST does (Gong et al. 2021, section 2.2): cut from the middle when the input is shorter than the
    table, interpolated bilinearly on the (frequency, time) grid when longer; the two special tokens keep theirs.
    """
    rows, trained = grid
    if columns == trained:
        return table
    special, patches = table[:, :_SPECIAL], table[:, _SPECIAL:]
    cells = patches.transpose(1, 2).reshape(1, -1, rows, trained)
    if columns < trained:
        first = trained // 2 - columns // 2
        cells = cells[..., first : first + columns]
    else:
        cells = F.interpolate(cells, size=(rows, columns), mode="bilinear", align_corners=False)
    return torch.cat([special, cells.flatten(2).transpose(1, 2)], dim=1)


def _decisive(config: Any) -> str:
    """What decides the output besides the weights, and cannot be seen in their shapes."""
    return (
        f"heads={config.num_attention_heads} eps={config.layer_norm_eps} act={config.hidden_act} "
        f"stride={config.frequency_stride}x{config.time_stride}"
    )


def _fingerprint(tensors: Mapping[str, Tensor], decisive: str) -> str:
    digest = hashlib.sha256(decisive.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous().float()
        digest.update(f"{name}:{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def pooled(tokens: Tensor, pooling: str) -> Tensor:
    """Tokens (batch, n, width) to one vector a clip: the mean, or the mean and the standard deviation.

    The mean over all output tokens, CLS and patches alike, is the papers' "ALL" pooling.
    """
    mean = tokens.mean(dim=1)
    if pooling == "mean":
        return mean
    return torch.cat([mean, deviation((tokens - mean[:, None]).square().mean(dim=1))], dim=-1)


def deviation(variance: Tensor) -> Tensor:
    """The standard deviation; its slope at zero is finite."""
    return variance.clamp_min(1e-12).sqrt()


POOLINGS: Sequence[str] = ("mean", "mean+std")
