"""A cache of descriptions, since a stream of tasks routes the test clips of every task again after each new task."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from cl_ast.audio.clip_reader import clip_key
from cl_ast.audio.reading import Waveform
from cl_ast.excerpts import Place
from cl_ast.router.space import RouterSpace

_MOST = 50_000  # clips, of two kilobytes each


class DescriptionCache:
    """Describes clips in one router space, and caches the latest descriptions.

    It is not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._space: RouterSpace | None = None

    def describe(self, space: RouterSpace, places: Sequence[Place], waveforms: Sequence[Waveform]) -> Tensor:
        """Return the descriptions (n, dimensions) of clips that were just read from these places."""
        if space is not self._space:
            self._space = space
            self._found.clear()
        keys = [clip_key(place) for place in places]
        new = [row for row, key in enumerate(keys) if key not in self._found]
        fresh = dict(zip(new, space.describe([waveforms[row] for row in new]), strict=True))
        found = [fresh[row] if row in fresh else self._found[key] for row, key in enumerate(keys)]
        self._found |= dict(zip(keys, found, strict=True))
        while len(self._found) > _MOST:
            self._found.popitem(last=False)
        return torch.stack(found) if found else space.describe([])
