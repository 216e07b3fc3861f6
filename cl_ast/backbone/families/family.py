"""What sets one family of backbones apart from another; the loop over layers and the sites are `Backbone`'s."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.backbone.sites import Paths, Shape


class Family(Protocol):
    """One kind of model of transformers: how it is loaded and checked, where its sites are, which front end feeds it.

    A frozen row without weights; `model` is transformers' own module, and `config` its configuration.
    """

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    @property
    def sites(self) -> Paths:
        """Where each of `SITES` lies in a layer."""
        ...

    @property
    def special(self) -> int:
        """How many tokens stand before those of the sound."""
        ...

    @property
    def frozen(self) -> tuple[str, ...]:
        """How the names of the tensors begin that even full fine-tuning leaves as they are."""
        ...

    @property
    def unneeded(self) -> tuple[str, ...]:
        """How the names of a checkpoint's tensors begin that a backbone does without, such as a classifier's."""
        ...

    @property
    def front_end_class(self) -> type[FrontEnd]:
        """The kind of front end that its input comes from."""
        ...

    def model_class(self) -> Any:
        """The stock class. Raises BackboneError where transformers cannot load it."""
        ...

    def with_front_end_of(self, place: str, name: str) -> "Family":
        """The same, with what the checkpoint at `place` says of its front end.

        Raises:
            BackboneError: the backbone `name` is to hear what no front end makes.
        """
        ...

    def refusal(self, config: Any) -> str:
        """Why a checkpoint of this family cannot be a backbone, as the end of a sentence; empty where it can."""
        ...

    def shape(self, model: Any) -> Shape: ...

    def layers(self, model: Any) -> Sequence[Any]:
        """The stock layers, first to last."""
        ...

    def stem(self, model: Any) -> Mapping[str, str]:
        """The tensors outside the layers: our name to the parameter's path."""
        ...

    def decisive(self, config: Any) -> str:
        """What decides the output besides the weights, and cannot be seen in their shapes."""
        ...

    def front_end(self, seconds: float) -> FrontEnd:
        """The front end that holds a clip of this length."""
        ...

    def embed(self, model: Any, features: Tensor, positions: str) -> Tensor:
        """A front end's batch to the tokens before the first layer: (batch, n, width)."""
        ...

    def norm(self, model: Any, tokens: Tensor) -> Tensor:
        """The final LayerNorm; the tokens as they are, where there is none."""
        ...
