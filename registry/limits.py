"""How large each field of a version, of a header and of a row may be: one list, which every way into a registry uses.

The bounds leave room for what any release has written, and keep what `show`, `tasks` and a model card print within
bounds. They hold for a commit, an import, a rebuild and for rows that are read. Characters are Unicode's, and bytes of
JSON are counted in UTF-8.
"""

from collections.abc import Mapping
from types import MappingProxyType

TEXTS: Mapping[str, int] = MappingProxyType(
    {
        "name": 100,  # of a task
        "label": 1_000,
        "method": 2_000,
        "data_fingerprint": 200,  # a SHA-256 has 64
        "protocol": 10_000,  # it may name every fold
        "package": 100,  # its name, and its version too
        "backbone's name": 5_000,  # a path has at most 4,096
        "backbone's fingerprint": 200,
    }
)
"""The most characters of each text."""

COUNTS: Mapping[str, int] = MappingProxyType({"labels": 65_536, "packages": 200})
"""The most entries of each list or object."""

BYTES: Mapping[str, int] = MappingProxyType(
    {
        "labels": 4 * 2**20,  # all together
        "source": 32 * 2**10,  # a path and some options
        "packages": 32 * 2**10,
        "training": 256 * 2**10,  # with the learning curve
        "header": 16 * 2**20,  # of an adapter file
    }
)
"""The most bytes of JSON of each object."""

TEMPERATURES = 0.05, 20.0
"""The least and the greatest number that the logits of a task are divided by for its probabilities."""

DEPTH = 8
"""How deeply lists and objects may be nested in an object: JSON that is indented grows with its depth."""
