"""Files that lie: whatever the bytes are, the answer is one kind of error, and it comes at once."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry import NewVersion, Registry, header
from registry.manifest import Manifest

Make = Callable[..., bytes]


def with_header(content: object, tensors: bytes = b"") -> bytes:
    encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
    return len(encoded).to_bytes(8, "little") + encoded + tensors


def tensor(**changed: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changed}


def test_stamping_changes_words_and_no_tensors(adapter: Make, tensors: Make) -> None:
    data = adapter(5, mine=1, name="before")
    stamped = header.described(data, {"name": "after"})
    assert tensors(stamped) == tensors(data)
    assert header.read(stamped).description() == {
        "format": 1,
        "front_end": {"mel_bins": 128},
        "mine": 1,
        "name": "after",
    }
    assert header.described(stamped, {"name": "after"}) == stamped


def test_a_header_gives_each_tensor_its_own_bytes() -> None:
    entries = {"b": tensor(data_offsets=[4, 12]), "a": tensor(shape=[], data_offsets=[0, 4]), "none": tensor(shape=[0])}
    entries["none"] |= {"data_offsets": [12, 12]}
    found = header.read(with_header({**entries, "__metadata__": {"mine": "words"}}, bytes(range(12))))
    assert found.metadata == {"mine": "words"} and found.entries == entries
    assert {name: bytes(found.tensor_bytes(name)) for name in entries} == {
        "a": bytes(range(4)),
        "b": bytes(range(4, 12)),
        "none": b"",
    }
    with pytest.raises(KeyError):
        found.tensor_bytes("another")


@pytest.mark.parametrize("value", [1.5, True, -1, None, "2", [2]])
@pytest.mark.parametrize("place", ["shape", "begin", "end"])
def test_sizes_and_places_are_whole_numbers(value: object, place: str) -> None:
    shape, offsets = [value if place == "shape" else 2], [0, 8]
    if place != "shape":
        offsets[["begin", "end"].index(place)] = value  # type: ignore[call-overload]
    with pytest.raises(CorruptRegistryError, match="do not fit together"):
        header.read(with_header({"a": tensor(shape=shape, data_offsets=offsets)}, bytes(8)))


@pytest.mark.parametrize("shape", ["", {}, "ab", None, 2])
def test_a_shape_is_a_list(shape: object) -> None:
    with pytest.raises(CorruptRegistryError, match="do not fit together"):
        header.read(with_header({"a": tensor(dtype="U8", shape=shape, data_offsets=[0, 1])}, bytes(1)))


@pytest.mark.parametrize(
    "data",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        (3).to_bytes(8, "little") + b"{}",
        with_header(b"[" * 100_000),
        with_header(b"\xff\xfe"),
        with_header([]),
        with_header({"__metadata__": {"cl_ast": 1}}),
        with_header({"__metadata__": {"cl_ast": "no"}}),
        with_header({"__metadata__": {"cl_ast": "[]"}}),
        with_header({"__metadata__": {"cl_ast": '{"format": 3}'}}),
        with_header({"a": tensor()}),
        with_header({"a": tensor()}, bytes(9)),
        with_header({"a": tensor(data_offsets=[1, 9])}, bytes(9)),
        with_header({"a": tensor(data_offsets=[8, 0])}, bytes(8)),
        with_header({"a": tensor(shape=[-2, -1])}, bytes(8)),
        with_header({"a": tensor(shape=[10**400])}, bytes(8)),
        with_header({"a": tensor(shape=[True, 2])}, bytes(8)),
        with_header({"a": tensor(dtype="pickle")}, bytes(8)),
        with_header({"a": tensor(), "b": tensor()}, bytes(8)),
        with_header({"a": None}),
    ],
)
def test_a_header_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptRegistryError):
        header.read(data).description(required=False)


def test_a_file_that_says_nothing_is_no_adapter_of_ours() -> None:
    plain = with_header({"a": tensor()}, bytes(8))
    with pytest.raises(CorruptRegistryError, match="not an adapter of cl-ast"):
        header.read(plain).description()
    assert header.read(plain).description(required=False) == {}


def test_any_mutation_is_read_or_refused(reg: Registry, adapter: Make, new: Callable[..., NewVersion]) -> None:
    good = reg.read_adapter(reg.commit("a", adapter(floats=4), new()).version)
    dice, now, refused = random.Random(3), datetime.now(UTC), 0
    for _ in range(2_000):
        data = bytearray(good)
        for _ in range(dice.choice([1, 1, 2, 8])):
            at, length = dice.randrange(len(data)), dice.randrange(1, 9)
            match dice.randrange(3):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    del data[at : at + length]
                case 2:
                    data[at:at] = dice.randbytes(length)
        try:
            Manifest.from_header(header.read(bytes(data)).description(), now)
        except RegistryError as error:
            assert isinstance(error, CorruptRegistryError) and len(str(error)) < 2_000
            refused += 1
    assert refused > 500
