"""The same tasks behind LitServe, for benchmarks/serve.py to compare with.

    python -m benchmarks.litserve_app REGISTRY PORT ROWS

LitServe collects a batch of any tasks, whose rows each run under their own model: only those of one task share a pass.
"""

import base64
import sys
from collections import defaultdict
from typing import Any

import litserve

from cl_ast.audio.reading import Waveform, read
from cl_ast.inference.answering import logits_of
from cl_ast.manager import Manager
from cl_ast.tasks.task_model import TaskModel, label_scores

_WAIT = 0.005  # seconds that a batch is waited for


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """Classifies clips by name. Each method is called by LitServe, in the process that has the models."""

    def __init__(self, registry: str, rows: int) -> None:
        """
        Args:
            rows: how many requests a batch has at most; 1 for no batches.
        """
        super().__init__(max_batch_size=rows, batch_timeout=_WAIT if rows > 1 else 0.0)
        self._registry = registry
        self._rows = rows
        self._models: dict[str, TaskModel] = {}

    def setup(self, device: str) -> None:
        """Load the backbone and all tasks."""
        manager = Manager.open(self._registry, device="cpu", create=False)
        self._models = {task.name: manager.session.model(task.name) for task in manager.tasks()}

    def decode_request(self, request: dict[str, str]) -> tuple[str, Waveform]:
        """Return the task and the clip of a request."""
        return request["task"], read(base64.b64decode(request["audio"]))

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Return the requests as they are."""
        return inputs

    def predict(self, x: Any) -> Any:
        """Return the labels of a batch, or of one request where there are no batches."""
        return _answers(self._models, x) if self._rows > 1 else _answers(self._models, [x])[0]

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Return the answers as they are."""
        return output

    def encode_response(self, output: list[tuple[str, float]]) -> dict[str, Any]:
        """Return an answer for JSON."""
        return {"labels": [{"label": label, "score": score} for label, score in output]}


def _answers(models: dict[str, TaskModel], batch: list[tuple[str, Waveform]]) -> list[list[tuple[str, float]]]:
    """Return the labels of each clip under the task beside it."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (task, _) in enumerate(batch):
        places[task].append(place)
    found: dict[int, list[tuple[str, float]]] = {}
    for task, own in places.items():
        settings = models[task].settings
        logits = logits_of(models[task], [batch[place][1] for place in own])
        found |= zip(own, label_scores(logits, settings, 5), strict=True)
    return [found[place] for place in range(len(batch))]


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(sys.argv[1], int(sys.argv[3])), "cpu")
    server.run("127.0.0.1", int(sys.argv[2]), generate_client_file=False, log_level="error", pretty_logs=False)
