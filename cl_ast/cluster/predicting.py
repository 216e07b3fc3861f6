"""Predictions by a Ray cluster: the same answers as in one process, from workers that each load the backbone once."""

import logging
import os
import pickle
import secrets
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from cl_ast.audio.reading import AudioInput
from cl_ast.audio.windows import Failure
from cl_ast.errors import AudioError, ClAstError
from cl_ast.inference.prediction import Prediction, Query

_LOOPBACK = "127.0.0.1"
_FIRST_WITH_TOKENS = (2, 52)
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
        self._ray = _started()

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

        gpus = int(self._ray.cluster_resources().get("GPU", 0)) if self._place.device in ("auto", "cuda") else 0
        places = gpus or int(self._ray.cluster_resources().get("CPU", 1))
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
            raise ClAstError(
                f"a Ray worker ended: {str(error).strip().splitlines()[-1]}; look at Ray's logs"
            ) from error


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


def _found() -> dict[str, str]:
    """Return the environment that tells a worker on this machine where our packages are.

    Else a folder called `registry` where the worker starts could be taken for ours.
    """
    home = str(Path(__file__).parents[2])
    return {"PYTHONPATH": os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])}


def _started() -> Any:
    """Return Ray, connected to the cluster of RAY_ADDRESS or to one that it starts on this machine.

    One that it starts listens on loopback only. With RAY_ADDRESS, everything is as Ray's own settings say.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it is imported
    own = os.environ.get("RAY_ADDRESS", "") in ("", "local")
    if own:
        _close_to_others()
    try:
        import ray
        from ray import data
    except ImportError:
        raise ClAstError("Ray is not installed; pip install 'cl-ast[ray]', or leave out --engine") from None
    _refuse_old(ray.__version__)
    # Without an address Ray would take whatever cluster another user's file in the temporary folder names.
    place = {"address": "local", "_node_ip_address": _LOOPBACK} if own else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about settings that are not used here
            ray.init(
                **place,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": _found()},
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClAstError(f"the Ray cluster cannot be reached: {first}; see RAY_ADDRESS") from error
    if own and not str(ray.get_runtime_context().gcs_address).startswith(f"{_LOOPBACK}:"):
        ray.shutdown()
        raise ClAstError(
            f"Ray {ray.__version__} would listen to the network; start a cluster yourself and name it in RAY_ADDRESS, "
            "or leave out --engine"
        )
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _close_to_others() -> None:
    """Tell Ray to start its cluster on loopback, and to take work only from who knows its token, a new one each time.

    Ray reads this from the environment when it is imported, and its processes inherit it, so the token is in no file.

    Raises:
        ClAstError: Ray was imported without a token.
    """
    # Else Ray replaces a loopback address by that of the network. On Windows and macOS this is what it does anyway.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if "RAY_AUTH_MODE" in os.environ:  # who starts cl-ast decided it
        return
    if sys.modules.get("ray") is not None:
        raise ClAstError("Ray was imported before it could be told to demand a token; set RAY_AUTH_MODE=token first")
    os.environ["RAY_AUTH_MODE"] = "token"
    if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _refuse_old(version: str) -> None:
    """Raise ClAstError for a release of Ray that runs the code of anybody who reaches it, whatever it is told."""
    if tuple(map(int, version.split(".")[:2])) < _FIRST_WITH_TOKENS:
        raise ClAstError(
            f"Ray {version} runs code of anybody who reaches its ports; pip install --upgrade 'cl-ast[ray]', "
            "or leave out --engine"
        )
