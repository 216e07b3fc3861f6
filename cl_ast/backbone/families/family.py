"""The interface of a family of backbones: everything that differs between families.

The loop over the layers and the sites are the same for all families, and are in `Backbone`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from cl_ast.audio.front_ends import FrontEnd
from cl_ast.backbone.sites import HeadsSite, Paths, Shape


class Family(Protocol):
    """One type of model of transformers: how it is loaded and checked, its sites, and the front end for its input.

    A family is a frozen dataclass without weights. `model` is always the stock module, and `config` its configuration.
    """

    @property
    def kind(self) -> str:
        """The `model_type` in the configuration of its checkpoints."""
        ...

    @property
    def title(self) -> str:
        """The name of the family for people."""
        ...

    @property
    def sites(self) -> Paths:
        """The path of each of `SITES` inside a layer."""
        ...

    @property
    def heads_site(self) -> type[HeadsSite]:
        """The class that wraps the attention module."""
        ...

    @property
    def attention(self) -> str:
        """The implementation of attention, as transformers calls it, that the stock model runs."""
        ...

    @property
    def special_tokens(self) -> int:
        """How many tokens come before those of the audio, such as a CLS token."""
        ...

    @property
    def frozen(self) -> tuple[str, ...]:
        """The prefixes of the names of tensors that even full fine-tuning does not train."""
        ...

    @property
    def unneeded(self) -> tuple[str, ...]:
        """The prefixes of a checkpoint's tensors that a backbone does not need, such as those of a classifier."""
        ...

    @property
    def front_end_class(self) -> type[FrontEnd]:
        """The class of the front ends whose output this family takes."""
        ...

    def model_class(self) -> Any:
        """Return the stock class. Raises BackboneError if transformers cannot load it."""
        ...

    def with_checkpoint_settings(self, place: str, name: str) -> "Family":
        """Return this family with the settings that the checkpoint at `place` has for its front end.

        Raises:
            BackboneError: no front end makes the input that the backbone `name` takes.
        """
        ...

    def unsupported_because(self, config: Any) -> str:
        """Return why a checkpoint of this family cannot be used, as the end of a sentence; empty if it can be used."""
        ...

    def shape(self, model: Any) -> Shape:
        """Return the sizes of the model."""
        ...

    def layers(self, model: Any) -> Sequence[Any]:
        """Return the stock layers, first to last."""
        ...

    def outer_tensors(self, model: Any) -> Mapping[str, str]:
        """Return the tensors outside the layers, as a mapping from our names to the paths of the parameters."""
        ...

    def output_settings(self, config: Any) -> str:
        """Return the settings on which the output depends and that do not show in the shapes of the weights."""
        ...

    def front_end(self, seconds: float) -> FrontEnd:
        """Return the front end for clips of this length."""
        ...

    def time_step(self, config: Any) -> int:
        """Return how many samples at 16 kHz lie between one token and the next in time."""
        ...

    def rows(self, config: Any) -> int:
        """Return how many tokens there are for each step in time. They come row by row, each in the order of time."""
        ...

    @property
    def embedding(self) -> str:
        """The name of the weight and the bias at the end of `tokenise`, without `.weight` and `.bias`."""
        ...

    def tokenise(self, model: Any, features: Tensor) -> Tensor:
        """Turn a batch of the front end's output into the tokens of its sound (batch, n, width), without positions."""
        ...

    def with_positions(self, model: Any, tokens: Tensor, length: int, positions: str) -> Tensor:
        """Add positions to tokens of `tokenise`, and the special tokens: return what the first layer takes.

        Args:
            length: of the features that the tokens were made of, in frames or samples.
            positions: as for `Backbone.embed`.
        """
        ...

    def layer_options(self, model: Any) -> Mapping[str, object]:
        """Return what every layer of a run takes beside the tokens, by the names of its arguments."""
        ...

    def norm(self, model: Any, tokens: Tensor) -> Tensor:
        """Apply the final LayerNorm; a family without one returns the tokens as they are."""
        ...
