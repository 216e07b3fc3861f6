"""The one frozen backbone: it owns the loop over layers, and the sites where an adapter may act.

The layers stay transformers' own modules. Each site of a layer is wrapped once, when the backbone is loaded; while
nothing is attached the wrapper hands its input on, and the model is the stock one to the bit. What differs between
families of backbones (names, input, final norm) is said in `cl_ast/backbones/`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.backbone.families import Family, family_of
from cl_ast.backbone.sites import LEAVES, SITES, Act, Site, wrap
from cl_ast.errors import BackboneError


class Attachable(Protocol):
    """Anything that can act at the backbone's sites: one adapter, or a bank of them."""

    def acts(self) -> Mapping[tuple[int, str], Act]: ...


class Backbone:
    """A frozen backbone, in evaluation mode, shared by every task and never written.

    Attributes:
        name: as the user gave it.
        family: what kind of model it is.
        fingerprint: SHA-256 over its tensors, by our own names, and over what else decides its output.
        shape: the sizes adapters depend on.
    """

    def __init__(self, model: Any, name: str, *, family: Family | None = None, fingerprint: str | None = None) -> None:
        """
        Args:
            model: a stock model of one of `backbones.FAMILIES`.
            family: its family, where that knows more of the checkpoint than its kind alone says.
            fingerprint: of a copy: that of the original.
        """
        # Any: transformers types its modules as `Tensor | Module`.
        self.model: Any = model.eval().requires_grad_(False)
        self.name = name
        self.family = family or family_of(model.config.model_type, name)
        self.shape = self.family.shape(model)
        self._layers = self.family.layers(model)
        self._sites: dict[tuple[int, str], Site] = {}
        self._check_sites()
        self.fingerprint = fingerprint or _fingerprint(self.tensors(), self.family.decisive(model.config))
        for layer, module in enumerate(self._layers):
            for site, wrapped in wrap(module, self.family.sites).items():
                self._sites[layer, site] = wrapped

    # What it is

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def parameters(self) -> int:
        """How many numbers the backbone holds."""
        return sum(tensor.numel() for tensor in self.tensors().values())

    @property
    def bytes(self) -> int:
        """What a full copy of the backbone takes, in its own precision."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors().values())

    def to(self, device: torch.device | str) -> "Backbone":
        self.model.to(device)
        return self

    def tensors(self) -> dict[str, nn.Parameter]:
        """Every tensor of the backbone by our own layer and site names, never by module paths."""
        found = {name: self._parameter(path) for name, path in self.family.stem(self.model).items()}
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
        """A backbone of its own with the same weights, for full fine-tuning."""
        own = type(self.model)(self.model.config)
        twin = Backbone(own, self.name, family=self.family, fingerprint=self.fingerprint)
        weights = self.tensors()
        with torch.no_grad():
            for name, tensor in twin.tensors().items():
                tensor.copy_(weights[name])
        return twin.to(self.device)

    # What it does

    def front_end(self, seconds: float) -> FrontEnd:
        """What a task of clips of this length does to a clip before the backbone hears it."""
        return self.family.front_end(seconds)

    def embed(self, features: Tensor, *, positions: str = "resize") -> Tensor:
        """A batch of its front end's to tokens (batch, special + n, width), positions added.

        Args:
            features: normalised log-mel (batch, frames, 128) of at least 16 frames, or samples (batch, n).
            positions: "resize" fits the trained table to the input; "zeros" leaves it out, as the papers'
                published code does without meaning to (docs/architecture.md).

        Raises:
            BackboneError: they are too few for one token.
        """
        return self.family.embed(self.model, features, positions)

    def run(self, tokens: Tensor, *, first: int = 0, last: int | None = None) -> Tensor:
        """Layers `first` to `last` (excluded; all by default), with whatever is attached. Not normalised."""
        for layer in range(self.shape.depth)[first:last]:
            tokens = self._sites[layer, "layer"](tokens)
        return tokens

    def norm(self, tokens: Tensor) -> Tensor:
        """The backbone's own final LayerNorm; the tokens as they are where it has none."""
        return self.family.norm(self.model, tokens)

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
        for site in SITES:
            path = self.family.sites[site]
            try:
                self._layers[0].get_submodule(path)
            except (AttributeError, IndexError):
                raise BackboneError(
                    f"the backbone {self.name} has no module for the site {site} ({path}); "
                    "use a transformers release from 5.17 on, below 6"
                ) from None

    def _stock(self, layer: int, site: str) -> Any:
        if (layer, site) in self._sites:
            return self._sites[layer, site].stock
        return self._layers[layer].get_submodule(self.family.sites[site])

    def _parameter(self, path: str) -> nn.Parameter:
        parameter: nn.Parameter = self.model.get_parameter(path)
        return parameter


def _fingerprint(tensors: Mapping[str, Tensor], decisive: str) -> str:
    digest = hashlib.sha256(decisive.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous().float()
        digest.update(f"{name}:{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
