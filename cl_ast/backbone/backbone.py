"""The frozen backbone: it runs the loop over the layers and offers the sites where an adapter may act.

The layers stay the stock modules of transformers. Each site of a layer is wrapped once, when the backbone is loaded.
While no adapter is attached, the wrapper only calls the stock module, so the outputs are bit-identical to those of the
stock model. The differences between families of backbones (names, input, final norm) are in `cl_ast/backbone/families`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.backbone.device import uses_bf16
from cl_ast.backbone.families import Family, family_of
from cl_ast.backbone.int8 import PREFIX, Int8Linear
from cl_ast.backbone.pooling import POOLINGS
from cl_ast.backbone.sites import EMBEDDING, LEAVES, SITES, Act, Site, wrap
from cl_ast.errors import BackboneError


class Attachable(Protocol):
    """What can act at the backbone's sites: one adapter, or the adapters of a mixed batch."""

    def acts(self) -> Mapping[tuple[int, str], Act]:
        """Return the function that acts at each (layer, site)."""
        ...


class Backbone:
    """A frozen backbone in evaluation mode. All tasks share it, and none of them changes its weights.

    Attributes:
        name: the name that the user gave.
        family: the family of models that it belongs to.
        fingerprint: SHA-256 over its tensors, named by layer and site, and over the settings that change its output;
            it begins with "int8:" where the weights of its linear maps are in 8 bits.
        shape: the sizes that adapters depend on.
        parameters: how many parameters it has.
        trained: whether its weights are trained, as in full fine-tuning.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        *,
        family: Family | None = None,
        fingerprint: str | None = None,
        trained: bool = False,
    ) -> None:
        """
        Args:
            model: a stock model of one of `families.FAMILIES`.
            family: its family with the settings of this checkpoint; by default the one for the model's type.
            fingerprint: for a copy, the fingerprint of the original; it is computed by default.
            trained: whether its weights will be trained, so that no other copy of them may be used to compute.
        """
        # Any: transformers types its modules as `Tensor | Module`.
        self.model: Any = model.eval().requires_grad_(False)
        self.name = name
        self.family = family or family_of(model.config.model_type, name)
        self.shape = self.family.shape(model)
        self.trained = trained
        self._half: Backbone | None = None
        self._in_use: Backbone | None = None  # its copy in bf16, inside `precision`
        self._first: nn.Parameter = next(self.model.parameters())
        self._layers = self.family.layers(model)
        self._sites: dict[tuple[int, str], Site] = {}
        self._check_sites()
        self.fingerprint = fingerprint or self._fingerprint(self.family)
        for layer, module in enumerate(self._layers):
            for site, wrapped in wrap(module, self.family.sites, self.family.heads_site).items():
                self._sites[layer, site] = wrapped
        self._sites[0, EMBEDDING] = Site(partial(self.family.tokenise, self.model))
        self.parameters = sum(tensor.numel() for tensor in self.tensors().values())

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return self._first.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the tokens that its layers compute with now: that of its weights, or bf16 inside `precision`."""
        return self._computing._first.dtype

    @property
    def bytes(self) -> int:
        """The size of the backbone in memory, in bytes."""
        kept = set()
        for module, kind in self._named().values():
            in_8_bits = isinstance(module, Int8Linear) and kind == "weight"
            kept |= {module.steps, module.scale} if in_8_bits else {getattr(module, kind)}
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def quantise(self) -> "Backbone":
        """Keep the weights of the layers' linear maps in 8 bits from now on; return this backbone, now another one."""
        for (_, site), wrapped in self._sites.items():
            if site in LEAVES and isinstance(wrapped.stock, nn.Linear):
                wrapped.stock = Int8Linear(wrapped.stock)
        for parameter in self.model.parameters():
            # A copy, since a parameter that lies in the checkpoint's memory keeps all of that in use.
            parameter.data = parameter.data.clone()
        self.fingerprint = PREFIX + self._fingerprint(self.family)
        return self

    @property
    def pooling(self) -> str:
        """How its tokens are pooled unless asked otherwise, one of `POOLINGS`: the papers' mean, or what its
        configuration says in `cl_ast_pooling`.
        """
        wanted = getattr(self.model.config, "cl_ast_pooling", None)
        return wanted if isinstance(wanted, str) and wanted in POOLINGS else "mean"

    @property
    def time_step(self) -> int:
        """How many samples at 16 kHz lie between one of its tokens and the next in time."""
        return self.family.time_step(self.model.config)

    def to(self, device: torch.device | str) -> "Backbone":
        """Move the weights to a device, and return this backbone."""
        self.model.to(device)
        self._half = None
        return self

    @contextmanager
    def precision(self, kind: str = "auto") -> Iterator[None]:
        """Compute in a precision of `uses_bf16` inside the block; adapters are attached inside it, not around it.

        In bf16 the layers are a copy of the weights, which is cast once and kept: no pass casts a frozen weight again.
        A backbone that is trained is cast by autocast instead, in each pass.
        """
        if not uses_bf16(self.device, kind):
            yield
        elif self.trained:
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                yield
        else:
            before = self._in_use
            self._in_use = self._in_half()
            try:
                yield
            finally:
                self._in_use = before

    @property
    def _computing(self) -> "Backbone":
        """The backbone whose weights the layers compute with now: this one, or its copy in bf16."""
        # A backbone that referred to itself would keep its memory until Python looks for cyclic garbage.
        return self if self._in_use is None else self._in_use

    def _in_half(self) -> "Backbone":
        if self._half is None:
            with torch.inference_mode(False):
                self._half = self.copy()
                self._half.model.to(torch.bfloat16)
        return self._half

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the backbone, named by layer and site so that names do not depend on module paths.

        They are its parameters, but for weights in 8 bits, of which they are made each time.
        """
        return {name: getattr(module, kind) for name, (module, kind) in self._named().items()}

    def _named(self) -> dict[str, tuple[Any, str]]:
        """Return the module of every tensor and its name there, by the tensor's own name."""
        found = {}
        for name, path in self.family.outer_tensors(self.model).items():
            parent, _, kind = path.rpartition(".")
            found[name] = (self.model.get_submodule(parent), kind)
        for layer in range(self.shape.depth):
            for site in LEAVES:
                module = self._stock(layer, site)
                found |= {f"layers.{layer}.{site}.{kind}": (module, kind) for kind in _kinds(module)}
        return found

    def tensor(self, layer: int, site: str, kind: str) -> Tensor:
        """Return one stock tensor of a layer, such as (0, "norm_ffn", "weight")."""
        stock: Tensor = getattr(self._stock(layer, site), kind)
        return stock.detach()

    def stock(self, layer: int, site: str) -> dict[str, Tensor]:
        """Return all stock tensors of a site of `LEAVES` or of `EMBEDDING`, such as weight and bias."""
        if site == EMBEDDING:
            tensors, name = self.tensors(), self.name_of(layer, site)
            return {kind: tensors[f"{name}.{kind}"].detach() for kind in ("weight", "bias")}
        module = self._stock(layer, site)
        return {kind: getattr(module, kind).detach() for kind in _kinds(module)}

    def name_of(self, layer: int, site: str) -> str:
        """Return the name of a site of `LEAVES` or of `EMBEDDING` in the names of its tensors."""
        return self.family.embedding if site == EMBEDDING else f"layers.{layer}.{site}"

    def computing_with(self, layer: int, site: str) -> dict[str, Tensor]:
        """Return `stock` in the type that the layers compute with now."""
        return self._computing.stock(layer, site)

    def had_fingerprint(self, fingerprint: str) -> bool:
        """Return whether a fingerprint is that of these weights without the checkpoint's settings for its front end."""
        family = family_of(self.model.config.model_type, self.name)
        prefix = PREFIX if self.fingerprint.startswith(PREFIX) else ""
        return fingerprint == prefix + self._fingerprint(family)

    def copy(self, *, trained: bool = False) -> "Backbone":
        """Return a separate backbone with the same weights; one that is `trained`, for full fine-tuning."""
        model = type(self.model)(self.model.config)
        copy = Backbone(model, self.name, family=self.family, fingerprint=self.fingerprint, trained=trained)
        weights = self.tensors()
        with torch.no_grad():
            for name, tensor in copy.tensors().items():
                tensor.copy_(weights[name])
        return copy.to(self.device)

    def front_end(self, seconds: float) -> FrontEnd:
        """Return the front end that turns clips of this length (in seconds) into the backbone's input."""
        return self.family.front_end(seconds)

    def embed(self, features: Tensor, *, positions: str = "resize") -> Tensor:
        """Turn a batch of features into tokens (batch, special tokens + n, width), with position embeddings added.

        Args:
            features: normalised log-mel (batch, frames, 128) of at least 16 frames, or samples (batch, n).
            positions: "resize" fits the trained position embeddings to the input's length; "zeros" leaves them out, as
                the papers' published code does by mistake (docs/design-notes.md).

        Raises:
            BackboneError: the input is too short for one token.
        """
        computing = self._computing
        tokens = computing._sites[0, EMBEDDING](features.to(self.dtype))
        return self.family.with_positions(computing.model, tokens, features.shape[1], positions)

    def run(self, tokens: Tensor, *, first: int = 0, last: int | None = None) -> Tensor:
        """Run layers `first` up to but not including `last` (all by default), with the attached adapter.

        The final LayerNorm is not applied. Tokens are (batch, n, width) before and after.
        """
        computing = self._computing
        options = self.family.layer_options(computing.model)
        for layer in range(self.shape.depth)[first:last]:
            out = computing._sites[layer, "layer"](tokens, **options)
            tokens = out[0] if isinstance(out, tuple) else out
        return tokens

    def norm(self, tokens: Tensor) -> Tensor:
        """Apply the backbone's final LayerNorm; a backbone without one returns the tokens as they are."""
        return self.family.norm(self._computing.model, tokens)

    @contextmanager
    def attached(self, adapter: Attachable | None) -> Iterator[None]:
        """Attach `adapter` inside the block; afterwards whatever was attached before is attached again."""
        acts = adapter.acts() if adapter is not None else {}
        sites = self._computing._sites
        before = {key: site.act for key, site in sites.items()}
        try:
            for key, site in sites.items():
                site.act = acts.get(key)
            yield
        finally:
            for key, site in sites.items():
                site.act = before[key]

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

    def _fingerprint(self, family: Family) -> str:
        digest = hashlib.sha256(family.output_settings(self.model.config).encode())
        for name, (module, kind) in sorted(self._named().items(), key=lambda one: one[0]):
            tensor = getattr(module, kind).detach().cpu().contiguous().float()
            digest.update(f"{name}:{tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()


def _kinds(module: Any) -> list[str]:
    """Return the names of a stock module's tensors, such as weight and bias."""
    in_8_bits = ["weight"] if isinstance(module, Int8Linear) else []
    return in_8_bits + [kind for kind, _ in module.named_parameters(recurse=False)]
