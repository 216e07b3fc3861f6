"""The fields of a version: one list, which the tables, the headers and the records follow."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import Place
from sqlalchemy import JSON

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import BackboneRecord, NewVersion, Registry
from registry.limits import BYTES, COUNTS, DEPTH, TEXTS
from registry.manifest import Manifest
from registry.models import VersionRow
from registry.version_facts import RULES

Make = Callable[..., bytes]
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
    "method": ["", 1, "x" * (TEXTS["method"] + 1), "a\0b", ["lora"]],
    "labels": ["dog", [], [1], ["a", ""], ["a", "a"], ["x" * 1_001], {"a": 1}, ["\ud800"]],
    "trainable_parameters": [-1, 1.5, True, 2**63, "7"],
    "seed": [0.5, True, 2**63, -(2**63) - 1, "7"],
    "seconds": [-1, float("inf"), float("nan"), True, "1", 10**400],
    "source": [[["a"]], "text", 1, {"x": float("inf")}, {"x": "y" * BYTES["source"]}],
    "data_fingerprint": [1, "x" * 201],
    "protocol": [1, "a\0b", "x" * 10_001],
    "packages": [{"torch": 2}, ["torch"], {"torch": None}, {"x" * 101: "1"}, {"torch": "1" * 101}],
    "learned_accuracy": [-0.1, 1.1, float("nan"), True, "1"],
    "training": [[], "text", {"x": [float("nan")]}, {"x": "ü" * (BYTES["training"] // 2)}, {"x": {1: object()}}],
    "shared": ["", "0" * 63, "../" + "0" * 61, "A" * 64, 1],
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


def nested(deep: int, inside: object = 1) -> object:
    """One list or object in another, so many times."""
    for number in range(deep):
        inside = [inside] if number % 2 else {"a": inside}
    return inside


# What is just allowed, what is just too much, and what the sentence says: the field, the limit and the size.
BOUNDS: dict[str, tuple[object, object, str]] = {
    "method": ("x" * TEXTS["method"], "x" * (TEXTS["method"] + 1), "method .* 2,000 .* 2,001"),
    "data_fingerprint": ("x" * 200, "x" * 201, "data fingerprint .* 200 .* 201"),
    "protocol": ("x" * 10_000, "x" * 10_001, "protocol .* 10,000 .* 10,001"),
    "labels": (
        [f"{i}" for i in range(COUNTS["labels"])],
        [f"{i}" for i in range(COUNTS["labels"] + 1)],
        "labels .* 65,536 .* 65,537",
    ),
    "a label": (["x" * TEXTS["label"]], ["x" * (TEXTS["label"] + 1)], "labels .* 1,000 .* 1,001"),
    "all labels": (
        [f"{i:0128}" for i in range(BYTES["labels"] // 128)],
        [f"{i:0128}" for i in range(BYTES["labels"] // 128 + 1)],
        "labels .* 4,194,304 bytes .* 4,194,432",
    ),
    "packages": (
        {f"p{i}": "1" for i in range(COUNTS["packages"])},
        {f"p{i}": "1" for i in range(20_000)},
        "packages .* 200 .* 20,000",
    ),
    "a package": ({"p" * 100: "1" * 100}, {"p": "1" * 101}, "packages .* 100 .* 101"),
    "source": ({"x": "y" * (BYTES["source"] - 9)}, {"x": "y" * (BYTES["source"] - 8)}, "source .* 32,768 .* 32,769"),
    "a deep source": (nested(DEPTH - 1 | 1), {"a": nested(DEPTH)}, "source .* nested more than 8"),
    "training": (
        {"x": "y" * (BYTES["training"] - 9)},
        {"x": "y" * (BYTES["training"] - 8)},
        "training .* 262,144 .* 262,145",
    ),
    "a deep training": ({"a": [nested(DEPTH - 2)] * 9}, {"a": [nested(DEPTH - 1)] * 9}, "training .* more than 8"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BOUNDS)
def test_every_field_is_bounded_on_every_way_in(
    what: str, reg: Registry, place: Place, adapter: Callable[..., bytes], new: New, backbone: BackboneRecord
) -> None:
    name = what.split()[-1]
    most, more, says = BOUNDS[what]
    column = {"label": "labels", "package": "packages"}.get(name, name)
    assert getattr(new(**{column: most}), column)  # what fits is allowed
    with pytest.raises(RegistryError, match=says):
        new(**{column: more})
    with pytest.raises(CorruptRegistryError, match=says):
        Manifest.from_header({**manifest(new(), backbone), column: more}, datetime.now(UTC))
    reg.commit("a", adapter(), new(**{column: most}))
    assert [task.name for task in reg.tasks()] == ["a"]
    cell = json.dumps(more) if RULES[column].json else more
    reg.commit("b", adapter(1), new())
    place.execute(f"UPDATE versions SET {column} = '{cell}' WHERE task_id = 2")
    assert [task.name for task in reg.tasks()] == ["a"] and len(str(reg.verify())) < 2_000


@pytest.mark.slow
@pytest.mark.parametrize("field", ["name", "fingerprint"])
def test_what_is_said_of_the_backbone_is_bounded(
    field: str, reg: Registry, place: Place, new: New, backbone: BackboneRecord
) -> None:
    most = TEXTS[f"backbone's {field}"]
    words = manifest(new(), backbone)
    assert isinstance(words["backbone"], dict)
    words["backbone"][field] = "x" * most
    assert getattr(Manifest.from_header(words, datetime.now(UTC)).backbone, field) == "x" * most
    words["backbone"][field] += "x"
    with pytest.raises(CorruptRegistryError, match=f"backbone's {field} must be at most {most:,} .* has {most + 1:,}"):
        Manifest.from_header(words, datetime.now(UTC))
    place.execute(f"UPDATE backbone SET {field} = '{'x' * (most + 1)}'")
    with pytest.raises(CorruptRegistryError, match="cl-ast rebuild"):
        assert reg.backbone is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=2), inside, max_size=3),
    max_leaves=8,
)


def depth_of(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth_of, inside), default=0)


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=2), _JSON, max_size=3), st.integers(0, 12))
def test_the_depth_of_an_object_is_what_is_bounded(value: dict[str, object], deep: int) -> None:
    for _ in range(deep):
        value = {"a": value}
    version = {"method": "linear", "labels": ("a",), "training": value}
    if depth_of(value) <= DEPTH:
        assert NewVersion(**version).training == value  # type: ignore[arg-type]
    else:
        with pytest.raises(RegistryError, match="nested"):
            NewVersion(**version)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("label", ["\x1b[2J", "a\nb", "a\u202eb", "a\u200bb", "\x7f", "\x9b", "a\u2028b"])
def test_a_new_label_is_shown_as_it_is(reg: Registry, place: Place, adapter: Make, new: New, label: str) -> None:
    with pytest.raises(RegistryError, match="no control or format characters"):
        reg.commit("a", adapter(), new(labels=("dog", label)))
    assert reg.tasks() == [] and reg.gc().dropped == ()
    reg.commit("a", adapter(), new(labels=("dog", "rain")))
    # What a release that allowed it has kept stays, and may get new routing, but no other such label beside it.
    place.execute(f"UPDATE versions SET labels = '{json.dumps(['dog', label])}'")
    assert reg.task("a").labels == ("dog", label)
    assert reg.commit("a", adapter(1), reg.task("a").version.facts(), replace=True).labels == ("dog", label)
    with pytest.raises(RegistryError, match="format characters"):
        reg.commit("a", adapter(1), new(labels=(label, label + "\x1b")), replace=True)


def test_letters_of_every_script_are_labels(reg: Registry, adapter: Make, new: New) -> None:
    labels = ("größer", "雨", "मोर", "كلب", "🐕", "❤️", "a b", "\\x1b", "[bold]", "=1+1", "'; --")
    assert reg.commit("a", adapter(), new(labels=labels)).labels == labels
