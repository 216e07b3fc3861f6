"""Returns the numbers of a report as flat records, one a number, for the `results.csv` beside it."""

from collections.abc import Iterator
from typing import Any

from cl_ast.reporting.calibration import calibration_error, reliability
from cl_ast.reporting.findings import Findings
from cl_ast.reporting.over_time import moments

COLUMNS = ("metric", "mode", "after", "task", "label", "value", "n")
_MODES = {"oracle": "by_name", "auto": "routed"}


def rows(findings: Findings) -> list[dict[str, Any]]:
    """Return one record for each number.

    `metric` says what it is, `mode` is "by_name" or "routed", `after` the task that was learned last, `task` and
    `label` what it is about, `value` the number and `n` the clips that it comes from. What does not apply is empty, and
    what was not measured has no record. Accuracies are fractions in [0, 1].
    """
    return [*_stream(findings), *_routing(findings), *_measured(findings), *_tags(findings), *_costs(findings)]


def _row(metric: str, value: float, n: int | None = None, **about: str) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS, ""), "metric": metric, "value": value, "n": "" if n is None else n, **about}


def _stream(findings: Findings) -> Iterator[dict[str, Any]]:
    stats = findings.stats
    names = [task["name"] for task in stats["tasks"]]
    for mode, matrix in stats["matrix"].items():
        for after, values in zip(names, matrix, strict=True):
            for task, value in zip(stats["tasks"], values, strict=True):
                if value is not None:
                    about = {"mode": _MODES[mode], "after": after, "task": task["name"]}
                    yield _row(task["metric"], value, task["test_clips"], **about)
    for moment in moments(stats):
        for metric, values_of in (
            ("average_accuracy", moment.average),
            ("forgetting", moment.forgetting),
            ("backward_transfer", moment.backward),
            ("chance", moment.chance),
        ):
            for mode, value in values_of.items():
                if value is not None:
                    yield _row(metric, value, mode=_MODES[mode], after=moment.after)
    for mode, one in findings.joint.items():
        yield _row("joint_accuracy", one.mean, mode=_MODES[mode], after=names[-1])


def _routing(findings: Findings) -> Iterator[dict[str, Any]]:
    """Yield how many clips of each task were sent to which, whose name is the label, and the shares of unknown."""
    names = [task["name"] for task in findings.stats["tasks"]]
    for task, counts in zip(names, findings.stats["routing"]["confusion"], strict=True):
        for to, count in zip(names, counts, strict=True):
            if count:
                yield _row("routed_clips", count, sum(counts), task=task, label=to)
    for one in findings.unknown:
        metric, about = ("unknown_left_out", "task") if one.left_out else ("unknown", "label")
        if one.unknown.accuracy is not None:
            yield _row(metric, one.unknown.accuracy, one.unknown.clips, **{about: one.what})


def _measured(findings: Findings) -> Iterator[dict[str, Any]]:
    for one in findings.details:
        task, outcomes = one.measured.task, one.measured.outcomes
        for label, share in one.classes.items():
            if share.accuracy is not None:
                yield _row("recall", share.accuracy, share.clips, mode="by_name", task=task, label=label)
        error = calibration_error(reliability(outcomes))
        if error is not None:
            yield _row("expected_calibration_error", error, len(outcomes), mode="by_name", task=task)


def _tags(findings: Findings) -> Iterator[dict[str, Any]]:
    for one in findings.tags:
        task, clips = one.measured.task, one.measured.clips
        for label, share in one.classes.items():
            if share.average_precision is not None:
                value = share.average_precision
                yield _row("average_precision", value, share.clips, mode="by_name", task=task, label=label)
        yield _row("chance_mAP", one.chance, clips, mode="by_name", task=task)
        if (lwlrap := one.measured.lwlrap) is not None:
            yield _row("lwlrap", lwlrap, clips, mode="by_name", task=task)


def _costs(findings: Findings) -> Iterator[dict[str, Any]]:
    for task in findings.stats["tasks"]:
        for metric in ("bytes", "seconds", "trainable_parameters"):
            yield _row(metric, task[metric], task=task["name"])
    yield _row("adapter_bytes", findings.stats["storage"]["adapter_bytes"])
    yield _row("full_copies_bytes", findings.stats["storage"]["full_copies_bytes"])
    if findings.loading is not None:
        yield _row("load_task_seconds", findings.loading.task)
        yield _row("load_full_copy_seconds", findings.loading.full_copy)
