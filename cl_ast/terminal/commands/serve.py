"""`cl-ast serve`"""

from __future__ import annotations

import re
from pathlib import Path

import click

from cl_ast.errors import ClAstError
from cl_ast.terminal.app import App, pass_app
from cl_ast.terminal.output import print_line, warn
from cl_ast.wording import plural

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SHORTEST_KEY = 16


class _Size(click.ParamType[int]):
    """A number of bytes, such as 100MB."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,9})\s*([KMG]?B?)", str(value).upper())
        if match is None or not int(match[1]) or (match[2] and not match[2].endswith("B")):
            self.fail(f"{value!r} is no size; write 500KB, 100MB or 2GB", param, ctx)
        return int(match[1]) * _UNITS["" if match[2] == "B" else match[2]]


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; any but this machine's needs a key.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8321, show_default=True, help="0 takes a free one.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    metavar="F",
    help="A file with a key a line; one of them must come with each request.",
)
@click.option("--queue", type=click.IntRange(1), default=256, show_default=True, help="Requests that may wait.")
@click.option("--timeout", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Seconds for an answer.")
@click.option("--max-upload", type=_Size(), default="100MB", show_default=True, help="Size of a request.")
@click.option(
    "--max-seconds", type=click.FloatRange(1), default=3600.0, show_default=True, help="Sound in a recording."
)
@click.option(
    "--drain", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to finish at the end."
)
@click.option("--pin", multiple=True, metavar="TASK", help="A task that stays in memory; several times for several.")
@click.option("--allow-changes", is_flag=True, help="Let clients train, import and remove tasks.")
@click.option("--no-page", is_flag=True, help="Answer programs only: no page for people at /.")
@click.option("--backbone", metavar="B", help="Where the registry's backbone lies now, if it has moved.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray serves with a Ray cluster whose nodes all reach the registry (extra: ray).",
)
@click.option("--replicas", type=click.IntRange(1), help="Of the cluster, a CPU or GPU each. [default: 1]")
@pass_app
def serve(
    app: App,
    /,
    host: str,
    port: int,
    api_key_file: Path | None,
    queue: int,
    timeout: float,
    max_upload: int,
    max_seconds: float,
    drain: float,
    pin: tuple[str, ...],
    allow_changes: bool,
    no_page: bool,
    backbone: str | None,
    engine: str,
    replicas: int | None,
) -> None:
    """Serve the tasks of the registry over HTTP (extra: serve).

    Prints its address when it is ready. SIGTERM or Ctrl-C lets it answer what it has accepted, and end; a second one
    ends it at once. docs/serving.md describes the endpoints.

    \b
    cl-ast serve
    curl --data-binary @clip.wav 'http://127.0.0.1:8321/v1/classify?task=auto'
    cl-ast serve --host 0.0.0.0 --api-key-file keys.txt
    """
    if replicas is not None and engine == "local":
        raise click.UsageError("--replicas needs --engine ray")
    try:
        from cl_ast.serving.server import serve as run
        from cl_ast.serving.settings import Settings
    except ModuleNotFoundError as missing:
        raise ClAstError(f"serving needs {missing.name}: pip install 'cl-ast[serve]'") from missing
    keys = () if api_key_file is None else _keys(api_key_file)
    settings = Settings(
        host, port, keys, queue, timeout, max_upload, max_seconds, drain, pin, allow_changes, not no_page, app.location
    )
    with app.manager(backbone) as manager:
        tasks = plural(len(manager.tasks()), "task")

        def say(address: str) -> None:
            print_line(f"serving {tasks} at {address}")

        if engine == "local":
            run(manager, settings, say, warn)
            return
        from cl_ast.serving import replicas as cluster

        for task in pin:
            manager.registry.task(task)  # Said here, and not in the log of a replica.
        cluster.serve(app.place(backbone), settings, replicas or 1, say)


def _keys(path: Path) -> tuple[str, ...]:
    """Return the keys in a file. Raises ClAstError where it cannot be read, or a key is too short to be one."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ClAstError(
            f"{path}: the keys cannot be read ({getattr(error, 'strerror', None) or error}); give --api-key-file a "
            "text file with a key a line"
        ) from None
    if not lines or min(map(len, lines)) < _SHORTEST_KEY:
        raise ClAstError(
            f"{path}: needs a key a line of at least {_SHORTEST_KEY} characters; `openssl rand -hex 32` makes one"
        )
    return tuple(lines)
