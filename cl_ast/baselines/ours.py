"""Ours: each step is a task of its own in a registry, answered by name, or routed and then labelled."""

import warnings
from collections.abc import Sequence

import streams
from cl_ast.adapters.spec import MethodSpec
from cl_ast.baselines.learner import Cost
from cl_ast.baselines.scenarios import Step
from cl_ast.continual.add_task import add_task
from cl_ast.continual.planning import Request
from cl_ast.errors import TrainingError
from cl_ast.evaluation.accuracy import Outcome, measure
from cl_ast.inference.session import Session
from cl_ast.progress import ClAstWarning, Progress, silent
from cl_ast.router import Router
from cl_ast.training.options import Hyperparameters


class Ours:
    """Adds each step to a registry, as `cl-ast stream` does. Tasks that are there are removed first."""

    answers = ("by name", "routed")

    def __init__(
        self,
        session: Session,
        method: MethodSpec,
        options: Hyperparameters,
        pooling: str,
        *,
        same_labels: bool,
        progress: Progress = silent,
    ) -> None:
        """
        Args:
            same_labels: whether a label means the same in every step. A routed answer is right if its label is; else
                the clip must also have gone to its own step.
        """
        self._session = session
        self._request = Request(method=method, options=options, pooling=pooling, evaluate=False)
        self._same_labels = same_labels
        self._progress = progress
        self._router: Router | None = None
        for record in session.registry.tasks():
            session.registry.remove(record.name)

    def learn(self, step: Step) -> None:
        with warnings.catch_warnings():
            # Each run would repeat what is to be said of the clips.
            warnings.simplefilter("ignore", ClAstWarning)
            add_task(self._session, step.task, self._request, progress=self._progress)
        name = step.task.name
        if name not in self._session.routing.tasks():
            raise TrainingError(f"the routing of {name} could not be learned; `cl-ast add-task` says why")
        self._router = self._session.routing.router()

    def accuracies(self, step: Step, split: str) -> tuple[float, ...]:
        clips: Sequence[streams.Clip] = getattr(step.task, split)
        measured = measure(self._session, step.task.name, clips, self._router, self._progress)
        routed = sum(self._is_right(one, step.task.name) for one in measured.outcomes)
        return measured.oracle, routed / len(clips)

    def probe(self, step: Step) -> float | None:
        return None  # Every task starts from the plain backbone.

    def cost(self) -> Cost:
        versions = [record.version for record in self._session.registry.tasks()]
        trained = sum(
            tensor.numel() for version in versions for tensor in self._session.model(version.task).trainable()
        )
        return Cost(trained, sum(version.adapter_bytes for version in versions), 0)

    def _is_right(self, outcome: Outcome, name: str) -> bool:
        if outcome.route is None or outcome.routed_label != outcome.label:
            return False
        return self._same_labels or outcome.route.task == name
