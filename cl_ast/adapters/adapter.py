"""One task's adapter: its tensors, named by our own layers and sites, and how they act on the trunk."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from cl_ast.adapters.placement import Part, act
from cl_ast.adapters.spec import MethodSpec, layer_weights
from cl_ast.backbone import Act, Backbone
from cl_ast.errors import MethodError


class Adapter:
    """The tensors of one method over one trunk.

    `tensors` is the only definition of an adapter's state: the trainer, the file and the counter all read it.
    """

    def __init__(self, spec: MethodSpec, backbone: Backbone, tensors: Mapping[str, Tensor]) -> None:
        """Raises MethodError unless `tensors` are exactly those of the method, each of its shape."""
        self.spec = spec
        self.training = False
        self.tensors = dict(tensors)
        self._acts: dict[tuple[int, str], Act] = {}
        expected: dict[str, tuple[int, ...]] = {}
        self._trained: list[str] = []
        for layer in range(backbone.shape.depth):
            parts: dict[str, list[Part]] = {}
            grouped: dict[str, dict[str, Tensor]] = {}
            for full_name, (placement, name, weight) in layer_weights(spec, backbone.shape, layer).items():
                expected[full_name] = weight.shape
                if weight.trained:
                    self._trained.append(full_name)
                if full_name in self.tensors:
                    grouped.setdefault(placement.key, {})[name] = self.tensors[full_name]
            for placement in spec.placements:
                part = (placement.fitted(backbone.shape), grouped.get(placement.key, {}))
                parts.setdefault(placement.site, []).append(part)
            for site, at_site in parts.items():
                self._acts[layer, site] = partial(self._act, tuple(at_site))
        check_shapes(expected, self.tensors, f"the adapter ({spec.text})")

    @classmethod
    def fresh(cls, spec: MethodSpec, backbone: Backbone, generator: torch.Generator) -> "Adapter":
        """A new adapter on the trunk's device; its output equals the plain trunk's.

        Every form has one side at zero and the other at random: both at zero would never learn.
        """
        made: dict[str, Tensor] = {}
        for layer in range(backbone.shape.depth):
            for full_name, (placement, name, weight) in layer_weights(spec, backbone.shape, layer).items():
                stock = backbone.tensor(layer, placement.site, name) if weight.start == "stock" else None
                made[full_name] = weight.make(generator, stock).to(backbone.device)
        return cls(spec, backbone, made)

    def acts(self) -> Mapping[tuple[int, str], Act]:
        """What acts at each (layer, site)."""
        return self._acts

    def trainable(self) -> list[Tensor]:
        """The tensors that an optimiser may move, in a fixed order."""
        return [self.tensors[name] for name in self._trained]

    def _act(self, parts: tuple[Part, ...], run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return act(parts, run, x, training=self.training)


def check_shapes(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor], what: str) -> None:
    """Strict: every expected tensor is there with its shape, and nothing else.

    Raises:
        MethodError: naming the first tensor that is missing, unknown or of another shape.
    """
    for name, shape in expected.items():
        if name not in found:
            raise MethodError(f"{what} lacks the tensor {name}; train or import the task again")
        if tuple(found[name].shape) != shape:
            raise MethodError(
                f"{what}: {name} is {tuple(found[name].shape)}, expected {shape}; it was made for another trunk"
            )
    unknown = sorted(set(found) - set(expected))
    if unknown:
        raise MethodError(f"{what} holds a tensor it should not have: {unknown[0]}")
