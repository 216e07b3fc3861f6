"""A cache of decoded clips, for work that needs the same clips more than once.

Training a task and learning its routing read the same clips, and a stream of tasks measures the test clips of every
task again after each new task.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence

from cl_ast.audio.clip_reader import ClipReader, clip_key
from cl_ast.audio.reading import Waveform
from cl_ast.excerpts import Place

WAVEFORM_BYTES = 2**29  # enough for some 8,000 clips of one second


class DecodedClips:
    """Reads clips as a `ClipReader` does, and caches the most recently used ones up to a size in bytes.

    It is not safe for use by several threads.
    """

    def __init__(self, most_bytes: int = WAVEFORM_BYTES) -> None:
        self.bytes = 0
        self._most = most_bytes
        self._reader = ClipReader()
        self._waveforms: OrderedDict[Hashable, Waveform] = OrderedDict()

    def read(self, places: Sequence[Place]) -> list[Waveform]:
        """Return the clips in order. Raises AudioError for the first that cannot be read."""
        keys = [clip_key(place) for place in places]
        new = {key: place for key, place in zip(keys, places, strict=True) if key not in self._waveforms}
        fresh = dict(zip(new, self._reader.read(list(new.values())), strict=True))
        found = [fresh[key] if key in fresh else self._waveforms[key] for key in keys]
        for key, waveform in zip(keys, found, strict=True):
            self._keep(key, waveform)
        return found

    def close(self) -> None:
        """Close the recording that was read last, which is open. What is cached stays."""
        self._reader.close()

    def _keep(self, key: Hashable, waveform: Waveform) -> None:
        if key not in self._waveforms:
            self._waveforms[key] = waveform
            self.bytes += waveform.nbytes
        self._waveforms.move_to_end(key)
        while self.bytes > self._most:
            self.bytes -= self._waveforms.popitem(last=False)[1].nbytes
