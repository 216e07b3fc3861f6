"""Says what the name of a folder means: a split, a fold, clips without labels, or a class.

`train`, `TEST-clean` and `dev_set2` name splits, `fold1`, `Session_02` and `part-a` name folds, and `unlabelled` names
clips that have no label. Every other name may be a class. These functions touch no file.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, NamedTuple

from streams.values import shortest_number

Kind = Literal["split", "fold", "both", "unlabelled", "class"]

NOISE = "_background_noise_"
"""The folder of background noise that Speech Commands and data like it have. It is never a class."""


class Meaning(NamedTuple):
    """What a name means.

    Attributes:
        kind: `both` is a split of a fold, such as `train_fold1`.
        value: the split (`train`, `validation`, `test`) or the number or letter of the fold.
        words: the name's other words, which all folds of one kind share.
        sure: whether the name has no words that make it look like a class, such as `horn` in `train_horn`.
        short: whether the split is an abbreviation, such as `tr`, that may be a code for something else.
    """

    kind: Kind
    value: str = ""
    words: tuple[str, ...] = ()
    sure: bool = True
    short: bool = False


def is_noise(name: str) -> bool:
    """Return whether a folder of this name holds background noise."""
    return name.casefold() == NOISE


def meaning(name: str) -> Meaning:
    """Return what the name of a folder means."""
    as_it_is, camel = (_meaning(_words(text)) for text in (name, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)))
    if as_it_is.kind == "class" or (not as_it_is.sure and camel.sure and camel.kind == as_it_is.kind):
        return camel
    return as_it_is


def may_be_a_class(name: str) -> bool:
    """Return whether the name of a split is a common name of classes too: the vehicle, or `valid` beside `invalid`."""
    return name.casefold() in ("train", "trains", "valid")


def says_fold(found: Meaning) -> bool:
    """Return whether a fold is called so. A part, a session or a set may be something else."""
    return not _FOLDS.isdisjoint(found.words)


def says_session(found: Meaning) -> bool:
    """Return whether a fold is called a session."""
    return not _SESSIONS.isdisjoint(found.words)


def same_but_for_a_number(names: Iterable[str]) -> bool:
    """Return whether the names are one word with different numbers, such as `Actor_01` and `Actor_02`."""
    parts = [re.fullmatch(r"(.*?[^\W\d_])[\W_]*([0-9]+)", name.casefold()) for name in names]
    stems = {part[1] for part in parts if part is not None}
    return None not in parts and len(stems) == 1 and not stems & _SAY_CLASS


def _plain(text: str) -> str:
    """Return the text in small letters and without accents."""
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()


def _all(words: str) -> frozenset[str]:
    return frozenset(map(_plain, words.split()))


_SPLITS = {
    **dict.fromkeys(
        _all(
            "train training trainings trn entrenamiento entrainement apprentissage treino treinamento"
            " addestramento trainingsdaten obuchenie обучение обучающая тренировка 训练 訓練 学習 훈련 학습"
        ),
        "train",
    ),
    **dict.fromkeys(
        _all(
            "valid validation validate val vali vld dev devel development validacion validacao validazione"
            " validierung validierungsdaten entwicklung walidacja валидация 验证 驗證 検証 검증"
        ),
        "validation",
    ),
    **dict.fromkeys(
        _all(
            "test tests testing tst eval evaluation evaluate evl holdout prueba pruebas teste testes testdaten"
            " evaluacion avaliacao valutazione evaluierung тест тестовая 测试 測試 テスト 評価 테스트 평가"
        ),
        "test",
    ),
}

_SHORT = {"tr": "train", "cv": "validation", "va": "validation", "dt": "validation"} | dict.fromkeys(
    ("tt", "te", "ts", "et"), "test"
)
"""The abbreviations of speech recognition: wsj0-mix has tr, cv and tt, and CHiME tr, dt and et."""

_FOLDS = _all("fold folds kfold cv xval 折 フォールド 폴드")
_SESSIONS = _all("session sessions sess ses sitzung sesion sessao セッション")
_PARTS = (
    _FOLDS
    | _SESSIONS
    | _all(
        "split splits part parts partition portion subset set batch chunk shard disc disk cd dvd volume vol teil partie"
        " parte"
    )
)

# Words that a split or a fold has beside its name and number.
_NEUTRAL = _all(
    "set sets subset data dataset datasets split splits part parts folder dir audio audios wav wavs mp3 flac ogg clip"
    " clips file files sound sounds recording recordings sample samples speech clean other noisy public private full"
    " small large all final new old orig original raw real simu seen unseen strong weak balanced unbalanced aug"
    " augmented speaker speakers spk labeled labelled of the and for st nd rd th v no nr"
    " 集 集合 数据 数据集 データ セット 데이터 세트"
)

_NUMBERS = {
    word: str(i)
    for words in ("one two three four five six seven eight nine ten", "i ii iii iv v vi vii viii ix x", "first second")
    for i, word in enumerate(words.split(), 1)
}

_SAY_CLASS = _all("class label category type kind klasse classe categoria clase")

_UNLABELLED = (
    r"\b(un|non?|not|without|missing|unknown|ohne|sans|sin|sem|senza) ?(yet )?"
    r"(label|annotat|tagged|tags?\b|etiquet|etichett|rotul|beschrift)|\bunsup|\blabels? ?(unknown|missing|less)"
    r"|\bto (be )?(label|annotat)|无标签|未标注|未标记|ラヘルなし"
)


def _words(name: str) -> list[str]:
    """Return the words and numbers of a name. `trainset` is two words, and so is `fold1`."""
    text = re.sub(r"(hold|held)[\W_]*out", " holdout ", _plain(name))
    text = re.sub(r"cross[\W_]*val(idation)?|x[\W_]*val", " cv ", text)
    found = re.findall(r"[0-9]+|[^\W\d_]+", text)
    return [part for word in found for part in _parts_of(word)]


def _parts_of(word: str) -> list[str]:
    """Return `train` and `set` for `trainset`, and any other word alone."""
    if word not in _SPLITS:
        for i in range(1, len(word)):
            first, second = word[:i], word[i:]
            if (first in _SPLITS and second in _NEUTRAL | _SPLITS.keys()) or (first in _NEUTRAL and second in _SPLITS):
                return [first, second]
    return [word]


def _meaning(words: list[str]) -> Meaning:
    if re.search(_UNLABELLED, " ".join(words)):
        return Meaning("unlabelled")
    fold = _index(words, _PARTS)
    others = tuple(word for word in words if not (_is_small(word) or word in _SPLITS or word in _PARTS))
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    if splits and splits != {"train", "test"} and len(splits) < 3:
        if _index(words, _FOLDS) is not None:
            return Meaning("both")
        core = [word for word in words if not _is_small(word)]
        if core[0] in _SPLITS or core[-1] in _SPLITS:
            value = next(split for split in ("train", "test", "validation") if split in splits)
            return Meaning("split", value, others, sure=not others)
    elif fold is not None:
        return Meaning("fold", fold, (*sorted(_PARTS.intersection(words)), *others), sure=not others)
    elif words and words[0] in _SHORT and not [word for word in others if word not in _SHORT]:
        return Meaning("split", _SHORT[words[0]], short=True)
    return Meaning("class")


def _is_small(word: str) -> bool:
    """Return whether the word says nothing beside a split or a fold: a number, a letter or a word such as `set`."""
    return word in _NEUTRAL or word in _NUMBERS or len(word) == 1 or word.isdigit()


def _index(words: list[str], of: frozenset[str]) -> str | None:
    """Return the number or letter beside one of the words, after it if possible, or None if there is none."""
    for step in (1, -1):
        for i, word in enumerate(words):
            if word in of and 0 <= i + step < len(words):
                index = _NUMBERS.get(words[i + step], words[i + step])
                if index.isdigit() or (step == 1 and len(index) == 1):
                    return shortest_number(index)
    return None
