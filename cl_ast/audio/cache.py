"""Clips that are heard more than once in a run: decoded once, and described to the router once, while they fit.

A task's training clips are heard by its training and by its routing; a stream measures every task's test clips again
after each task.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cl_ast.audio.reading import Waveform, read_all
from cl_ast.router import RouterSpace

WAVEFORM_BYTES = 2**29  # some 8,000 clips of a second
_DESCRIBED = 50_000  # clips; a kilobyte each


class DecodedClips:
    """Reads clips as `read_all` does, and remembers those asked last within a budget. For one thread."""

    def __init__(self, most_bytes: int = WAVEFORM_BYTES) -> None:
        self.bytes = 0
        self._most = most_bytes
        self._heard: OrderedDict[Hashable, Waveform] = OrderedDict()
        self._described: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._space: RouterSpace | None = None

    def read(self, paths: Sequence[Path]) -> list[Waveform]:
        """Clips in order. Raises AudioError for the first that cannot be read."""
        keys = [_key(path) for path in paths]
        new = {key: path for key, path in zip(keys, paths, strict=True) if key not in self._heard}
        fresh = dict(zip(new, read_all(list(new.values())), strict=True))
        found = [fresh[key] if key in fresh else self._heard[key] for key in keys]
        for key, waveform in zip(keys, found, strict=True):
            self._keep(key, waveform)
        return found

    def describe(self, space: RouterSpace, paths: Sequence[Path], waveforms: Sequence[Waveform]) -> Tensor:
        """What the space says of clips that were just read: (n, d)."""
        if space is not self._space:
            self._space = space
            self._described.clear()
        keys = [_key(path) for path in paths]
        new = [row for row, key in enumerate(keys) if key not in self._described]
        fresh = dict(zip(new, space.describe([waveforms[row] for row in new]), strict=True))
        found = [fresh[row] if row in fresh else self._described[key] for row, key in enumerate(keys)]
        self._described |= dict(zip(keys, found, strict=True))
        while len(self._described) > _DESCRIBED:
            self._described.popitem(last=False)
        return torch.stack(found) if found else space.describe([])

    def _keep(self, key: Hashable, waveform: Waveform) -> None:
        if key not in self._heard:
            self._heard[key] = waveform
            self.bytes += waveform.nbytes
        self._heard.move_to_end(key)
        while self.bytes > self._most:
            self.bytes -= self._heard.popitem(last=False)[1].nbytes


def _key(path: Path) -> Hashable:
    """A file as it is now: one that was written anew is another clip."""
    try:
        found = path.stat()
    except OSError:
        return path, None  # reading it says what is wrong
    return path, found.st_mtime_ns, found.st_size
