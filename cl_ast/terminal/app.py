"""The global options, as every command gets them, and what a command opens with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cl_ast.cluster.predicting import Cluster
    from cl_ast.manager import Manager
    from cl_ast.terminal.rendering.progress import ProgressDisplay
    from cl_ast.training.distributed import Group
    from registry import Registry


@dataclass(frozen=True)
class App:
    """The global options.

    Attributes:
        location: the registry's folder or URL.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
    """

    location: str
    device: str
    quiet: bool
    verbose: bool

    def manager(
        self,
        backbone: str | None = None,
        router: str | None = None,
        group: Group | None = None,
        *,
        create: bool = False,
    ) -> Manager:
        """Open the registry with its backbone. Only with `create` is one made where there is none."""
        from cl_ast.manager import Manager
        from cl_ast.training.distributed import ALONE

        group = group or ALONE
        return Manager.open(
            self.location, backbone=backbone, device=self.device, router=router, group=group, create=create
        )

    def cluster(self, backbone: str | None, workers: int | None) -> Cluster:
        """Start or join a Ray cluster that answers with the registry."""
        from cl_ast.cluster.predicting import Cluster, Place

        return Cluster(Place(self.location, backbone, self.device, Path.cwd()), workers)

    def registry(self) -> Registry:
        """Open the registry without a backbone. It is never made: at a misspelt place that would say all is well."""
        from registry import Registry

        return Registry.open(self.location, create=False)

    def progress(self, *, shown: bool = True, lines: bool = True) -> ProgressDisplay:
        """Return what shows progress on standard error.

        Args:
            lines: whether there are lines where standard error is no terminal, which has bars.
        """
        from cl_ast.terminal.rendering.progress import ProgressDisplay

        return ProgressDisplay(quiet=self.quiet or not shown, lines=lines)


pass_app = click.make_pass_decorator(App)
"""Give a command the `App` as its first argument."""
