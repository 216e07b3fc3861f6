"""The fields of a version: one list, which the tables, the headers and the records follow."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import JSON

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import BackboneRecord, NewVersion, Registry
from registry.manifest import Manifest
from registry.models import VersionRow
from registry.version_facts import LARGEST_OBJECT, RULES

New = Callable[..., NewVersion]
OF_THE_REGISTRY = {"id", "task_id", "number", "backbone_id", "adapter_sha256", "adapter_bytes", "created"}


def test_the_table_has_a_column_for_each_field() -> None:
    columns = {column.name: column for column in VersionRow.__table__.columns}
    assert set(columns) == OF_THE_REGISTRY | set(RULES)
    assert {name for name in RULES if isinstance(columns[name].type, JSON)} == {n for n, r in RULES.items() if r.json}


def test_a_version_makes_the_next_one(reg: Registry, adapter: Callable[..., bytes], new: New) -> None:
    first = reg.commit("a", adapter(1), new()).version
    assert first.facts() == new()
    second = reg.commit("a", adapter(2), replace(first.facts(), seed=8), replace=True).version
    assert second.facts() == new(seed=8) and second.number == 2


def manifest(new: NewVersion, backbone: BackboneRecord) -> dict[str, object]:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Manifest("a", 1, 1, moment, moment, backbone, new).to_header()


def test_a_header_says_every_field_and_may_leave_out_most(new: New, backbone: BackboneRecord) -> None:
    words, now = manifest(new(), backbone), datetime.now(UTC)
    assert set(RULES) <= set(words) and Manifest.from_header(words, now).new == new()
    few = {key: None if key in RULES else value for key, value in words.items()}
    few |= {"method": "linear", "labels": ["a"]}
    assert Manifest.from_header(few, now).new == NewVersion(method="linear", labels=("a",))
    for name in ("method", "labels"):
        with pytest.raises(CorruptRegistryError, match=f"the {name} of the version"):
            Manifest.from_header({**few, name: None}, now)


WRONG: dict[str, list[object]] = {
    "method": ["", 1, "x" * 10_001, "a\0b", ["lora"]],
    "labels": ["dog", [], [1], ["a", ""], ["a", "a"], ["x" * 1_001], {"a": 1}],
    "trainable_parameters": [-1, 1.5, True, 2**63, "7"],
    "seed": [0.5, True, 2**63, -(2**63) - 1, "7"],
    "seconds": [-1, float("inf"), float("nan"), True, "1", 10**400],
    "source": [[["a"]], "text", 1, {"x": float("inf")}, {"x": "y" * LARGEST_OBJECT}],
    "data_fingerprint": [1, "x" * 10_001],
    "protocol": [1, "a\0b"],
    "packages": [{"torch": 2}, ["torch"], {"torch": None}],
    "learned_accuracy": [-0.1, 1.1, float("nan"), True, "1"],
    "training": [[], "text", {"x": [float("nan")]}, {"x": "ü" * (LARGEST_OBJECT // 2)}, {"x": {1: object()}}],
}


def test_every_field_has_something_that_it_cannot_be() -> None:
    assert set(WRONG) == set(RULES)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_field_that_cannot_be_is_refused(name: str, value: object, new: New, backbone: BackboneRecord) -> None:
    with pytest.raises(RegistryError, match=f"^the {name.replace('_', ' ')} of a version ") as caught:
        new(**{name: value})
    assert len(str(caught.value)) < 300
    with pytest.raises(CorruptRegistryError, match="describes itself wrongly"):
        Manifest.from_header({**manifest(new(), backbone), name: value}, datetime.now(UTC))
