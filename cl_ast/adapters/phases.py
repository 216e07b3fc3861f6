"""What some methods do to their adapter between the steps of a training: give parts of it up, or train it twice."""

import torch

from cl_ast.adapters.adapter import Adapter
from cl_ast.adapters.forms import Allocated, Rewound


def is_trained_twice(adapter: Adapter) -> bool:
    """Return whether `rewind` is called in the middle of the adapter's training."""
    return any(isinstance(placement.form, Rewound) for placement in adapter.spec.placements)


def rewind(adapter: Adapter) -> None:
    """Take an adapter back to its start, and train only the numbers that have changed most from now on (`Rewound`)."""
    places = [(one.form, p) for one, p in adapter.places() if isinstance(one.form, Rewound)]
    with torch.no_grad():
        changes = [form.changes(p) for form, p in places]
        chosen = torch.split(places[0][0].most(torch.cat(changes)), [len(one) for one in changes])
        for (form, p), mine in zip(places, chosen, strict=True):
            form.rewind(p, mine)


def gives_up_parts(adapter: Adapter) -> bool:
    """Return whether `after_step` does anything, for which it reads the gradients."""
    return any(isinstance(placement.form, Allocated) for placement in adapter.spec.placements)


def after_step(adapter: Adapter, step: int, total: int) -> None:
    """Give up the parts that matter least, as the schedule of the form says (`Allocated`); gradients are still there.

    Args:
        step: how many steps of the training were taken, of `total`.
    """
    if not gives_up_parts(adapter):
        return
    places = [(one.form, p) for one, p in adapter.places() if isinstance(one.form, Allocated)]
    with torch.no_grad():
        first, _ = places[0]
        if first.is_settled(step - 1, total):  # what was given up stays so, whatever the optimiser makes of it
            for form, p in places:
                form.keep(p, p["mask"])
            return
        if not first.is_settled(step, total):
            for form, p in places:
                form.observe(p)
        count = first.parts_after(step, total, len(places))
        if count is None:
            return
        scores = [form.importance(p) for form, p in places]
        given_up = sum(len(one) for one in scores) - count
        if not given_up:
            return
        limit = torch.cat(scores).kthvalue(given_up).values
        for (form, p), score in zip(places, scores, strict=True):
            form.keep(p, (score > limit).float())


def is_settled(adapter: Adapter, step: int, total: int) -> bool:
    """Return whether all has been given up after so many steps, so that the weights may be kept."""
    forms = [placement.form for placement in adapter.spec.placements]
    return all(form.is_settled(step, total) for form in forms if isinstance(form, Allocated))
