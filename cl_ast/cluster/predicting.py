"""Predictions by a Ray cluster: the same answers as in one process, from workers that each load the backbone once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cl_ast.audio.reading import AudioInput
from cl_ast.audio.windows import Failure
from cl_ast.cluster.pool import Pool
from cl_ast.errors import AudioError
from cl_ast.inference.predicting import predict
from cl_ast.inference.prediction import Prediction, Query
from cl_ast.inference.session import Session
from registry import Registry

_GROUP = 32  # clips that a worker gets at once: as many as are routed together


@dataclass(frozen=True, slots=True)
class Place:
    """What workers open: a registry and a backbone that they can all reach, by path or by URL.

    Attributes:
        folder: where relative paths begin.
    """

    registry: str
    backbone: str | None
    device: str
    folder: Path


class Cluster(Pool):
    """The workers of a Ray cluster, which classify clips as a `Manager` does. To be used as a context manager."""

    def __init__(self, place: Place, workers: int | None = None) -> None:
        """
        Args:
            workers: as `Pool` takes them.

        Raises:
            ClAstError: Ray is not installed.
        """
        super().__init__(place.device, workers)
        self._place = place

    def answer(self, clips: Iterable[AudioInput], query: Query) -> Iterator[Prediction | Failure]:
        """Classify clips as `Manager.answer` does, of files only; the order is that of the clips.

        Raises:
            AudioError: a clip is no file.
            RegistryError: there is no registry at that place for a worker.
            ClAstError: as `Manager.answer` or `Pool.map`.
        """
        names = [_file(clip) for clip in clips]
        groups = [names[first : first + _GROUP] for first in range(0, len(names), _GROUP)]
        for answers in self.map(Predictor(self._place, query), groups):
            yield from answers


class Predictor:
    """Classifies groups of clips in a process of its own, which opens the registry for the first one."""

    def __init__(self, place: Place, query: Query) -> None:
        self._place = place
        self._query = query
        self._session: Session | None = None

    def __call__(self, clips: list[str]) -> list[Prediction | Failure]:
        """Classify a group of clips."""
        if self._session is None:
            registry = Registry.open(self._place.registry, create=False)
            self._session = Session(registry, backbone=self._place.backbone, device=self._place.device)
        return list(predict(self._session, clips, self._query))


def _file(clip: AudioInput) -> str:
    if not isinstance(clip, str | Path):
        raise AudioError("a cluster cannot read standard input; give files, or leave out --engine")
    return str(clip)
