"""A cache of decoded clips, for work that needs the same clips more than once.

The training of a task and its routing read the same clips, and a stream of tasks measures every task's test clips again
after each task.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from pathlib import Path

from cl_ast.audio.reading import Waveform, read_all

WAVEFORM_BYTES = 2**29  # some 8,000 clips of a second


class DecodedClips:
    """Reads clips as `read_all` does, and keeps those used last within a budget of bytes. For one thread."""

    def __init__(self, most_bytes: int = WAVEFORM_BYTES) -> None:
        self.bytes = 0
        self._most = most_bytes
        self._waveforms: OrderedDict[Hashable, Waveform] = OrderedDict()

    def read(self, paths: Sequence[Path]) -> list[Waveform]:
        """Return the clips in order. Raises AudioError for the first that cannot be read."""
        keys = [file_key(path) for path in paths]
        new = {key: path for key, path in zip(keys, paths, strict=True) if key not in self._waveforms}
        fresh = dict(zip(new, read_all(list(new.values())), strict=True))
        found = [fresh[key] if key in fresh else self._waveforms[key] for key in keys]
        for key, waveform in zip(keys, found, strict=True):
            self._keep(key, waveform)
        return found

    def _keep(self, key: Hashable, waveform: Waveform) -> None:
        if key not in self._waveforms:
            self._waveforms[key] = waveform
            self.bytes += waveform.nbytes
        self._waveforms.move_to_end(key)
        while self.bytes > self._most:
            self.bytes -= self._waveforms.popitem(last=False)[1].nbytes


def file_key(path: Path) -> Hashable:
    """Return what tells a file from other files, and from itself before it was written again."""
    try:
        found = path.stat()
    except OSError:
        return path, None  # Reading it will say what is wrong.
    return path, found.st_mtime_ns, found.st_size
