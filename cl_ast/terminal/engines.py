"""The options that let a Ray cluster do the work of a command."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cl_ast.cluster.pool import Pool
    from cl_ast.terminal.app import App


def engine_options(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--engine` and `--workers`. The command gets them as `engine` and `workers`.

    Args:
        help: what the workers of a cluster do.
    """

    def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--workers",
            type=click.IntRange(1),
            callback=_needs_cluster,
            help="Of the cluster, at most. [default: one a GPU, or what the CPUs have room for]",
        )(command)
        return click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            is_eager=True,  # so that it is known when --workers is checked
            help=help,
        )(command)

    return with_options


def _needs_cluster(ctx: click.Context, _: click.Parameter, workers: int | None) -> int | None:
    if workers is not None and ctx.params.get("engine") == "local":
        raise click.UsageError("--workers needs --engine ray")
    return workers


def pool_of(app: App, engine: str, workers: int | None) -> AbstractContextManager[Pool | None]:
    """Return the workers of a Ray cluster that train for a command, as a context; None without a cluster.

    Raises:
        ClAstError: Ray is not installed.
        click.UsageError: a launcher started several of this process.
    """
    if engine == "local":
        return nullcontext()
    from cl_ast.cluster.pool import Pool
    from cl_ast.training.distributed import is_launched

    if is_launched():
        raise click.UsageError("a cluster has workers of its own: leave out --engine, or the launcher")
    return Pool(app.device, workers)
