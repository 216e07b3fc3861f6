"""Labelled clips as batches of features: computed once, and kept on the GPU, in memory or in a file."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from math import prod

import torch
from torch import Tensor

from cl_ast.audio.clip_reader import read_all
from cl_ast.audio.front_ends import FrontEnd
from cl_ast.audio.reading import Waveform
from cl_ast.batching import ahead, chunks
from cl_ast.excerpts import Place
from cl_ast.progress import Progress, Step, silent
from cl_ast.tasks.kind_names import CLASSES
from cl_ast.tasks.label_kinds import KINDS, LabelKind
from cl_ast.training import memory
from cl_ast.training.feature_files import FeatureFiles, Rows, Writer, key_of
from cl_ast.training.prefetch import Batch, prefetched
from cl_ast.training.state_cache import CPU, StateCache
from cl_ast.training.stretches import all_windows, size_if_longer, stretch
from streams import Clip

Read = Callable[[Sequence[Place]], list[Waveform]]
_CHUNK = 64  # clips that are read at once
_CHUNK_SECONDS = 512  # of sound, for a GPU, which computes features in larger batches
_WORTH_A_FILE = 2**26  # bytes; fewer features are computed again about as fast as they are read


def labelled(
    clips: Sequence[Clip],
    labels: Sequence[str],
    front_end: FrontEnd,
    device: torch.device | str = "cpu",
    read: Read = read_all,
    crop: str = "start",
    files: FeatureFiles | None = None,
    labelling: LabelKind = KINDS[CLASSES],
) -> "ClipSet":
    """Return one split of a task as a `ClipSet`, whose targets say by position in `labels` which are true.

    Args:
        labelling: whether a clip has one label or several.
        crop: what is taken of clips that are longer than the front end takes, one of `CROPS`. With "all", each window
            that sounds is a clip of the set, and all clips are read now to find them.
        files: as `ClipSet` has it.

    Raises:
        AudioError: with "all", a clip cannot be read.
    """
    targets = labelling.targets([clip.labels for clip in clips], labels)
    places = [clip.place for clip in clips]
    if crop != "all":
        return ClipSet(places, targets, front_end, device=device, read=read, crop=crop, files=files)
    starts: list[Sequence[int | None]] = []
    parts = (partial(read, places[part.start : part.stop]) for part in chunks(len(places), _CHUNK))
    with closing(ahead(parts)) as waveforms:
        for some in waveforms:
            starts += [all_windows(waveform, front_end) for waveform in some]
    return ClipSet(
        [place for place, own in zip(places, starts, strict=True) for _ in own],
        targets[[row for row, own in enumerate(starts) for _ in own]],
        front_end,
        device=device,
        read=read,
        starts=[start for own in starts for start in own],
        files=files,
    )


class ClipSet:
    """Features of labelled clips under one front end.

    They are computed once and kept where they fit: on the GPU, in memory, or in a file of the cache folder. Where they
    fit nowhere they are computed again each time. On a GPU a spectrogram is kept in half precision, else all features
    are kept as they were computed, so that where they fit does not change a result.

    Attributes:
        longer: the clips that are longer than the front end takes, in order, once they were loaded.
        states: a cache for the frozen layers' output, within what the features leave of the memory.
    """

    def __init__(
        self,
        places: Sequence[Place],
        targets: Sequence[int] | Tensor,
        front_end: FrontEnd,
        *,
        device: torch.device | str = "cpu",
        cache_bytes: int | None = None,
        read: Read = read_all,
        crop: str = "start",
        starts: Sequence[int | None] | None = None,
        files: FeatureFiles | None = None,
    ) -> None:
        """
        Args:
            targets: classes (n,), or for tags which are true (n, tags).
            device: where batches are needed.
            cache_bytes: how much of the machine's memory features and states may take; a quarter of what is free by
                default.
            read: reads clips; it is called in a thread of its own.
            crop: what is taken of a longer clip: "start" or the "loudest" stretch.
            starts: where the stretch of each clip begins instead, in samples; None for what `crop` says.
            files: the files of the cache folder; those of the user by default.
        """
        self.places = list(places)
        self.longer: dict[Place, None] = {}
        self.targets = targets if isinstance(targets, Tensor) else torch.tensor(targets, dtype=torch.long)
        self.front_end = front_end
        self.device = torch.device(device)
        self._read = read
        self._crop = crop
        self._starts = [None] * len(self.places) if starts is None else list(starts)
        self._files = files
        self._is_half = self.device.type == "cuda" and front_end.spectrogram
        self._dtype = torch.float16 if self._is_half else torch.float32
        self._shape = (len(self.places), *front_end.shape)
        self._size = prod(self._shape) * self._dtype.itemsize
        room = memory.room(CPU) if cache_bytes is None else cache_bytes
        gpu_room = memory.room(self.device) if self.device.type == "cuda" else 0
        self._on_gpu, self._in_memory = self._size <= gpu_room, self._size <= room
        self.states = StateCache(
            room - self._size if self._in_memory and not self._on_gpu else room,
            gpu_room - self._size if self._on_gpu else gpu_room,
        )
        self._kept: Tensor | Rows | None = None
        self._is_loaded = False
        self._expected: deque[list[int]] = deque()
        self._coming: Iterator[Batch] = iter(())

    def __len__(self) -> int:
        return len(self.places)

    def load(self, stage: str, progress: Progress = silent) -> None:
        """Read every clip now, so that one that cannot be read is known before training starts.

        Features that an earlier run left in the cache folder are taken from there, and no clip is opened.
        """
        if self._is_loaded:
            return
        is_kept = self._on_gpu or self._in_memory
        writer: Writer | None = None
        if self._size and (self._size >= _WORTH_A_FILE or not is_kept):
            files = self._files or FeatureFiles.of_user()
            key = key_of(self.places, (self._crop, self._starts), self.front_end, self._dtype, self.device)
            found = files.open(key, self._shape, self._dtype)
            if found is not None:
                self.longer = {self.places[index]: None for index in found.longer}
                self._kept = self._copied(found) if is_kept else found
                self._is_loaded = True
                progress(Step(stage, len(self), len(self)))
                return
            writer = files.create(key, self._shape, self._dtype)
        try:
            kept = self._empty() if is_kept else None
            self._fill(kept, writer, stage, progress)
            written = (
                None
                if writer is None
                else writer.finish([index for index, place in enumerate(self.places) if place in self.longer])
            )
        finally:
            if writer is not None:
                writer.close()
        self._kept = written if kept is None else kept
        self._is_loaded = True

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return features (batch, *shape of the front end), float32, and targets (batch,) on the device."""
        return self._next(None, indices)

    def batch_of(self, states: Tensor, indices: Sequence[int]) -> Batch:
        """Return rows of states (clips, …), and targets (batch,) on the device."""
        return self._next(states, indices)

    @contextmanager
    def ahead(self, batches: Sequence[Sequence[int]], states: Tensor | None = None) -> Iterator[None]:
        """Prepare batches in a thread inside the block, if making one takes time.

        Args:
            batches: what `batch`, or `batch_of` where there are states, is called with inside the block, in this order.
        """
        source = self._kept if states is None else states
        if isinstance(source, Tensor) and source.device.type == self.device.type:
            yield
            return
        coming = (
            self._read_ahead(batches)
            if source is None
            else prefetched(partial(self._made, states), batches, self.device)
        )
        with closing(coming):
            self._coming, self._expected = coming, deque(list(batch) for batch in batches)
            try:
                yield
            finally:
                self._coming, self._expected = iter(()), deque()

    def _read_ahead(self, batches: Sequence[Sequence[int]]) -> Generator[Batch, None, None]:
        """Yield batches whose clips were read in a thread; features are computed in this one, to the same numbers."""
        with closing(ahead(partial(self._waveforms, batch) for batch in batches)) as coming:
            for batch, waveforms in zip(batches, coming, strict=True):
                yield self._moved(self._computed(waveforms)), self._moved(self.targets[list(batch)])

    def _next(self, states: Tensor | None, indices: Sequence[int]) -> Batch:
        if self._expected and self._expected[0] == list(indices):
            self._expected.popleft()
            return next(self._coming)
        return self._made(states, indices)

    def _made(self, states: Tensor | None, indices: Sequence[int]) -> Batch:
        """Return rows of the states or of the features, and the targets, on the device."""
        source = self._kept if states is None else states
        rows = torch.tensor(list(indices), dtype=torch.long)
        targets = self._moved(self.targets[rows])
        if source is None:
            return self._moved(self._computed(self._waveforms(indices))), targets
        if isinstance(source, Rows):
            found = self._moved(source.take(indices))
        elif source.device.type == self.device.type:
            found = source.index_select(0, self._moved(rows))
        else:
            found = self._moved(source.index_select(0, rows))
        return (found.float() if states is None else found), targets

    def _moved(self, values: Tensor) -> Tensor:
        """Return values on the device; to a GPU they go from pinned memory, so that the copy waits for nothing."""
        if self.device.type == "cuda" and values.device.type == "cpu":
            values = values.pin_memory()
        return values.to(self.device, non_blocking=True)

    def _waveforms(self, indices: Sequence[int]) -> list[Waveform]:
        """Return what is taken of clips, and note which are longer."""
        found = self._read([self.places[index] for index in indices])
        return [self._taken(index, one) for index, one in zip(indices, found, strict=True)]

    def _taken(self, index: int, waveform: Waveform) -> Waveform:
        size = size_if_longer(waveform, self.front_end)
        if size is None:
            return waveform
        self.longer[self.places[index]] = None
        return stretch(waveform, size, self._crop, self._starts[index])

    def _computed(self, waveforms: Sequence[Waveform]) -> Tensor:
        """Return features, where they were computed: spectrograms on the GPU, all else on the CPU."""
        return self.front_end(waveforms, self.device if self._is_half else CPU)

    def _empty(self) -> Tensor:
        """Return room for all features: on the GPU, or in memory if another process has taken the room there."""
        if self._on_gpu:
            try:
                return torch.empty(self._shape, dtype=self._dtype, device=self.device)
            except torch.OutOfMemoryError:
                self._on_gpu = False
        return torch.empty(self._shape, dtype=self._dtype)

    def _copied(self, found: Rows) -> Tensor:
        kept = self._empty()
        for part in chunks(len(self), 4 * _CHUNK):
            kept[part.start : part.stop] = found.take(part)
        return kept

    def _fill(self, kept: Tensor | None, writer: Writer | None, stage: str, progress: Progress) -> None:
        """Compute all features in order; clips are read in a thread meanwhile."""
        size = _CHUNK
        if self.device.type == "cuda":
            size = max(size, int(_CHUNK_SECONDS / self.front_end.seconds))
        parts = list(chunks(len(self), size))
        reads = (partial(self._waveforms, part) for part in parts)
        with closing(ahead(reads)) as waveforms:
            for part, some in zip(parts, waveforms, strict=True):
                features = self._computed(some).to(self._dtype)
                if kept is not None:
                    kept[part.start : part.stop] = features
                if writer is not None:
                    writer.append(features)
                progress(Step(stage, part.stop, len(self)))
