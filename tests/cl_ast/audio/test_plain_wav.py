"""A plain WAV file has the samples that libsndfile finds in it, to the bit; all other files are left to libsndfile."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from cl_ast.audio.plain_wav import samples
from cl_ast.audio.reading import read


def wav(values: object, rate: int = 16_000, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, values, rate, format=form, subtype=subtype)
    return file.getvalue()


SOME = np.random.default_rng(0).integers(-(2**15), 2**15, 500).astype(np.int16)
PLAIN = wav(SOME)


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50))
def test_it_has_the_samples_of_the_library(values: list[int]) -> None:
    content = wav(np.array(values, np.int16))
    found = samples(content)
    assert found is not None and found.dtype == np.float32 and found.flags.writeable
    assert found.tobytes() == read(content).tobytes()


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 255))
def test_a_byte_that_differs_changes_what_both_say_or_leaves_it_to_the_library(place: int, value: int) -> None:
    content = PLAIN[:place] + bytes([value]) + PLAIN[place + 1 :]
    found = samples(content)
    if found is not None:
        assert found.tobytes() == read(content).tobytes()
    if place >= 44:
        assert found is not None


@given(st.binary(max_size=100))
def test_other_bytes_are_left_to_the_library(content: bytes) -> None:
    assert samples(content) is None
    assert samples(PLAIN[:36] + content) is None or len(content) == len(PLAIN) - 36


@pytest.mark.parametrize(
    "content",
    [
        wav(SOME, rate=8_000),
        wav(SOME.reshape(-1, 2)),
        wav(SOME, subtype="PCM_24"),
        wav(SOME, subtype="PCM_U8"),
        wav(SOME, subtype="FLOAT"),
        wav(SOME, form="WAVEX"),
        wav(SOME, form="FLAC"),
        wav(SOME, form="RF64"),
        wav(np.zeros(0, np.int16)),
        PLAIN[:-1],
        PLAIN[:-2],
        PLAIN + b"\0\0",
        PLAIN + PLAIN,
    ],
    ids=[
        "rate", "stereo", "24 bits", "8 bits", "float", "extensible", "flac", "rf64", "empty", "cut off",
        "a sample less", "a sample more", "joined",
    ],
)  # fmt: skip
def test_another_kind_of_file_is_left_to_the_library(content: bytes) -> None:
    assert samples(content) is None
