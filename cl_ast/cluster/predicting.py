"""Predictions by a Ray cluster: the same answers as in one process, from workers that each load the backbone once."""

import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from cl_ast.audio.reading import AudioInput
from cl_ast.audio.windows import Failure
from cl_ast.cluster import starting
from cl_ast.errors import AudioError, ClAstError
from cl_ast.inference.prediction import Prediction, Query

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


class Cluster:
    """A Ray cluster that answers clips as a `Manager` does. To be used as a context manager."""

    def __init__(self, place: Place, workers: int | None = None) -> None:
        """
        Args:
            workers: how many at most; None for one a GPU, or one a CPU where there is none or it is not to be used.

        Raises:
            ClAstError: Ray is not installed, or its cluster cannot be reached.
        """
        self._place = place
        self._workers = workers
        self._ray = starting.imported(place.device, "ray.data")
        starting.start(self._ray)
        self._ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    def answer(self, clips: Iterable[AudioInput], query: Query) -> Iterator[Prediction | Failure]:
        """Classify clips as `Manager.answer` does, of files only; the order is that of the clips.

        Raises:
            AudioError: a clip is no file.
            RegistryError: there is no registry at that place for a worker.
            ClAstError: as `Manager.answer`, or a worker ended.
        """
        names = [_file(clip) for clip in clips]
        groups = [names[first : first + _GROUP] for first in range(0, len(names), _GROUP)]
        if not groups:
            return
        waiting: dict[int, bytes] = {}
        following = 0
        for number, answers in self._rows(groups, query):
            waiting[number] = answers
            while following in waiting:
                found = pickle.loads(waiting.pop(following))
                if isinstance(found, ClAstError):
                    raise found
                yield from found
                following += 1

    def _rows(self, groups: list[list[str]], query: Query) -> Iterator[tuple[int, bytes]]:
        """Yield each group's number and pickled answers, in the order in which they are done."""
        from ray import data
        from ray.exceptions import RayError

        cpus, gpus = starting.count(self._ray, self._place.device)
        places = gpus or cpus
        workers = min(self._workers or places, places, len(groups))
        items = [{"number": number, "clips": pickle.dumps(group)} for number, group in enumerate(groups)]
        answered = data.from_items(items, override_num_blocks=len(items)).map(
            Worker,
            fn_constructor_args=(self._place, query),
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else None,
        )
        try:
            for row in answered.iter_rows():
                yield row["number"], row["answers"]
        except RayError as error:
            raise ClAstError(f"a Ray worker ended: {starting.last_line(error)}; look at Ray's logs") from error


class Worker:
    """One process of the cluster: it opens the registry and its backbone once, and caches tasks."""

    def __init__(self, place: Place, query: Query) -> None:
        self._place = place
        self._query = query
        self._session: Any = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answer a group of clips; return the answers, or the error that ends the query."""
        answers: list[Prediction | Failure] | ClAstError
        try:
            answers = list(self._answers(pickle.loads(row["clips"])))
        except ClAstError as error:
            answers = error
        return {"number": row["number"], "answers": pickle.dumps(answers)}

    def _answers(self, clips: list[str]) -> Iterator[Prediction | Failure]:
        # Imported here, because the process that starts the cluster needs no torch.
        from cl_ast.inference.predicting import predict
        from cl_ast.inference.session import Session
        from registry import Registry

        if self._session is None:
            with suppress(OSError):  # Whole paths need no folder.
                os.chdir(self._place.folder)
            registry = Registry.open(self._place.registry, create=False)
            self._session = Session(registry, backbone=self._place.backbone, device=self._place.device)
        return predict(self._session, clips, self._query)


def _file(clip: AudioInput) -> str:
    if not isinstance(clip, str | Path):
        raise AudioError("a cluster cannot read standard input; give files, or leave out --engine")
    return str(clip)
