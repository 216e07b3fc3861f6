"""Files mutated at random, by byte and by claim: kept whole and sound, or refused with a sentence and nothing kept.

CL_AST_FUZZ=10000 sets how many; a test run does a few hundred.
"""

import json
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from places import Place

from cl_ast.errors import RegistryError
from registry import NewVersion, Registry, header

FILES = int(os.environ.get("CL_AST_FUZZ", "600"))
NASTY: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1e308, "", "../../x", "/etc/passwd", "a\x00b", "\ud800", "x" * 5_000,
    [], {}, [[]], [0, 2**62], [2**32, 2**32], [2] * 40, {"cl_ast": "{}"}, ["dog"] * 3, {"fingerprint": "0" * 64},
]  # fmt: skip


def some_bytes(data: bytes, dice: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 8])):
        if not out:
            break
        at, length = dice.randrange(len(out)), dice.randrange(1, 9)
        match dice.randrange(4):
            case 0:
                out[at] = dice.randrange(256)
            case 1:
                del out[at : at + length]
            case 2:
                out[at:at] = dice.randbytes(length)
            case 3:
                out = out[:at]
    return bytes(out)


def some_claim(data: bytes, dice: random.Random) -> bytes:
    """A header that is JSON, and says something else."""
    size = int.from_bytes(data[:8], "little")
    words = json.loads(data[8 : 8 + size])
    own = json.loads(words["__metadata__"]["cl_ast"])
    tensor = next(name for name in words if name != "__metadata__")
    match dice.randrange(5):
        case 0:
            own[dice.choice([*own, "more"])] = dice.choice(NASTY)
        case 1:
            words[tensor][dice.choice(["dtype", "shape", "data_offsets"])] = dice.choice(NASTY)
        case 2:
            words[str(dice.choice(NASTY))] = words.pop(tensor)
        case 3:
            words[dice.choice([tensor, "second", "__metadata__"])] = dice.choice(NASTY)
        case 4:
            exponent = 0x7F if dice.random() < 0.5 else 0xFF
            return data[:-4] + bytes([dice.randrange(256), dice.randrange(256), 0x80 | dice.randrange(128), exponent])
    if isinstance(words.get("__metadata__"), dict) and "cl_ast" in words["__metadata__"]:
        words["__metadata__"]["cl_ast"] = json.dumps(own)
    encoded = json.dumps(words).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data[8 + size :]


@pytest.mark.slow
def test_a_mutated_file_is_kept_whole_or_not_at_all(
    folder: Place,
    local: Registry,
    adapter: Callable[..., bytes],
    new: Callable[..., NewVersion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On SQLite only: a file is looked at before any database is asked."""
    reg = local
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nobody pulls the plug here
    good = reg.read_adapter(reg.commit("a", adapter(1, floats=4), new()).version)
    dice, kept = random.Random(11), 0
    before = folder.files()
    for _ in range(FILES):
        data = dice.choice([some_bytes, some_claim])(good, dice)
        try:
            reg.commit("b", data, new())
        except RegistryError as error:
            assert len(str(error)) < 1_000
            assert folder.files() == before
            continue
        kept += 1
        # What was kept is what any reader of safetensors agrees to, and says the truth about its place.
        stored = reg.read_adapter(reg.task("b").version)
        from safetensors import deserialize

        deserialize(stored)  # type: ignore[no-untyped-call]
        own = header.read(stored).description()
        assert (own["name"], own["method"]) == ("b", "lora:qv,r=6") and reg.verify() == []
        reg.remove("b")
    assert [task.name for task in reg.tasks()] == ["a"] and reg.verify() == []
    assert FILES * 0.02 < kept < FILES * 0.6
