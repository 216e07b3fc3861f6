"""Formats of samplers, of Matlab and of older speech corpora: where a file of each should end, as its header says.

libsndfile takes whatever is there. Three of these formats (paf, pvf, ircam) do not say how long they are. MIDI sample
dumps are not read, because libsndfile prints to standard output what is wrong with one.
"""

import re
import struct
from collections.abc import Callable

from cl_ast.audio.pieces import Source

_MAT4_BYTES = {0: 8, 1: 4, 2: 4, 3: 2, 4: 2, 5: 1}  # of a number, by the tens of its type
_NIST_HEAD = 1_024
_MOST_BLOCKS = 10_000


def declared_end(source: Source, start: int) -> int | None:
    """Return where the file that begins at `start` should end; None where its format does not say.

    Raises:
        KeyError: no such format begins there.
    """
    head = source.at(start, 64)
    for names, end in _FORMATS.items():
        if head.startswith(names):
            if end is None:
                return None
            try:
                return end(source, start)
            except (struct.error, ArithmeticError, LookupError, ValueError):
                return None  # The decoder says what is wrong with a header that cannot be understood.
    if _is_mpc(head):
        return start + 42 + _number("<", head[30:34]) * 2 * (2 if head[20] else 1)
    if head[8:12] == b"\0\2\0\0" and start + 12 + 2 * int.from_bytes(head[:4], "big") == source.length:
        return source.length  # HTK, which has no name and fits exactly
    raise KeyError(head[:4])


def _number(order: str, data: bytes) -> int:
    """Return an unsigned number of two or four bytes. Raises struct.error where there are fewer."""
    return int(struct.unpack(order + {2: "H", 4: "I"}.get(len(data), "I"), data)[0])


def _is_mpc(head: bytes) -> bool:
    name = head[2:18]
    return head[:2] == b"\x01\x04" and len(head) >= 42 and name.isascii() and name.decode("ascii").isprintable()


def _nist(source: Source, start: int) -> int:
    """NIST Sphere: a header of lines such as `sample_count -i 16000`."""
    head = source.at(start, _NIST_HEAD)
    facts = dict(re.findall(rb"^(\w+) -i (\d+)", head, re.MULTILINE))
    size = int(head.split(b"\n")[1])
    channels, width = int(facts.get(b"channel_count", 1)), int(facts.get(b"sample_n_bytes", 1))
    return start + size + int(facts[b"sample_count"]) * channels * width


def _avr(source: Source, start: int) -> int:
    head = source.at(start, 30)
    channels = 2 if _number(">", head[12:14]) else 1
    return start + 128 + _number(">", head[26:30]) * channels * -(-_number(">", head[14:16]) // 8)


def _wve(source: Source, start: int) -> int:
    return start + 32 + _number(">", source.at(start + 18, 4))


def _xi(source: Source, start: int) -> int:
    count = _number("<", source.at(start + 296, 2))
    sizes = [_number("<", source.at(start + 298 + 40 * k, 4)) for k in range(min(count, 16))]
    return start + 298 + 40 * len(sizes) + sum(sizes) if any(sizes) else source.length


def _voc(source: Source, start: int) -> int:
    """Creative Voice: blocks of a type and a size, until one of type 0."""
    position = start + _number("<", source.at(start + 20, 2))
    for _ in range(_MOST_BLOCKS):
        head = source.at(position, 4)
        if not head or head[0] == 0 or len(head) < 4:
            return position + 1
        position += 4 + int.from_bytes(head[1:4], "little")
    return position


def _mat5(source: Source, start: int) -> int:
    order = "<" if source.at(start + 126, 2) == b"IM" else ">"
    position = start + 128
    for _ in range(2):  # the rate, and the samples
        position += 8 + _number(order, source.at(position + 4, 4))
    return position


def _mat4(source: Source, start: int) -> int:
    order = ">" if source.at(start, 4)[2:] == b"\x03\xe8" else "<"
    position = start
    for _ in range(2):
        head = source.at(position, 20)
        kind, rows, columns, _, name = (_number(order, head[at : at + 4]) for at in range(0, 20, 4))
        position += 20 + name + rows * columns * _MAT4_BYTES[kind // 10 % 10]
    return position


_FORMATS: dict[tuple[bytes, ...], Callable[[Source, int], int] | None] = {
    (b"NIST_1A",): _nist,
    (b"Creative Voice File",): _voc,
    (b"2BIT",): _avr,
    (b"ALawSoundFile",): _wve,
    (b"Extended Instrument",): _xi,
    (b"MATLAB 5.0",): _mat5,
    (b"\0\0\x03\xe8\0\0\0\x01\0\0\0\x01", b"\0\0\0\0\x01\0\0\0\x01\0\0\0"): _mat4,
    (b" paf", b"fap ", b"PVF1"): None,
    tuple(b"\x64\xa3" + bytes([version, 0]) for version in range(1, 5)): None,  # ircam, in both byte orders
    tuple(bytes([0, version]) + b"\xa3\x64" for version in range(1, 5)): None,
}
