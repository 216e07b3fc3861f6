"""What the tensors of a file from anywhere must satisfy before it is kept: proper names, and finite values."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from cl_ast.errors import CorruptRegistryError

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_LONGEST_NAME = 200
# Where all bits of the exponent are set, a float is infinite or not a number.
_EXPONENT = {"F64": ("<u8", 0x7FF << 52), "F32": ("<u4", 0xFF << 23), "F16": ("<u2", 0x1F << 10)}
_EXPONENT |= {"BF16": ("<u2", 0xFF << 7), "F8_E5M2": ("u1", 0x1F << 2)}
_BLOCK = 2**20


def check_tensors(entries: Mapping[str, Any], bytes_of: Callable[[str], memoryview]) -> None:
    """Raise CorruptRegistryError for a name that could mean a path, and for NaN or infinity.

    Args:
        entries: the header's entry of each tensor, by name.
        bytes_of: returns the bytes of a tensor.
    """
    for name, entry in entries.items():
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            raise CorruptRegistryError(f"names a tensor {name[:80]!r}: only words joined by dots can be names")
        if entry["dtype"] in _EXPONENT and not _finite(bytes_of(name), *_EXPONENT[entry["dtype"]]):
            raise CorruptRegistryError(f"has values that are not numbers in {name}")


def _finite(data: memoryview, kind: str, exponent: int) -> bool:
    """Return whether no value has all bits of its exponent set."""
    import numpy  # here: the registry lists tasks without it

    values = numpy.frombuffer(data, dtype=kind)
    mask = values.dtype.type(exponent)
    blocks = (values[i : i + _BLOCK] for i in range(0, len(values), _BLOCK))
    return not any(bool(((block & mask) == mask).any()) for block in blocks)
