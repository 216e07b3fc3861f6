"""A task on a backbone: adapter, head, labels and front end."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cl_ast.adapters.adapter import Adapter, check_shapes
from cl_ast.adapters.forms import Weight, layer_norm
from cl_ast.adapters.spec import MethodSpec, head_shapes
from cl_ast.audio.front_ends import FrontEnd
from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.pooling import POOLINGS, pooled
from cl_ast.errors import MethodError
from cl_ast.tasks.number_formats import Kind, decoded, encoded, fixed_types

OWN_BACKBONE = "trunk."  # in front of the names of a backbone of its own


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What a task is, apart from its weights.

    Attributes:
        labels: in the order of the head's outputs.
        front_end: what is done to a clip.
        pooling: of the output tokens, one of `POOLINGS`.
        positions: "resize", or "zeros" to reproduce the papers' published code.
    """

    name: str
    method: MethodSpec
    labels: tuple[str, ...]
    front_end: FrontEnd
    pooling: str = "mean"
    positions: str = "resize"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise MethodError(f"no pooling called {self.pooling!r}; there are {', '.join(POOLINGS)}")
        if self.positions not in ("resize", "zeros"):
            raise MethodError(f"positions are 'resize' or 'zeros', not {self.positions!r}")


class TaskModel:
    """One task: features in, logits out, over a shared backbone that it never writes.

    Full fine-tuning is the exception that the comparison needs: it holds a backbone of its own.

    Attributes:
        stored: how a file holds its tensors, by name; in single precision where nothing is said.
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
    def fresh(cls, settings: TaskSettings, backbone: Backbone, generator: torch.Generator) -> "TaskModel":
        """A task that has learned nothing: the plain backbone under a random head."""
        if settings.method.trains == "backbone":
            backbone = backbone.copy()
        shapes = head_shapes(backbone.shape, len(settings.labels), settings.pooling)
        width = shapes["head.weight"][1]
        made = {
            name: Weight(shapes[name], "uniform", width).make(generator).to(backbone.device)
            for name in ("head.weight", "head.bias")
        }
        head = {**head_norm(backbone), **made}
        return cls(settings, backbone, Adapter.fresh(settings.method, backbone, generator), head)

    def logits(self, features: Tensor) -> Tensor:
        """The front end's features of a batch to logits (batch, classes)."""
        return self.classify(self.tokens(features))

    def tokens(self, features: Tensor) -> Tensor:
        """The front end's features of a batch to the backbone's last tokens (batch, n, width), not yet normalised."""
        with self.acting():
            return self.backbone.run(self.embed(features))

    def lower(self, features: Tensor) -> Tensor:
        """Features to the tokens (batch, n, width) at which the task begins: what its training leaves as it is."""
        return self.backbone.run(self.embed(features), last=self.frozen_layers)

    def upper(self, tokens: Tensor) -> Tensor:
        """What `lower` gave, to the backbone's last tokens (batch, n, width)."""
        with self.acting():
            return self.backbone.run(tokens, first=self.frozen_layers)

    @property
    def frozen_layers(self) -> int:
        """How many of the backbone's layers, from the lowest, the task leaves as they are."""
        return self.settings.method.frozen_layers(self.backbone.shape.depth)

    def embed(self, features: Tensor) -> Tensor:
        """The front end's features of a batch to the tokens before the first layer."""
        return self.backbone.embed(features, positions=self.settings.positions)

    def acting(self) -> AbstractContextManager[None]:
        """The block in which the backbone's layers run with this task's adapter."""
        return self.backbone.attached(self.adapter)

    def classify(self, tokens: Tensor) -> Tensor:
        """The backbone's last tokens (batch, n, width), not yet normalised, to logits (batch, classes)."""
        return self.decide(self.pool(tokens))

    def pool(self, tokens: Tensor) -> Tensor:
        """The backbone's last tokens (batch, n, width) to one vector a clip, which the head's linear map takes."""
        if self.backbone.shape.final_norm:
            eps = self.backbone.shape.norm_eps
            tokens = layer_norm(tokens, self.head["head.norm.weight"], self.head["head.norm.bias"], eps)
        return pooled(tokens, self.settings.pooling)

    def decide(self, vectors: Tensor) -> Tensor:
        """What `pool` gave, to logits (batch, classes)."""
        return F.linear(vectors, self.head["head.weight"], self.head["head.bias"])

    def trainable(self) -> list[Tensor]:
        """Everything an optimiser may move, in a fixed order."""
        backbone: Iterable[Tensor] = ()
        if self.settings.method.trains == "backbone":
            # The head's norm stands in for the backbone's last one.
            still = ("norm.", *self.backbone.family.frozen)
            backbone = (t for name, t in self.backbone.tensors().items() if not name.startswith(still))
        return [*backbone, *self.adapter.trainable(), *self.head.values()]

    def state(self) -> dict[str, Tensor]:
        """The explicit list of tensors that are this task."""
        backbone = {}
        if self.settings.method.trains == "backbone":
            backbone = {f"{OWN_BACKBONE}{name}": t.detach() for name, t in self.backbone.tensors().items()}
        return {**backbone, **self.adapter.tensors, **self.head}

    def trainable_parameters(self) -> int:
        """As the papers count: without the head, or with what of it they count with the method."""
        counted = sum(self.head[name].numel() for name in self.settings.method.counted_in_head if name in self.head)
        if self.settings.method.trains == "backbone":
            return self.backbone.parameters - self.backbone.shape.frozen
        return counted + sum(tensor.numel() for tensor in self.adapter.trainable())

    def round(self, kind: Kind) -> None:
        """Every trained number becomes what a file of that kind gives back, and files will be of it."""
        fixed = fixed_types(self.settings.method, self.backbone.shape)
        moved = {name: tensor for name, tensor in self.state().items() if name not in fixed}
        with torch.no_grad():
            held = {name: decoded(name, encoded(name, tensor, kind)) for name, tensor in moved.items()}
            for name, (value, _) in held.items():
                moved[name].copy_(value)
        self.stored = {name: own for name, (_, own) in held.items() if own != "fp32"}


def head_norm(backbone: Backbone) -> dict[str, Tensor]:
    """What a head's own LayerNorm starts as: a copy of the backbone's final one; nothing where it has none."""
    if not backbone.shape.final_norm:
        return {}
    tensors = backbone.tensors()
    return {f"head.norm.{kind}": tensors[f"norm.{kind}"].detach().clone() for kind in ("weight", "bias")}


def label_scores(logits: Tensor, labels: Sequence[str], top_k: int | None) -> list[list[tuple[str, float]]]:
    """The best labels of each row with their softmax probabilities, best first."""
    probabilities = logits.float().softmax(dim=-1)
    best = probabilities.topk(min(top_k or len(labels), len(labels)), dim=-1)
    return [
        [(labels[index], value) for index, value in zip(indices, values, strict=True)]
        for indices, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
