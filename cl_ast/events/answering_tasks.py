"""The tasks that score windows: which they are, in which versions, and which of them were left out."""

import warnings

from cl_ast.errors import ClAstError, TaskNotFoundError
from cl_ast.events.event import ALL, EventSettings
from cl_ast.inference.predicting import choice_of
from cl_ast.inference.prediction import Query
from cl_ast.inference.session import Session
from cl_ast.progress import ClAstWarning
from cl_ast.router import Route, Router
from cl_ast.tasks.task_model import TaskModel


class AnsweringTasks:
    """Tasks in the versions that they had when this was made. One that cannot answer can be left out.

    Attributes:
        names: the tasks that answer.
        versions: by name, also of those that were left out.
        router: chooses the task of each window; None where tasks are named.
        left_out: tasks that do not answer, since their files cannot be used.
    """

    def __init__(self, session: Session, settings: EventSettings, *, skip_damaged: bool) -> None:
        """
        Args:
            skip_damaged: as in `WindowScorer`.

        Raises:
            TaskNotFoundError: there is no such task, or none at all.
        """
        self._session = session
        self._skip_damaged = skip_damaged
        query = Query(task=settings.task, alpha=settings.alpha)
        choice = None if settings.task == ALL else choice_of(session, query, skip_damaged=skip_damaged)
        self.router = choice if isinstance(choice, Router) else None
        self.names = [choice.task] if isinstance(choice, Route) else [one.name for one in session.registry.tasks()]
        if not self.names:
            raise TaskNotFoundError("the registry holds no task yet; teach it one with `cl-ast add-task`")
        self.versions = session.versions(self.names)
        self.left_out: list[str] = []

    def model(self, name: str) -> TaskModel:
        """Return a task. Raises CorruptRegistryError where its file cannot be used."""
        return self._session.version(name, self.versions[name]).model

    def usable(self, name: str) -> TaskModel | None:
        """Return a task; None after it was left out."""
        try:
            return self.model(name)
        except ClAstError as error:
            self.leave_out(name, error)
            return None

    def leave_out(self, name: str, error: ClAstError) -> None:
        """Go on without a task that cannot answer. Raises its error where nothing may be left out, or no other is."""
        if name in self.left_out:
            return
        others = [one for one in self.names if one != name]
        router = None if self.router is None else self.router.without(name)
        if not self._skip_damaged or not others or (router is None and self.router is not None):
            raise error
        self.names, self.router = others, router
        self.left_out.append(name)
        warnings.warn(f"{error}; {name} is left out", ClAstWarning, stacklevel=2)

    def shortest(self) -> float:
        """Return the shortest length that a task takes, in seconds, after leaving out those that do not say."""
        found = []
        for name in self.names:
            try:
                found.append(self._session.takes(name, self.versions[name]))
            except ClAstError as error:
                self.leave_out(name, error)
        return min(found)
