"""A task on a backbone: adapter, head, labels and front end."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.adapter import NONE, Adapter, check_shapes
from cl_ast.adapters.forms import Weight, layer_norm
from cl_ast.adapters.spec import MethodSpec, head_shapes
from cl_ast.audio.front_ends import FrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.pooling import POOLINGS, pooled
from cl_ast.errors import MethodError
from cl_ast.tasks.kind_names import CLASSES
from cl_ast.tasks.label_kinds import KINDS, LabelKind
from cl_ast.tasks.number_formats import Kind, decoded, encoded, fixed_types
from registry.limits import TEMPERATURES

THRESHOLD = 0.5
"""The probability from which a tag is said to be true of a clip, where `cl-ast tune` has found no other."""

OWN_BACKBONE = "trunk."  # the prefix of the tensors of a task's own backbone, which files that exist have


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """Everything about a task except its weights.

    Attributes:
        name: the task's name.
        method: its adaptation method.
        labels: in the order of the head's outputs.
        front_end: how a clip becomes the backbone's input.
        pooling: how the output tokens are pooled, one of `POOLINGS`.
        positions: "resize", or "zeros" to reproduce the papers' published code (`Backbone.embed`).
        temperature: what the logits are divided by for probabilities that are calibrated; 1 for those of the logits.
        kind: "classes" where exactly one label is true of a clip, "tags" where any number is.
        thresholds: of tags, the probability from which each is said to be true of a clip; 0.5 where there are none.
        shared: the SHA-256 of the shared part that the method reads; None where it reads none.
    """

    name: str
    method: MethodSpec
    labels: tuple[str, ...]
    front_end: FrontEnd
    pooling: str = "mean"
    positions: str = "resize"
    temperature: float = 1.0
    kind: str = CLASSES
    thresholds: tuple[float, ...] = ()
    shared: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise MethodError(f"labels are {' or '.join(KINDS)}, not {self.kind!r:.40}; upgrade cl-ast")
        if len(self.thresholds) not in (0, len(self.labels)):
            raise MethodError(f"{len(self.thresholds)} thresholds do not fit {len(self.labels)} labels")
        if self.pooling not in POOLINGS:
            raise MethodError(f"no pooling called {self.pooling!r}; there are {', '.join(POOLINGS)}")
        if self.positions not in ("resize", "zeros"):
            raise MethodError(f"positions are 'resize' or 'zeros', not {self.positions!r}")
        check_temperature(self.temperature)

    @property
    def labelling(self) -> LabelKind:
        """What the head's outputs mean, and how they are trained and measured."""
        return KINDS[self.kind]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the calibrated probability of each label (…, labels) for logits."""
        return self.labelling.probabilities(logits.float() / self.temperature)

    def true_labels(self, probabilities: Sequence[float]) -> tuple[str, ...]:
        """Return the tags whose probabilities (labels,) reach their thresholds, the most probable first."""
        limits = self.thresholds or (THRESHOLD,) * len(self.labels)
        found = [
            (-value, label)
            for label, value, limit in zip(self.labels, probabilities, limits, strict=True)
            if value >= limit
        ]
        return tuple(label for _, label in sorted(found))


def check_temperature(value: object) -> float:
    """Return a temperature, which may come from a file that anybody wrote. Raises ValueError if it cannot be one."""
    least, most = TEMPERATURES
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"a temperature is a number from {least:g} to {most:g}, not {value!r:.40}")
    return float(value)


class TaskModel:
    """One task, which turns features into logits with a shared backbone whose weights it never changes.

    Full fine-tuning, which is there for comparison, is the exception: such a task has its own copy of the backbone.

    Attributes:
        settings: everything about the task except its weights.
        backbone: the shared backbone, or the task's own copy.
        adapter: the task's adapter.
        head: the tensors of the head by name.
        stored: the number format of each tensor in a file, by name; single precision for tensors that are not listed.
    """

    def __init__(
        self, settings: TaskSettings, backbone: Backbone, adapter: Adapter, head: Mapping[str, Tensor]
    ) -> None:
        self.settings = settings
        self.backbone = backbone
        self.adapter = adapter
        self.head = dict(head)
        self.stored: dict[str, Kind] = {}
        shapes = head_shapes(backbone.shape, len(settings.labels), settings.pooling)
        check_shapes(shapes, self.head, f"the head of {settings.name}")

    @classmethod
    def fresh(
        cls,
        settings: TaskSettings,
        backbone: Backbone,
        generator: torch.Generator,
        shared: Mapping[str, Tensor] = NONE,
    ) -> "TaskModel":
        """Return an untrained task, with an untrained adapter and a random head.

        Args:
            shared: the tensors of the shared part that the method reads.
        """
        if settings.method.trains == "backbone":
            backbone = backbone.copy(trained=True)
        shapes = head_shapes(backbone.shape, len(settings.labels), settings.pooling)
        width = shapes["head.weight"][1]
        made = {
            name: Weight(shapes[name], "uniform", width).make(generator).to(backbone.device)
            for name in ("head.weight", "head.bias")
        }
        head = {**head_norm(backbone), **made}
        return cls(settings, backbone, Adapter.fresh(settings.method, backbone, generator, shared), head)

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits (batch, classes) for the front end's features of a batch."""
        return self.classify(self.tokens(features))

    def tokens(self, features: Tensor) -> Tensor:
        """Return the backbone's last tokens (batch, n, width), before the final LayerNorm, for a batch of features."""
        with self.acting():
            return self.backbone.run(self.embed(features))

    def lower(self, features: Tensor) -> Tensor:
        """Run the layers below the adapter, which training does not change, on features; return (batch, n, width)."""
        return self.backbone.run(self.embed(features), last=self.frozen_layers)

    @property
    def frozen_layers(self) -> int:
        """How many layers of the backbone, from the lowest, the task does not change."""
        return self.settings.method.frozen_layers(self.backbone.shape.depth)

    def embed(self, features: Tensor) -> Tensor:
        """Return the tokens (batch, n, width) before the first layer for a batch of features."""
        return self.backbone.embed(features, positions=self.settings.positions)

    def acting(self) -> AbstractContextManager[None]:
        """Return a context in which the backbone's layers run with this task's adapter."""
        return self.backbone.attached(self.adapter)

    def classify(self, tokens: Tensor) -> Tensor:
        """Return the logits (batch, classes) for the backbone's last tokens (batch, n, width)."""
        return self.decide(self.pool(tokens))

    def pool(self, tokens: Tensor) -> Tensor:
        """Normalise and pool the backbone's last tokens (batch, n, width) to the inputs of the head's linear map.

        From here on everything is in single precision.
        """
        return pooled(self._normalised(tokens), self.settings.pooling)

    def _normalised(self, tokens: Tensor) -> Tensor:
        tokens = tokens.float()
        if not self.backbone.shape.final_norm:
            return tokens
        eps = self.backbone.shape.norm_eps
        return layer_norm(tokens, self.head["head.norm.weight"], self.head["head.norm.bias"], eps)

    def timeline(self, tokens: Tensor) -> Tensor:
        """Return the logits (batch, steps, classes) that the tokens of each step in time contribute.

        The head is linear and pools by the mean, so the logits of a clip are the mean of its tokens' logits. They are
        summed here by step, each with an equal share of the tokens that belong to no step, such as CLS: the mean over
        the steps is what `classify` returns.

        Args:
            tokens: the backbone's last tokens (batch, n, width).

        Raises:
            MethodError: the task pools in another way, so that its logits are no mean over tokens.
        """
        self.check_timeline()
        each = self.decide(self._normalised(tokens))
        family = self.backbone.family
        special, rows = family.special_tokens, family.rows(self.backbone.model.config)
        others, ours = each[:, :special], each[:, special:]
        by_step = ours.reshape(len(ours), rows, -1, ours.shape[-1]).sum(dim=1)
        return (by_step * by_step.shape[1] + others.sum(dim=1, keepdim=True)) / each.shape[1]

    @property
    def has_timeline(self) -> bool:
        """Whether the task pools by the mean, without which there is no timeline."""
        return self.settings.pooling == "mean"

    def check_timeline(self) -> None:
        """Raise MethodError where the task pools in another way than by the mean, so that it has no timeline."""
        if not self.has_timeline:
            raise MethodError(
                f"the task {self.settings.name} pools by {self.settings.pooling}, and a deviation over time has no "
                "timeline; leave out --timeline, or train the task again with --pooling mean"
            )

    def decide(self, vectors: Tensor) -> Tensor:
        """Return the logits (batch, classes) for the output of `pool`."""
        return F.linear(vectors, self.head["head.weight"], self.head["head.bias"])

    def trainable(self) -> list[Tensor]:
        """Return all tensors that an optimiser may change, in a fixed order."""
        # The backbone's final LayerNorm is not used: the head has its own.
        untrained = ("norm.", *self.backbone.family.frozen)
        own = own_tensors(self.settings.method, self.backbone)
        backbone = (tensor for name, tensor in own.items() if not name.startswith(untrained))
        return [*backbone, *self.adapter.trainable(), *self.head.values()]

    def state(self) -> dict[str, Tensor]:
        """Return all tensors of the task by their names in a file."""
        own = own_tensors(self.settings.method, self.backbone)
        backbone = {f"{OWN_BACKBONE}{name}": tensor.detach() for name, tensor in own.items()}
        return {**backbone, **self.adapter.tensors, **self.head}

    def trainable_parameters(self) -> int:
        """Return the number of trained parameters as the papers count: of the head only `counted_in_head`."""
        counted = sum(self.head[name].numel() for name in self.settings.method.counted_in_head if name in self.head)
        if self.settings.method.top:
            return self.settings.method.top * self.backbone.shape.layer_parameters
        if self.settings.method.trains == "backbone":
            return self.backbone.parameters - self.backbone.shape.frozen
        return counted + sum(tensor.numel() for tensor in self.adapter.trainable())

    def finish(self) -> None:
        """Take the forms that a file has in place of those for training only; a trained task computes the same."""
        if self.settings.method.finished() != self.settings.method:
            with torch.no_grad():
                self.adapter = self.adapter.finished()
            self.settings = replace(self.settings, method=self.adapter.spec)

    def round(self, kind: Kind) -> None:
        """Round every trained number to a number format, which the task's file will then have."""
        fixed = fixed_types(self.settings.method, self.backbone.shape)
        trained = {name: tensor for name, tensor in self.state().items() if name not in fixed}
        with torch.no_grad():
            rounded = {name: decoded(name, encoded(name, tensor, kind)) for name, tensor in trained.items()}
            for name, (value, _) in rounded.items():
                trained[name].copy_(value)
        self.stored = {name: used for name, (_, used) in rounded.items() if used != "fp32"}


