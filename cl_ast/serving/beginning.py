"""What comes before the first row of a clip: its route, and the versions of the tasks that may answer it."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from cl_ast.errors import TaskNotFoundError
from cl_ast.inference.joining import cut_of
from cl_ast.inference.session import Session
from cl_ast.router import Route, Router
from cl_ast.serving.error_refusals import refusal_of
from cl_ast.serving.refusals import Refusal
from cl_ast.serving.work import Candidate, Work
from cl_ast.tasks.task_model import TaskModel
from cl_ast.wording import first_line
from registry import VersionRecord
from registry.names import key

Choices = list[list[Route]]
"""Of each clip of a work, the routes that are considered: the nearest, and perhaps its runner-up."""


class Beginning:
    """Routes clips and finds the models that answer them, as the registry has them now. For the engine's thread."""

    def __init__(
        self,
        session: Session,
        pinned: Sequence[str],
        log: Callable[[str], None],
        fail: Callable[[Work, Exception], None],
    ) -> None:
        """
        Args:
            pinned: names of tasks that stay in memory.
            log: takes a line about what no client is told.
            fail: answers a work with an error.
        """
        self._session = session
        self._log = log
        self._fail = fail
        self._names = {key(name) for name in pinned}
        self._pinned: dict[str, tuple[str, TaskModel]] = {}  # the file's hash and the model, by the key of the name

    def load_pinned(self) -> None:
        """Load the tasks that stay in memory. Raises TaskNotFoundError, CorruptRegistryError."""
        for name, version in self._session.versions(self._names).items():
            self._model(name, version)

    def begin(self, works: Sequence[Work]) -> None:
        """Give each work the tasks that may answer it, or its error; the registry is queried once at most.

        A work whose tasks were all removed in this moment has none afterwards, and can begin again.
        """
        started = time.monotonic()
        for work in works:
            work.queue_seconds = started - work.submitted
        routed = [work for work in works if work.question.routed]
        router, described, choices = self._routed(routed)
        for work in routed:
            work.route_seconds += time.monotonic() - started
        for work in works:
            if not work.question.routed:
                choices[id(work)] = [[Route(work.question.query.task, 1.0, True, ())] for _ in work.clips]
        names = {route.task for each in choices.values() for several in each for route in several}
        versions = self._versions(names)
        for work in works:
            if id(work) not in choices:
                continue
            try:
                candidates = self._candidates(work, choices[id(work)], versions)
                if candidates:
                    work.begin(candidates, router if work.question.routed else None, described.get(id(work)))
            except Exception as error:
                self._fail(work, error)

    def _routed(self, works: Sequence[Work]) -> tuple[Router | None, dict[int, Tensor], dict[int, Choices]]:
        """Return the router, and by the id of each work its described clips (n, d) and their choices."""
        if not works:
            return None, {}, {}
        try:
            router = self._session.routing.router(skip_damaged=True)
            described = self._session.routing.space.describe([part for work in works for part in work.parts])
            choices = iter([[one, one.runner_up] if one.runner_up else [one] for one in router.choose(described)])
        except TaskNotFoundError:
            for work in works:
                work.fail(Refusal("unknown_task", "the router finds no task here; name one instead of auto"))
            return None, {}, {}
        except Exception as error:
            for work in works:
                self._fail(work, error)
            return None, {}, {}
        counts = [len(work.clips) for work in works]
        each = zip(works, torch.split(described, counts), strict=True)
        return (
            router,
            {id(work): rows for work, rows in each},
            {id(work): list(islice(choices, len(work.clips))) for work in works},
        )

    def _versions(self, names: Collection[str]) -> Mapping[str, VersionRecord]:
        """Return the versions that answer now, by name; tasks that are not there are left out."""
        try:
            return self._session.versions(names)
        except TaskNotFoundError:
            found: dict[str, VersionRecord] = {}
            for name in names:
                try:
                    found |= self._session.versions([name])
                except TaskNotFoundError:
                    continue
            return found

    def _candidates(self, work: Work, choices: Choices, versions: Mapping[str, VersionRecord]) -> list[Candidate]:
        """Return the candidates of each clip; none at all where a clip's tasks have just been removed.

        Raises TaskNotFoundError for a task that was named, and Refusal where no task of a clip can be used.
        """
        found = []
        for clip, several in enumerate(choices):
            own, broken = [], None
            for route in several:
                if route.task not in versions:
                    if not work.question.routed:
                        self._session.registry.task(route.task)  # raises, with the names that are there
                    continue
                try:
                    version, model = self._model(route.task, versions[route.task])
                except TaskNotFoundError:
                    if not work.question.routed:
                        raise
                    continue
                except Exception as error:
                    self._log(f"{route.task}: {first_line(error)}")
                    broken = broken or refusal_of(error, route.task)
                    continue
                cut = None if _is_whole(work) else cut_of(work.clips[clip], model.settings.front_end.seconds)
                name = route.task if work.question.routed else version.task  # as the task spells it
                own.append(Candidate(clip, replace(route, task=name), model, version, cut))
            if not own:
                if broken is not None:
                    raise broken
                return []
            found += own
        return found

    def _model(self, name: str, version: VersionRecord) -> tuple[VersionRecord, TaskModel]:
        """Return a model, and the version that it is: a later one where this one has gone in this moment."""
        pinned = self._pinned.get(key(name))
        if pinned and pinned[0] == version.adapter_sha256:
            return version, pinned[1]
        stored = self._session.version(name, version)
        if not self._session.is_cached(version):
            version = self._session.versions([name])[name]
            stored = self._session.version(name, version)
        if key(name) in self._names:
            self._pinned[key(name)] = version.adapter_sha256, stored.model
        return version, stored.model


def _is_whole(work: Work) -> bool:
    """Return whether a clip is classified by its first seconds: asked for, or since it is a window itself."""
    return work.question.query.whole or work.question.query.window is not None
