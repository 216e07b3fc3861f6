"""Processes that start at once: forks of one that has imported torch and transformers, which takes seconds.

Of a process that the system starts they differ in nothing that the tests which use them are about: they have streams,
signals, limits, rights and an end of their own.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

PATIENCE = 120.0  # seconds
# What most commands import sooner or later. What cannot be imported is left out.
_READY = [
    "cli",
    "cl_ast.manager",
    "cl_ast.continual.add_task",
    "cl_ast.terminal.commands.add_task",
    "cl_ast.terminal.rendering.progress",
    "cl_ast.terminal.rendering.tables",
    "cl_ast.terminal.rendering.task_page",
    "cl_ast.terminal.rendering.results",
    "cl_ast.terminal.rendering.stats_tables",
    "cl_ast.audio.decoding",
    "cl_ast.serving.server",
    "pydantic.v1",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "registry.models",
    "registry.sqlite_database",
    "transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer",
    "transformers.models.audio_spectrogram_transformer.feature_extraction_audio_spectrogram_transformer",
    "tests.cli.ready",
]
_FORKING = get_context("forkserver") if sys.platform != "win32" else None
if _FORKING is not None:
    _FORKING.set_forkserver_preload(_READY)


class Forked:
    """The command line in a process of its own, which is used as a `subprocess.Popen` is.

    Args:
        words: what follows `cl-ast`; a path may be bytes that are no text.
        first: Python code that the process runs before the command.
        cwd: its working directory.
        env: its environment, by default that of this process.
        stdin, stdout, stderr: file descriptors that it gets; without one, nothing to read, and a pipe to write to.
    """

    def __init__(
        self,
        *words: object,
        first: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] = os.environ,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        assert _FORKING is not None
        its_in = Connection(os.open(os.devnull, os.O_RDONLY) if stdin is None else os.dup(stdin))
        out, its_out = _pipe(stdout)
        err, its_err = _pipe(stderr)
        streams = (its_in, its_out, its_err)
        texts = [os.fsdecode(word) if isinstance(word, bytes) else str(word) for word in words]
        settings = (texts, first, str(cwd or Path.cwd()), dict(env))
        self._process = _FORKING.Process(target=_run, args=(streams, *settings))
        self._process.start()
        for stream in streams:
            stream.close()
        self.args = words
        self.pid = self._process.pid or 0
        self.stdout = None if out is None else os.fdopen(out, encoding="utf-8", errors="surrogateescape")
        self.stderr = None if err is None else os.fdopen(err, encoding="utf-8", errors="surrogateescape")

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.args), timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """Wait for its end; return what is left of its standard output and error."""
        with ThreadPoolExecutor(2) as pool:
            texts = [pool.submit(_rest, stream) for stream in (self.stdout, self.stderr)]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return texts[0].result(), texts[1].result()


def _rest(stream: IO[str] | None) -> str:
    if stream is None:
        return ""
    with stream:
        return stream.read()


def _pipe(given: int | None) -> "tuple[int | None, Connection[Any, Any]]":
    """Return the end to read from, if there is one, and the end that the process gets."""
    if given is not None:
        return None, Connection(os.dup(given), readable=False)
    ours, its = os.pipe()
    return ours, Connection(its, readable=False)


def _run(
    streams: "tuple[Connection[Any, Any], ...]", words: list[str], first: str, cwd: str, env: dict[str, str]
) -> None:
    """Be that process: this runs in the fork."""
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None  # which a library may have asked for when it was imported, under another TMPDIR
    encoding, _, errors = env.get("PYTHONIOENCODING", "utf-8").partition(":")
    sys.stdin = os.fdopen(0, encoding=encoding, errors=errors or "strict", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, errors=errors or "strict", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)
    sys.argv = ["-c", *words]
    exec(first, {"sys": sys})
    import cli

    cli.main(prog_name="cl-ast")