def own_tensors(method: MethodSpec, backbone: Backbone) -> dict[str, Tensor]:
    """Return the tensors of its own backbone that a task stores, by name: all, those of the highest layers, or none."""
    if method.trains != "backbone":
        return {}
    tensors, lowest = backbone.tensors(), method.frozen_layers(backbone.shape.depth)
    if not method.top:
        return tensors
    layers = tuple(f"layers.{layer}." for layer in range(lowest, backbone.shape.depth))
    return {name: tensor for name, tensor in tensors.items() if name.startswith(layers)}


def head_norm(backbone: Backbone) -> dict[str, Tensor]:
    """Return the initial LayerNorm of a head: a copy of the backbone's final one; empty if the backbone has none."""
    if not backbone.shape.final_norm:
        return {}
    tensors = backbone.tensors()
    return {f"head.norm.{kind}": tensors[f"norm.{kind}"].detach().clone() for kind in ("weight", "bias")}


def label_scores(logits: Tensor, settings: TaskSettings, top_k: int | None) -> list[list[tuple[str, float]]]:
    """Return the `top_k` best labels of each row of logits (all for None) with their probabilities, best first."""
    labels = settings.labels
    best = settings.probabilities(logits).topk(min(top_k or len(labels), len(labels)), dim=-1)
    return [
        [(labels[index], value) for index, value in zip(indices, values, strict=True)]
        for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
