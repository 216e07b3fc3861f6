"""Measurements, and the matrix and the confusion that are read from them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from places import Place, confusion, matrix

from cl_ast.errors import RegistryError, TaskNotFoundError
from registry import Accuracy, Mode, NewVersion, Outdated, Registry

Make = Callable[..., bytes]
New = Callable[..., NewVersion]


@pytest.fixture
def learn(reg: Registry, adapter: Make, new: New) -> Callable[..., None]:
    """Commits a task with the oracle accuracy of each task given."""

    def commit(name: str, *, replace: bool = False, **accuracies: float) -> None:
        measured = [Accuracy(task, "oracle", value, 10) for task, value in accuracies.items()]
        reg.commit(name, adapter(), new(), measured, replace=replace)

    return commit


@pytest.mark.slow
def test_rows_are_moments_and_columns_are_tasks(place: Place, reg: Registry, learn: Callable[..., None]) -> None:
    learn("a", a=0.9)
    learn("b", a=0.8, b=0.7)
    learn("c", a=0.7, b=0.6, c=0.5)
    assert matrix(reg) == [[0.9, None, None], [0.8, 0.7, None], [0.7, 0.6, 0.5]]
    assert matrix(reg, "auto") == [[None] * 3] * 3
    assert place.measured() == [("a", 1), ("b", 2), ("c", 3)]


@pytest.mark.slow
def test_measuring_again_adds_to_the_last_row(place: Place, reg: Registry, learn: Callable[..., None]) -> None:
    learn("a", a=0.9)
    learn("b", a=0.8, b=0.7)
    reg.record([Accuracy("A", "oracle", 0.85, 10)])
    assert place.measured()[-1] == ("b", 1)
    assert matrix(reg) == [[0.9, None], [0.85, 0.7]]
    reg.record([Accuracy("a", "oracle", 0.95, 10)], after="a")
    assert matrix(reg) == [[0.95, None], [0.85, 0.7]]
    assert place.measured() == [("a", 1), ("b", 2), ("b", 1), ("a", 1)]


@pytest.mark.slow
def test_without_measurements_cells_are_empty(reg: Registry, learn: Callable[..., None]) -> None:
    assert matrix(reg) == [] and confusion(reg) == []
    with pytest.raises(RegistryError, match="no task yet"):
        reg.record([Accuracy("a", "oracle", 0.5, 1)])
    learn("a")
    learn("b", b=0.7)
    assert matrix(reg) == [[None, None], [None, 0.7]]
    with pytest.raises(RegistryError, match="nothing was measured"):
        reg.record([])
    with pytest.raises(TaskNotFoundError):
        reg.record([Accuracy("a", "auto", 0.5, 1, {"nobody": 1})])
    with pytest.raises(TaskNotFoundError):
        reg.record([Accuracy("a", "oracle", 0.5, 1)], after="nobody")


@pytest.mark.slow
def test_a_removed_task_leaves_with_its_row_and_column(reg: Registry, learn: Callable[..., None]) -> None:
    learn("a", a=0.9)
    learn("b", a=0.8, b=0.7)
    learn("c", a=0.7, b=0.6, c=0.5)
    reg.remove("b")
    assert matrix(reg) == [[0.9, None], [0.7, 0.5]]
    reg.remove("c")
    assert matrix(reg) == [[0.9]]
    learn("b", a=0.4, b=0.3)
    assert matrix(reg) == [[0.9, None], [0.4, 0.3]]


@pytest.mark.slow
def test_a_replaced_task_was_learned_last(reg: Registry, learn: Callable[..., None]) -> None:
    learn("a", a=0.9)
    learn("b", a=0.8, b=0.7)
    learn("c", a=0.7, b=0.6, c=0.5)
    learn("b", replace=True, a=0.65, b=0.99, c=0.45)
    assert [task.name for task in reg.tasks()] == ["a", "c", "b"]
    assert matrix(reg) == [[0.9, None, None], [0.7, 0.5, None], [0.65, 0.45, 0.99]]
    learn("d", a=0.1, b=0.2, c=0.3, d=0.4)
    reg.rollback("b")
    assert [task.name for task in reg.tasks()] == ["a", "b", "c", "d"]
    # What was measured of b's second version is not said of its first.
    assert matrix(reg) == [
        [0.9, None, None, None],
        [0.8, 0.7, None, None],
        [0.7, 0.6, 0.5, None],
        [0.1, None, 0.3, 0.4],
    ]
    reg.gc()
    assert matrix(reg)[3] == [0.1, None, 0.3, 0.4]


@pytest.mark.slow
def test_confusion_follows_the_newest_measurement(place: Place, reg: Registry, learn: Callable[..., None]) -> None:
    for name in "abc":
        learn(name)
    reg.record(
        [
            Accuracy("a", "auto", 0.8, 10, {"a": 9, "b": 1}),
            Accuracy("b", "auto", 0.5, 10, {"b": 6, "c": 4}),
            Accuracy("b", "oracle", 0.6, 10),
        ]
    )
    reg.record([Accuracy("A", "auto", 0.9, 10, {"A": 10})])
    assert confusion(reg) == [[10, 0, 0], [0, 6, 4], [0, 0, 0]]
    assert matrix(reg, "auto")[2] == [0.9, 0.5, None]
    assert reg.nearest() == {"a": [], "b": [("c", 0.4)]}
    reg.rename("b", "bees")
    assert reg.nearest() == {"a": [], "bees": [("c", 0.4)]}
    assert confusion(reg) == [[10, 0, 0], [0, 6, 4], [0, 0, 0]]
    reg.remove("c")
    assert place.measured() == [(None, 3), (None, 1)]
    assert confusion(reg) == [[10, 0], [0, 6]]
    assert reg.nearest() == {"a": [], "bees": []}


@pytest.mark.slow
def test_the_nearest_tasks_come_first_and_a_task_that_was_never_routed_has_none(
    reg: Registry, learn: Callable[..., None]
) -> None:
    for name in "abcd":
        learn(name)
    reg.record(
        [
            Accuracy("a", "auto", 0.5, 20, {"a": 10, "b": 1, "c": 4, "d": 5}),
            Accuracy("b", "auto", 0.5, 20, {"c": 3, "a": 3}),
            Accuracy("c", "auto", 0.0, 20, {}),
        ]
    )
    reg.record([Accuracy("a", "auto", 0.5, 20, {"a": 10, "b": 1, "c": 4, "d": 5})])  # again, after b
    assert list(reg.nearest()) == ["a", "b"]
    assert reg.nearest() == {"a": [("d", 0.25), ("c", 0.2), ("b", 0.05)], "b": [("a", 0.5), ("c", 0.5)]}


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, float("nan")])
def test_an_accuracy_is_a_fraction(accuracy: float) -> None:
    with pytest.raises(RegistryError, match="fraction"):
        Accuracy("a", "oracle", accuracy, 1)


def test_an_accuracy_is_checked_when_made() -> None:
    unknown: Mode = "both"  # type: ignore[assignment]
    with pytest.raises(RegistryError, match="oracle or auto"):
        Accuracy("a", unknown, 0.5, 1)
    with pytest.raises(RegistryError, match="negative"):
        Accuracy("a", "auto", 0.5, -1)
    with pytest.raises(RegistryError, match="only an auto"):
        Accuracy("a", "oracle", 0.5, 1, {"a": 1})


@pytest.mark.slow
def test_routing_that_was_measured_among_other_versions_is_outdated(reg: Registry, learn: Callable[..., None]) -> None:
    for name in "abc":
        learn(name)
    assert reg.overview().outdated is None
    reg.record([Accuracy("a", "auto", 0.9, 10, {"a": 10}), Accuracy("c", "auto", 0.7, 10, {"c": 10})])
    assert reg.overview().outdated is None
    reg.remove("b")  # no clip went to it, and clips may still go elsewhere without it
    assert reg.overview().outdated == Outdated(frozenset({0, 1}), "cl-ast removed task b")
    reg.rename("c", "d")
    outdated = reg.overview().outdated
    assert outdated is not None and outdated.since == "a task was removed or went back to another version"
    reg.record([Accuracy("a", "auto", 0.8, 10, {"a": 9, "d": 1})])
    assert reg.overview().outdated == Outdated(frozenset({1}), outdated.since)
    assert matrix(reg, "auto") == [[None, None], [0.8, 0.7]]
    reg.record([Accuracy("d", "auto", 0.6, 10, {"a": 10})])
    assert reg.overview().outdated is None
    learn("e")
    assert reg.overview().outdated == Outdated(frozenset({0, 1}), "task e was added")


@pytest.mark.slow
def test_what_an_older_release_measured_holds_unless_it_names_a_task_that_is_gone(
    place: Place, reg: Registry, learn: Callable[..., None]
) -> None:
    for name in "abc":
        learn(name)
    reg.record([Accuracy("a", "auto", 0.9, 10, {"a": 9, "b": 1}), Accuracy("c", "auto", 0.7, 10, {"c": 10})])
    place.execute('UPDATE accuracies SET routed = \'{"1": 9, "2": 1}\' WHERE version_id = 1')
    place.execute("UPDATE accuracies SET routed = '{\"3\": 10}' WHERE version_id = 3")
    assert reg.overview().outdated is None
    reg.remove("b")
    outdated = reg.overview().outdated
    assert outdated is not None and outdated.rows == {0}
    if isinstance(place.location, Path):  # only SQLite keeps what is no time
        place.execute("UPDATE last_change SET created = 'never'")
        place.execute("UPDATE measurements SET created = 'never'")
    else:
        place.execute("DELETE FROM last_change")
    outdated = reg.overview().outdated
    assert outdated is not None and outdated.since == "a task was removed or went back to another version"
