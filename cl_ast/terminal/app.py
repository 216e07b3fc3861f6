"""The global options, as every command gets them, and what a command opens with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cl_ast.cluster.predicting import Cluster, Place
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
        precision: str | None = None,
        create: bool = False,
    ) -> Manager:
        """Open the registry with its backbone. Only with `create` is one made where there is none.

        Raises RegistryError where it has another backbone, precision of the backbone, or router than these.
        """
        from cl_ast.manager import Manager
        from cl_ast.training.distributed import ALONE

        group = group or ALONE
        return _checked(
            Manager.open(
                self.location,
                backbone=backbone,
                backbone_precision=precision,
                device=self.device,
                router=router,
                group=group,
                create=create,
            )
        )

    def manager_if_there(
        self, backbone: str | None, router: str | None, group: Group, *, precision: str | None = None
    ) -> Manager | None:
        """Open the registry as `manager` does; return None where there is none. All processes agree on that."""
        from cl_ast.errors import RegistryNotFoundError
        from cl_ast.manager import Manager
        from registry import Registry

        with group.main_first():
            try:
                registry = Registry.open(self.location, create=False)
            except RegistryNotFoundError:
                return None
        manager = Manager(
            registry,
            backbone=backbone,
            backbone_precision=precision,
            device=self.device,
            router=router,
            group=group,
        )
        return _checked(manager)

    def cluster(self, backbone: str | None, workers: int | None) -> Cluster:
        """Start or join a Ray cluster that answers with the registry."""
        from cl_ast.cluster.predicting import Cluster

        return Cluster(self.place(backbone), workers)

    def place(self, backbone: str | None) -> Place:
        """Return what the processes of a Ray cluster open."""
        from cl_ast.cluster.predicting import Place

        return Place(self.location, backbone, self.device, Path.cwd())

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


def _checked(manager: Manager) -> Manager:
    """Return the manager. Raise RegistryError at once where another backbone or router was chosen than it has."""
    try:
        manager.session.refuse_other_choices()
    except BaseException:
        manager.close()
        raise
    return manager


pass_app = click.make_pass_decorator(App)
"""Give a command the `App` as its first argument."""
