"""Starts or joins a Ray cluster; one that it starts serves nobody else."""

import os
import secrets
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from cl_ast.errors import ClAstError
from cl_ast.wording import first_line

_LOOPBACK = "127.0.0.1"
_FIRST_WITH_TOKENS = (2, 52)


def imported(device: str, *modules: str) -> Any:
    """Import Ray, and these modules of it. Nothing is started yet.

    Args:
        device: what the workers are to compute on, as `--device` has it.

    Raises:
        ClAstError: Ray is not installed, or cannot keep strangers out, or the device is one that it cannot give.
    """
    if ":" in device:
        raise ClAstError(f"a cluster chooses the GPU of each worker, and not {device}; use --device cuda")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it is imported
    if is_own():
        _close_to_others()
    try:
        import ray

        for module in modules:
            import_module(module)
    except ImportError:
        raise ClAstError("Ray is not installed; pip install 'cl-ast[ray]', or leave out --engine") from None
    _refuse_old(ray.__version__)
    return ray


def start(ray: Any) -> None:
    """Connect Ray to the cluster of RAY_ADDRESS, or to one that it starts on this machine.

    One that it starts listens on loopback only. With RAY_ADDRESS, everything is as Ray's own settings say.

    Raises:
        ClAstError: the cluster cannot be reached.
    """
    own, path = is_own(), _search_path()
    # Without an address Ray would take whatever cluster another user's file in the temporary folder names. Workers of a
    # cluster that is started here inherit the search path. Those of another one must be told, and Ray then starts each
    # of them twice.
    place = {"address": "local", "_node_ip_address": _LOOPBACK}
    told = {"runtime_env": {"env_vars": {"PYTHONPATH": path}}}
    try:
        with warnings.catch_warnings(), _inherited(path):
            warnings.simplefilter("ignore", FutureWarning)  # about settings that are not used here
            ray.init(**(place if own else told), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = first_line(error)
        raise ClAstError(f"the Ray cluster cannot be reached: {first}; see RAY_ADDRESS") from error
    if own and not str(ray.get_runtime_context().gcs_address).startswith(f"{_LOOPBACK}:"):
        ray.shutdown()
        raise ClAstError(
            f"Ray {ray.__version__} would listen to the network; start a cluster yourself and name it in RAY_ADDRESS, "
            "or leave out --engine"
        )


def count(ray: Any, device: str) -> tuple[int, int]:
    """Return how many CPUs a cluster has, and how many GPUs that a worker may use.

    Args:
        device: what the workers are to compute on, as `--device` has it.
    """
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if device in ("auto", "cuda") else 0
    return int(resources.get("CPU", 1)), gpus


def last_line(error: Exception) -> str:
    """Return the last line of an error of Ray, which says what was raised in a worker; its kind if there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def is_own() -> bool:
    """Return whether the cluster is one that is started here."""
    return os.environ.get("RAY_ADDRESS", "") in ("", "local")


def _search_path() -> str:
    """Return the PYTHONPATH that tells a worker on this machine where our packages are.

    Else a folder called `registry` where the worker starts could be taken for ours.
    """
    home = str(Path(__file__).parents[2])
    return os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])


@contextmanager
def _inherited(path: str) -> Iterator[None]:
    """Let the processes that are started in the block have this PYTHONPATH."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = path
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


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
