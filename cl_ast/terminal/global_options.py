"""The options of every command. They may stand before the command or after it; those after it count."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cl_ast.terminal.app import App
from cl_ast.terminal.log_file import open_log

REGISTRY_VARIABLE = "CL_AST_REGISTRY"
VERBOSE = "cl_ast.terminal.verbose"  # in the metadata of click's context, where -v was given after the command
_EPILOG = "Every command takes --registry, --device, --log-file, -q and -v, too: see cl-ast --help."


class Device(click.ParamType[str]):
    """A device by name. Whether it is there is known when it is used."""

    name = "device"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return what the help shows."""
        return "[auto|cpu|cuda|cuda:N|mps]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail as a choice does."""
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", str(value), re.ASCII):
            self.fail(
                f"{value!r} is not one of 'auto', 'cpu', 'cuda', 'cuda:0' (a GPU by its number), 'mps'.", param, ctx
            )
        return str(value)


def with_global_options(command: click.Command) -> click.Command:
    """Let a command take the global options, too. Its help names them in one line."""
    for flags, name, kind in (
        (["--registry"], "location", click.STRING),
        (["--device"], "device", Device()),
        (["--log-file"], "log_file", click.Path(path_type=Path)),
        (["-q", "--quiet"], "quiet", None),
        (["-v", "--verbose"], "verbose", None),
    ):
        command.params.append(
            click.Option(
                [*flags, name],
                type=kind,
                is_flag=kind is None,
                default=False if kind is None else None,
                hidden=True,
                expose_value=False,
                callback=_override,
            )
        )
    command.epilog = _EPILOG
    return command


def _override(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Put the value of an option that was given into the `App` that the command gets."""
    app = ctx.find_object(App)
    if not value or app is None:  # none while a shell completes the line
        return
    if param.name == "log_file":
        open_log(ctx, value)
        return
    if param.name == "verbose":
        ctx.meta[VERBOSE] = True
    ctx.obj = replace(app, **{str(param.name): value})
