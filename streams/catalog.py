"""Lists the published data sets: their names, where to get them and how to read them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from streams import esc50, fsc, fsd50k, gsc, iemocap, split, us8k
from streams.choose_split import Validates
from streams.records import Collection

Progress = Callable[[int, int | None], None]
"""A callback that a download calls with the bytes it has so far and the bytes in all, None if unknown."""


class Limit(NamedTuple):
    """How much an archive may unpack to.

    Attributes:
        bytes: of all files together.
        files: the number of files and folders.
    """

    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Clips:
    """What all clips of an archive are together, where the archive itself has no stable hash.

    Attributes:
        folder: the folder in the archive that has them, and nothing else.
        count: how many there are.
        sha256: the SHA-256 over a line for each, `MD5  folder/name` as md5sum writes it, the lines sorted by bytes.
    """

    folder: str
    count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A file to download.

    Attributes:
        url: where it is.
        file: its name on this machine.
        hash: its hash as `algorithm:hex`, or None if the publisher's file may change without its data changing.
        limit: the most bytes, and the most files and folders, that it may unpack to: about twice what it has.
        contents: pairs of a file in the archive and its hash, which are checked after unpacking.
        clips: what all its clips are, which is checked after unpacking; None where `hash` says it.
    """

    url: str
    file: str
    hash: str | None
    limit: Limit
    contents: tuple[tuple[str, str], ...] = ()
    clips: Clips | None = None


@dataclass(frozen=True, slots=True)
class DataSet:
    """A published data set.

    Attributes:
        name: the word that names it.
        title: its full name.
        domain: `sound` or `speech`.
        clip_seconds: the length in seconds that its clips are cut or padded to.
        page: the address of the publisher's page.
        licence: its licence, in words.
        folders: the names of the folder that its archive may unpack to.
        needs: files and folders that it must have. The first one is enough to recognise it.
        read: reads its records from its folder.
        holds: its folders in which clips are, and which are no classes.
        clip_name: a regular expression for the names of its clips.
        archive: the file to download, or None if the publisher gives it on request only, or in several parts.
        validates: chooses the fold that validates.
        tags: whether a clip may have several labels.
    """

    name: str
    title: str
    domain: str
    clip_seconds: float
    page: str
    licence: str
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    read: Callable[[Path], Collection]
    holds: tuple[str, ...]
    clip_name: str
    archive: Archive | None = None
    validates: Validates = split.fold_before
    tags: bool = False

    @property
    def downloadable(self) -> bool:
        """Whether anybody may download it without asking."""
        return self.archive is not None


_ALL = (
    DataSet(
        name="esc50",
        title="ESC-50",
        domain="sound",
        clip_seconds=5.0,
        page="https://github.com/karolpiczak/ESC-50",
        licence="CC BY-NC 3.0",
        folders=("ESC-50-master", "ESC-50"),
        needs=(esc50.TABLE, "audio"),
        read=esc50.read,
        holds=("audio",),
        clip_name=r"[1-5]-\d+-[A-Z]-\d+\.\w+",
        # GitHub packs this archive again whenever the repository changes, so its hash is not stable. The table and the
        # clips do not change, so their hashes are checked instead. The clips' MD5s are those of another source, the
        # index of ESC-50 in the package soundata (`soundata.initialize("esc50")`); on an unpacked copy the number is
        #     md5sum audio/* | LC_ALL=C sort | sha256sum
        archive=Archive(
            url="https://github.com/karolpiczak/ESC-50/archive/master.zip",
            file="ESC-50-master.zip",
            hash=None,
            limit=Limit(bytes=2_000_000_000, files=5_000),  # 2,000 clips of 441 kB, and some pages
            contents=((esc50.TABLE, "md5:54a0d0055a10bb7df84ad340a148722e"),),
            clips=Clips("audio", 2_000, "73a735268bb6515d0da95bd84444e6e7762864674e0c422c2de11c12bdadf394"),
        ),
    ),
    DataSet(
        name="us8k",
        title="UrbanSound8K",
        domain="sound",
        clip_seconds=4.0,
        page="https://urbansounddataset.weebly.com/urbansound8k.html",
        licence="CC BY-NC 3.0",
        folders=("UrbanSound8K",),
        needs=(us8k.TABLE, "audio"),
        read=us8k.read,
        holds=("audio",),
        clip_name=r"\d+-\d-\d+-\d+\.\w+",
        archive=Archive(
            url="https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz?download=1",
            file="UrbanSound8K.tar.gz",
            hash="md5:9aa69802bbf37fb986f71ec1483a196e",
            limit=Limit(bytes=15_000_000_000, files=20_000),  # 8,732 clips, 7 GB
        ),
    ),
    DataSet(
        name="gsc",
        title="Speech Commands v2",
        domain="speech",
        clip_seconds=1.0,
        page="https://www.tensorflow.org/datasets/catalog/speech_commands",
        licence="CC BY 4.0",
        folders=("speech_commands_v0.02", "SpeechCommands/speech_commands_v0.02"),
        needs=tuple(gsc.LISTS.values()),
        read=gsc.read,
        holds=(),
        clip_name=r"[0-9a-f]{8}_nohash_\d+\.\w+",
        # This hash is the one that TensorFlow Datasets and torchaudio use.
        archive=Archive(
            url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            file="speech_commands_v0.02.tar.gz",
            hash="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            limit=Limit(bytes=8_000_000_000, files=220_000),  # 105,829 clips of at most 32 kB, and some noise
        ),
    ),
    DataSet(
        name="fsc",
        title="Fluent Speech Commands",
        domain="speech",
        clip_seconds=4.0,
        page="https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/",
        licence="Fluent Speech Commands Public License, for academic research",
        folders=("fluent_speech_commands_dataset",),
        needs=tuple(fsc.TABLES.values()),
        read=fsc.read,
        holds=("wavs",),
        clip_name=r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\w+",
    ),
    DataSet(
        name="iemocap",
        title="IEMOCAP",
        domain="speech",
        clip_seconds=8.0,
        page="https://sail.usc.edu/iemocap/",
        licence="for research, on request to the University of Southern California",
        folders=("IEMOCAP_full_release", "IEMOCAP"),
        needs=tuple(
            f"Session{session}/{part}"
            for session in iemocap.SESSIONS
            for part in ("dialog/EmoEvaluation", "sentences/wav")
        ),
        read=iemocap.read,
        holds=tuple(f"Session{session}" for session in iemocap.SESSIONS),
        clip_name=r"Ses0[1-5][FM]_\w+\.\w+",
        validates=iemocap.other_speaker_of_session,
    ),
    DataSet(
        name="fsd50k",
        title="FSD50K",
        domain="sound",
        clip_seconds=10.0,
        page="https://zenodo.org/records/4060432",
        licence="CC BY 4.0, and each clip its own Creative Commons licence",
        folders=("FSD50K",),
        needs=(fsd50k.DEV, fsd50k.EVAL, fsd50k.VOCABULARY, fsd50k.DEV_AUDIO, fsd50k.EVAL_AUDIO),
        read=fsd50k.read,
        holds=(fsd50k.DEV_AUDIO, fsd50k.EVAL_AUDIO),
        clip_name=r"(?!)",  # its clips are called by numbers, as those of many folders are
        tags=True,
    ),
)

DATASETS: Mapping[str, DataSet] = MappingProxyType({dataset.name: dataset for dataset in _ALL})
"""Every published data set, by its name."""
