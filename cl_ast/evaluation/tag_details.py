"""Explains the mAP of a task of tags: by tag, with what its threshold finds, and which clips went elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from cl_ast.evaluation.accuracy import Measured, is_routed_to, ranked
from cl_ast.evaluation.details import Misrouted, misrouted_in, route_columns, to_json
from cl_ast.excerpts import record
from cl_ast.tasks.tag_metrics import average_precisions


@dataclass(frozen=True, slots=True)
class TagShare:
    """How well one tag is found.

    Attributes:
        clips: how many have the tag.
        chance: the average precision of chance, which is their share of all clips.
        average_precision: None for no clip.
        found: how many of them are said to have the tag, since its probability reaches its threshold.
        wrong: how many of the other clips are.
    """

    clips: int
    chance: float
    average_precision: float | None
    found: int
    wrong: int


@dataclass(frozen=True)
class TagDetails:
    """What is behind a task's mAP. Everything is computed from the outcomes of its clips."""

    measured: Measured

    @cached_property
    def classes(self) -> Mapping[str, TagShare]:
        """How well each tag is found, in the order of the head's outputs."""
        outcomes, labels = self.measured.outcomes, self.measured.labels
        scores, truth = ranked(outcomes, labels)
        precisions = average_precisions(scores, truth).tolist()
        found = {}
        for place, label in enumerate(labels):
            said = [label in one.said for one in outcomes]
            true = truth[:, place].tolist()
            hits = sum(a and b for a, b in zip(said, true, strict=True))
            share = sum(true)
            precision = precisions[place] if share else None
            found[label] = TagShare(share, share / len(outcomes), precision, hits, sum(said) - hits)
        return found

    @property
    def chance(self) -> float:
        """The mAP of chance: the mean of the tags' shares of the clips."""
        known = [one.chance for one in self.classes.values() if one.clips]
        return sum(known) / len(known) if known else 0.0

    @property
    def misrouted(self) -> Sequence[Misrouted]:
        """Every clip that was sent to another task or called unknown, the best fit for a wrong task first."""
        return misrouted_in(self.measured)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON types, whose numbers are finite."""
        return {
            "chance": self.chance,
            "classes": [{"label": label, **asdict(share)} for label, share in self.classes.items()],
            "labels": list(self.measured.labels),
            "misrouted": [to_json(one) for one in self.misrouted],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat record for each clip, as the CSV of `cl-ast evaluate --details` has it."""
        return [
            {
                "task": self.measured.task,
                **record(one.clip.place),
                "label": one.label,
                "predicted": ";".join(one.said),
                "probability": one.probability,
                "right": set(one.said) == set(one.clip.labels),
                **route_columns(one),
                "routed_right": None if one.route is None else is_routed_to(one, self.measured.task),
            }
            for one in self.measured.outcomes
        ]
