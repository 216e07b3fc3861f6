"""The header of a safetensors file: read without trusting it, and stamped with what the registry knows.

A file is 8 bytes of little-endian length, that many bytes of JSON, then the tensors. The JSON's
`__metadata__` may hold strings; ours is `cl_ast`, itself JSON, which says what the adapter is.
"""

import json
from collections.abc import Mapping
from math import prod
from typing import Any, TypeGuard

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry.trust import check_tensors

FORMAT = 1
KEY = "cl_ast"
_LONGEST = 16 * 2**20  # some 65,000 long labels; the library itself would read 100 MB
_MOST_DIMENSIONS = 8
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
_BITS |= {"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32}
_BITS |= {"U64": 64, "I64": 64, "F64": 64, "C64": 64}


def described(data: bytes, *, required: bool = True) -> dict[str, Any]:
    """What an adapter file says of itself; nothing if it says nothing and that is not `required`.

    Raises CorruptRegistryError where it is no such file.
    """
    header, _ = _split(data)
    return _own(header, required)


def check(data: bytes) -> dict[str, Any]:
    """As `described(data, required=False)`, for a file from anywhere: its numbers and names are looked at too."""
    header, tensors = _split(data)
    check_tensors({name: entry for name, entry in header.items() if name != "__metadata__"}, tensors)
    return _own(header, required=False)


def stamped(data: bytes, known: Mapping[str, object]) -> bytes:
    """The same tensors and the same description, but for what the registry knows better.

    Raises RegistryError where `data` is not a safetensors file, or `known` does not fit into JSON.
    """
    header, tensors = _split(data)
    own = _own(header, required=False)
    try:
        words = json.dumps({**own, **known, "format": FORMAT}, ensure_ascii=False, allow_nan=False)
        header["__metadata__"] = {**(header.get("__metadata__") or {}), KEY: words}
        encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RegistryError(f"the adapter's description cannot be stored as JSON: {error}") from error
    encoded += b" " * (-len(encoded) % 8)  # the tensors start aligned, as the library writes them
    if len(encoded) > _LONGEST:
        raise RegistryError(f"the adapter's header would be {len(encoded)} bytes; {_LONGEST} is the most")
    return b"".join((len(encoded).to_bytes(8, "little"), encoded, tensors))


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and tensor bytes, every claim of the header checked against the file."""
    if len(data) < 8:
        raise CorruptRegistryError("is too short to be a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > min(_LONGEST, len(data) - 8):
        if data.startswith((b"\x80", b"PK")):
            raise CorruptRegistryError(
                "is a pickle or an archive, not safetensors: a pickle can run code when it is read"
            )
        raise CorruptRegistryError(f"claims a header of {length} bytes in a file of {len(data)}")
    try:
        header = _json(data[8 : 8 + length].decode())
    except (ValueError, RecursionError) as error:
        raise CorruptRegistryError("has a header that is not JSON") from error
    if not isinstance(header, dict):
        raise CorruptRegistryError("has a header that is not an object")
    metadata = header.get("__metadata__")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise CorruptRegistryError("has metadata that is not text")
    tensors = memoryview(data)[8 + length :]
    spans = sorted(_span(name, entry) for name, entry in header.items() if name != "__metadata__")
    end = 0
    for begin, finish, name in spans:
        if begin != end:
            raise CorruptRegistryError(f"has a gap or an overlap before tensor {name[:80]!r}")
        end = finish
    if end != len(tensors):
        raise CorruptRegistryError(f"describes {end} bytes of tensors and holds {len(tensors)}")
    return header, tensors


def _span(name: str, entry: object) -> tuple[int, int, str]:
    """Where a tensor lies, if its entry makes sense."""
    if isinstance(entry, dict):
        shape, offsets, bits = (
            entry.get("shape"),
            entry.get("data_offsets"),
            _BITS.get(str(entry.get("dtype"))),
        )
        if bits is not None and _counts(shape) and len(shape) <= _MOST_DIMENSIONS and _counts(offsets, 2):
            begin, end = offsets
            if (end - begin) * 8 == prod(shape) * bits:
                return begin, end, name
    raise CorruptRegistryError(f"has a tensor {name[:80]!r} whose type, shape and place do not fit together")


def _counts(value: Any, length: int | None = None) -> TypeGuard[list[int]]:
    counted = isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
    return counted and length in (None, len(value))


def _json(text: str) -> Any:
    """Strict JSON: a key given twice would let two readers see two different files, half a character is none."""
    value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    if "\\ud" in text.lower():
        json.dumps(
            value, ensure_ascii=False
        ).encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _own(header: Mapping[str, Any], required: bool) -> dict[str, Any]:
    words = (header.get("__metadata__") or {}).get(KEY)
    if words is None and not required:
        return {}
    if words is None:
        raise CorruptRegistryError("is not an adapter of cl-ast: its header does not say what it is")
    try:
        own = _json(words)
    except (ValueError, RecursionError) as error:
        raise CorruptRegistryError("describes itself with something that is not JSON") from error
    if not isinstance(own, dict):
        raise CorruptRegistryError("describes itself with something that is not an object")
    form = own.get("format", FORMAT)
    if type(form) is not int or form > FORMAT:
        raise CorruptRegistryError(f"has format {form!r:.40}; this cl-ast reads up to {FORMAT}: upgrade cl-ast")
    return own
