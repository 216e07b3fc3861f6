"""How well each task answers, with the task given and with the task routed, in one pass over its test clips."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cl_ast.audio.cache import DecodedClips
from cl_ast.audio.reading import Waveform
from cl_ast.backbone.device import precision
from cl_ast.batching import chunks
from cl_ast.progress import Progress, Step, silent
from cl_ast.router import Route, Router, RouterSpace
from cl_ast.tasks.task_model import TaskModel
from streams import Clip

_CHUNK = 32


@dataclass(frozen=True, slots=True)
class Measured:
    """One task's test accuracy.

    Attributes:
        oracle: the task given.
        auto: task and label right, the task chosen by the router; None where it was not asked.
        routed: how many clips the router sent to each task.
        declined: how many it called unknown, though they are counted where they were nearest.
    """

    task: str
    clips: int
    oracle: float
    auto: float | None = None
    routed: Mapping[str, int] | None = None
    declined: int = 0


def logits_of(model: TaskModel, clips: Sequence[Waveform]) -> Tensor:
    """Waveforms to one task's logits (n, classes), float32 on the CPU."""
    device = model.backbone.device
    out = []
    with torch.inference_mode(), precision(device):
        for part in chunks(len(clips), _CHUNK):
            features = model.settings.front_end([clips[index] for index in part], device)
            out.append(model.logits(features).float().cpu())
    return torch.cat(out) if out else torch.zeros(0, len(model.settings.labels))


def measure(
    name: str,
    clips: Sequence[Clip],
    model_of: Callable[[str], TaskModel],
    router: Router | None = None,
    space: RouterSpace | None = None,
    progress: Progress = silent,
    hearing: DecodedClips | None = None,
) -> Measured:
    """Test one task. Each clip is read once; only clips that were routed right can be right in `auto`.

    Args:
        hearing: remembers the clips for the next time.

    Raises:
        AudioError: a clip cannot be read.
    """
    hearing = hearing or DecodedClips(0)
    model = model_of(name)
    index = {label: position for position, label in enumerate(model.settings.labels)}
    right = right_and_routed = declined = 0
    routed: Counter[str] = Counter()
    for part in chunks(len(clips), _CHUNK * 2):
        paths = [clips[i].path for i in part]
        waveforms = hearing.read(paths)
        truth = torch.tensor([index.get(clips[i].label, -1) for i in part])
        correct = logits_of(model, waveforms).argmax(dim=1) == truth
        right += int(correct.sum())
        if router is not None and space is not None:
            routes = router.choose(hearing.describe(space, paths, waveforms))
            routes = _settled(waveforms, routes, model_of, router)
            routed.update(route.task for route in routes)
            declined += sum(not route.known for route in routes)
            right_and_routed += sum(bool(ok) and route.task == name for ok, route in zip(correct, routes, strict=True))
        progress(Step(f"measuring {name}", part.stop, len(clips)))
    if router is None:
        return Measured(name, len(clips), right / len(clips))
    return Measured(name, len(clips), right / len(clips), right_and_routed / len(clips), dict(routed), declined)


def _settled(
    waveforms: Sequence[Waveform], routes: Sequence[Route], model_of: Callable[[str], TaskModel], router: Router
) -> list[Route]:
    """Where two tasks are nearly as near, the one whose head is more_confident; the other clips are not asked."""
    settled = list(routes)
    for row, route in enumerate(routes):
        if route.runner_up:
            first, second = (logits_of(model_of(one.task), [waveforms[row]])[0] for one in (route, route.runner_up))
            settled[row] = router.more_confident(route, first, second)
    return settled
