"""The header of a safetensors file: the one place where its bytes are parsed, without trusting them.

A file is 8 bytes of little-endian length, that many bytes of JSON, then the tensors. The JSON's `__metadata__` may hold
texts; one of them is `cl_ast`, itself JSON, which describes the adapter. The error messages here continue a sentence
whose subject is the file, as "is too short to be a safetensors file" does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from cl_ast.errors import CorruptRegistryError, RegistryError
from registry.limits import BYTES
from registry.tensor_checks import check_tensors

FORMAT = 1
TAGS_FORMAT = 2
"""The format of a task of tags, which releases that know classes only refuse."""
KEY = "cl_ast"
_METADATA = "__metadata__"
_LONGEST = BYTES["header"]  # the library itself would read 100 MB
_MOST_DIMENSIONS = 8
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
_BITS |= {"U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32}
_BITS |= {"U64": 64, "I64": 64, "F64": 64, "C64": 64}


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself, every claim about its tensors checked against the file.

    Attributes:
        metadata: the texts of `__metadata__`.
        entries: of each tensor, by name: `dtype`, `shape`, and `data_offsets`, which are its first byte in `tensors`
            and the first after it.
        tensors: the bytes of all tensors; a view of the file's, not a copy.
    """

    metadata: Mapping[str, str]
    entries: Mapping[str, Mapping[str, Any]]
    tensors: memoryview

    def tensor_bytes(self, name: str) -> memoryview:
        """Return the bytes of one tensor, without copying them. Raises KeyError where there is no such tensor."""
        begin, end = self.entries[name]["data_offsets"]
        return self.tensors[begin:end]

    def description(self, *, required: bool = True) -> dict[str, Any]:
        """Return what the adapter is, as the `cl_ast` entry says; empty where there is none and it is not `required`.

        Raises:
            CorruptRegistryError: there is none, it is no JSON object, or a newer cl-ast wrote it.
        """
        words = self.metadata.get(KEY)
        if words is None and not required:
            return {}
        if words is None:
            raise CorruptRegistryError("is not an adapter of cl-ast: its header does not say what it is")
        try:
            found = _json(words)
        except (ValueError, RecursionError) as error:
            raise CorruptRegistryError("describes itself with something that is not JSON") from error
        if not isinstance(found, dict):
            raise CorruptRegistryError("describes itself with something that is not an object")
        form = found.get("format", FORMAT)
        if type(form) is not int or form > TAGS_FORMAT:
            raise CorruptRegistryError(
                f"has format {form!r:.40}; this cl-ast reads up to {TAGS_FORMAT}: upgrade cl-ast"
            )
        return found


def read(data: bytes) -> Header:
    """Read the header of a safetensors file. Its tensors' values are not looked at: `check` does that.

    Raises:
        CorruptRegistryError: it is no such file, or its header and its size do not fit together.
    """
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
        entries = _json(data[8 : 8 + length].decode())
    except (ValueError, RecursionError) as error:
        raise CorruptRegistryError("has a header that is not JSON") from error
    if not isinstance(entries, dict):
        raise CorruptRegistryError("has a header that is not an object")
    metadata = entries.pop(_METADATA, None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CorruptRegistryError("has metadata that is not text")
    tensors = memoryview(data)[8 + length :]
    end = 0
    for begin, finish, name in sorted(_span(name, entry) for name, entry in entries.items()):
        if begin != end:
            raise CorruptRegistryError(f"has a gap or an overlap before tensor {name[:80]!r}")
        end = finish
    if end != len(tensors):
        raise CorruptRegistryError(f"describes {end} bytes of tensors and holds {len(tensors)}")
    return Header(metadata, entries, tensors)


def check(data: bytes) -> Header:
    """Read the header of a file that may come from anybody: the names and the values of its tensors are checked too.

    Raises:
        CorruptRegistryError: as `read`, for a name that could be a path, and for NaN or infinity.
    """
    found = read(data)
    check_tensors(found.entries, found.tensor_bytes)
    return found


def described(data: bytes, words: Mapping[str, object]) -> bytes:
    """Return the file with `words` in its description: the same tensors, and whatever else it said before.

    Raises:
        CorruptRegistryError: `data` is not a safetensors file.
        RegistryError: `words` does not fit into JSON, or into a header.
    """
    found = read(data)
    own = found.description(required=False)
    try:
        text = json.dumps({**own, **words, "format": own.get("format", FORMAT)}, ensure_ascii=False, allow_nan=False)
        entries = {_METADATA: {**found.metadata, KEY: text}, **found.entries}
        encoded = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RegistryError(f"the adapter's description cannot be stored as JSON: {error}") from error
    encoded += b" " * (-len(encoded) % 8)  # the tensors start aligned, as the library writes them
    if len(encoded) > _LONGEST:
        raise RegistryError(f"the adapter's header would be {len(encoded)} bytes; {_LONGEST} is the most")
    return b"".join((len(encoded).to_bytes(8, "little"), encoded, found.tensors))


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    """Return where a tensor begins and ends, if its entry makes sense."""
    try:
        shape, (begin, end), bits = entry["shape"], entry["data_offsets"], _BITS[entry["dtype"]]
        sizes = [size for size in shape if type(size) is int and size >= 0]
        if (
            isinstance(shape, list)
            and len(sizes) == len(shape) <= _MOST_DIMENSIONS
            and type(begin) is type(end) is int
            and begin >= 0
            and (end - begin) * 8 == prod(sizes) * bits
        ):
            return begin, end, name
    except (KeyError, TypeError, ValueError):
        pass  # as where the numbers do not fit
    raise CorruptRegistryError(f"has a tensor {name[:80]!r} whose type, shape and place do not fit together")


def _json(text: str) -> Any:
    """Parse strict JSON: a key given twice would let two readers see two different files."""
    value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    if "\\ud" in text.lower():
        # Half a character cannot be encoded: the UnicodeEncodeError is a ValueError.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
