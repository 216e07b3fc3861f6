"""Clips answered by a Ray cluster: the same answers as here, from workers that each hold the backbone once."""

import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from cl_ast.errors import AudioError, ClAstError
from cl_ast.inference.prediction import Clip, Failure, Prediction, Window

_GROUP = 32  # clips that a worker is handed at once: as many as are routed together


@dataclass(frozen=True, slots=True)
class Place:
    """What workers open. A registry and a backbone that they can reach: paths that all see, or URLs.

    Attributes:
        folder: what relative paths begin at.
    """

    registry: str
    backbone: str | None
    device: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every clip, as `Manager.predict` takes it."""

    task: str
    top_k: int | None
    window: Window | None
    every: bool


class Cluster:
    """A Ray cluster as something to ask, as a `Manager` is. To be used as a context manager."""

    def __init__(self, place: Place, workers: int | None = None) -> None:
        """
        Args:
            workers: how many at most; None for one a GPU, or one a CPU where there is none or it is not to be used.

        Raises:
            ClAstError: Ray is not installed, or its cluster cannot be reached.
        """
        self._place = place
        self._workers = workers
        self._ray = _started()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    def predict(
        self,
        clips: Iterable[Clip],
        *,
        task: str = "auto",
        top_k: int | None = 5,
        window: Window | None = None,
        every: bool = False,
    ) -> Iterator[Prediction | Failure]:
        """As `Manager.predict`, of files only; the order is that of the clips.

        Raises:
            AudioError: a clip is no file.
            RegistryError: there is no registry at that place for a worker.
            ClAstError: as `Manager.predict`, or a worker ended.
        """
        names = [_file(clip) for clip in clips]
        groups = [names[first : first + _GROUP] for first in range(0, len(names), _GROUP)]
        if not groups:
            return
        waiting: dict[int, bytes] = {}
        following = 0
        for number, answers in self._rows(groups, Question(task, top_k, window, every)):
            waiting[number] = answers
            while following in waiting:
                found = pickle.loads(waiting.pop(following))
                if isinstance(found, ClAstError):
                    raise found
                yield from found
                following += 1

    def _rows(self, groups: list[list[str]], question: Question) -> Iterator[tuple[int, bytes]]:
        """Each group's number and pickled answers, as they come."""
        from ray import data
        from ray.exceptions import RayError

        gpus = int(self._ray.cluster_resources().get("GPU", 0)) if self._place.device in ("auto", "cuda") else 0
        places = gpus or int(self._ray.cluster_resources().get("CPU", 1))
        workers = min(self._workers or places, places, len(groups))
        items = [{"number": number, "clips": pickle.dumps(group)} for number, group in enumerate(groups)]
        answered = data.from_items(items, override_num_blocks=len(items)).map(
            Worker,
            fn_constructor_args=(self._place, question),
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=0 if gpus else 1,
            num_gpus=1 if gpus else None,
        )
        try:
            for row in answered.iter_rows():
                yield row["number"], row["answers"]
        except RayError as error:
            raise ClAstError(
                f"a Ray worker ended: {str(error).strip().splitlines()[-1]}; look at Ray's logs"
            ) from error


class Worker:
    """One process of the cluster: it opens the registry and its backbone once, and keeps adapters that it has read."""

    def __init__(self, place: Place, question: Question) -> None:
        self._place = place
        self._question = question
        self._manager: Any = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A group's clips to its answers, or to the error that ends the question."""
        answers: list[Prediction | Failure] | ClAstError
        try:
            answers = list(self._answered(pickle.loads(row["clips"])))
        except ClAstError as error:
            answers = error
        return {"number": row["number"], "answers": pickle.dumps(answers)}

    def _answered(self, clips: list[str]) -> Iterator[Prediction | Failure]:
        from cl_ast.manager import Manager
        from registry import Registry

        if self._manager is None:
            with suppress(OSError):  # whole paths need no folder
                os.chdir(self._place.folder)
            registry = Registry.open(self._place.registry, create=False)
            self._manager = Manager(registry, backbone=self._place.backbone, device=self._place.device)
        asked = self._question
        found: Iterator[Prediction | Failure] = self._manager.predict(
            clips, task=asked.task, top_k=asked.top_k, window=asked.window, every=asked.every
        )
        return found


def _file(clip: Clip) -> str:
    if not isinstance(clip, str | Path):
        raise AudioError("standard input cannot be spread over a cluster; give files, or leave out --engine")
    return str(clip)


def _found() -> dict[str, str]:
    """Where a worker on this machine finds our packages: a folder called `registry` where it starts is not ours."""
    home = str(Path(__file__).parents[2])
    return {"PYTHONPATH": os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])}


def _started() -> Any:
    """Ray, connected to the cluster that RAY_ADDRESS names, or with one of its own on this machine; silent."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to Ray's makers; read at its import
    try:
        import ray
        from ray import data
    except ImportError:
        raise ClAstError("Ray is not installed; pip install 'cl-ast[ray]', or leave out --engine") from None
    try:
        ray.init(
            include_dashboard=False, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": _found()}
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClAstError(f"the Ray cluster cannot be reached: {first}; see RAY_ADDRESS") from error
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
