"""Writes the model card of an exported task: what somebody needs to judge it, use it and train it again.

Names, labels and other facts may come from strangers. In the card they are text and nothing else: no markup of
Markdown or HTML, no line of their own, no character that is not seen.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cl_ast.backbone.families import Family
from cl_ast.escaping import escaped
from cl_ast.evaluation.shown_accuracy import FEW, countable, with_interval
from cl_ast.sharing.peft import family_in, layout_of
from cl_ast.tasks.kind_names import ACCURACY, KEY, MAP, TAGS

_LABELS_SHOWN = 100
_LONGEST_SHOWN = 1_000  # characters of a label, or of another fact
_MARKUP = re.compile(r"[\\`*_\[\]<>&|~$#]")


def card(facts: Mapping[str, Any], *, peft: bool, size: int, auto: float | None) -> str:
    """Return a `README.md` with the front matter that the Hugging Face hub reads.

    Args:
        facts: the description of the task in its file.
        peft: whether peft can load the folder.
        size: the size of its weights in bytes.
        auto: its test accuracy with the task chosen by the router, in the registry that it comes from.
    """
    backbone, labels = facts["backbone"], facts["labels"]
    model_input = _input_of(facts["front_end"], family_in(facts))
    rows = _rows(facts, size, auto, model_input.preparation)
    shown = ", ".join(map(_line, labels[:_LABELS_SHOWN]))
    more = f" and {len(labels) - _LABELS_SHOWN} more (in the file's header)" if len(labels) > _LABELS_SHOWN else ""
    parts = [
        _front_matter(backbone["name"], peft),
        f"# {_line(facts['name'])}",
        f"One audio task for one frozen {model_input.family}, learned with cl-ast.",
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]),
        f"Labels ({len(labels)}), in the order of the head's outputs: {shown}{more}",
        *([_SEVERAL] if _metric(facts) == MAP else []),
        "## Use",
        f"    cl-ast import path/to/this-folder\n    cl-ast predict clip.wav --task {_quoted(str(facts['name']))}",
    ]
    if peft:
        parts.append(_PEFT.format(pooled=_POOLED[facts["pooling"]], **model_input._asdict()).strip())
    parts += ["## Train it again", f"    {command(facts)}"]
    parts += [] if _recorded(facts) else [_NOT_RECORDED]
    return "\n\n".join(parts) + "\n"


def _rows(facts: Mapping[str, Any], size: int, auto: float | None, preparation: str) -> dict[str, Any]:
    """Return the rows of the card's table."""
    backbone, metric = facts["backbone"], _metric(facts)
    tested = countable(_recorded(facts), "test")
    return {
        "backbone": f"{_code(backbone['name'])}, {backbone['parameters']:,} parameters, frozen",
        "backbone's fingerprint": _code(backbone["fingerprint"]),
        "method": _code(facts["method"]),
        "trainable parameters": f"{facts['trainable_parameters']:,}",
        "bytes": f"{size:,}",
        "data": f"fingerprint {_code(facts.get('data_fingerprint') or 'unknown')}",
        "split": _line(facts.get("protocol") or "unknown"),
        "seed": facts.get("seed", "unknown"),
        f"test {metric} after training, with the task named": _share(facts.get("learned_accuracy"), tested),
        f"test {metric} last measured, with the task chosen by the router": _share(auto, tested),
        "front end": preparation,
        "pooling": _code(facts["pooling"]),
        "positions": _code(facts["positions"]),
        **_training_rows(_recorded(facts), metric),
        "packages": ", ".join(f"{_line(name)} {_line(v)}" for name, v in (facts.get("packages") or {}).items()),
        "licence": "unknown",
    }


def _metric(facts: Mapping[str, Any]) -> str:
    """Return what the task is measured by."""
    return MAP if facts.get(KEY) == TAGS else ACCURACY


def _recorded(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the task was trained, as far as it says so in single values; a stranger may have written anything."""
    record = facts.get("training")
    found = record if isinstance(record, Mapping) else {}
    single = {key: value for key, value in found.items() if isinstance(value, str | int | float)}
    return {key: value for key, value in single.items() if len(str(value)) <= _LONGEST_SHOWN}


def _training_rows(record: Mapping[str, Any], metric: str) -> dict[str, str]:
    """Return the rows of the card about the training; none where it is not recorded."""
    options = [f"{name.replace('_', ' ')} {_line(record[name])}" for name in _FLAGS if name in record]
    if not options:
        return {}
    accuracy = record.get("validation_accuracy")
    share = float(accuracy) if isinstance(accuracy, int | float) and 0 <= accuracy <= 1 else None
    return {
        "training": ", ".join(options),
        "best epoch": _line(record.get("best_epoch", "unknown")),
        f"validation {metric} at that epoch": _share(share, countable(record, "validation")),
    }


_PEFT = """The adapter loads in `peft` as it is, over `transformers.{model}` with the backbone's weights; the head is in
`task.safetensors` (`head.weight`, `head.bias`):

    model = {model}.from_pretrained(backbone, dtype=torch.float32)
    tokens = PeftModel.from_pretrained(model, "path/to/this-folder")({takes})[0]
    logits = {pooled} @ head["head.weight"].T + head["head.bias"]

{hint}"""
_POOLED = {
    "mean": "tokens.mean(dim=1)",
    "mean+std": "torch.cat([tokens.mean(1), tokens.var(1, correction=0).clamp_min(1e-12).sqrt()], -1)",
}
_SEVERAL = "Several labels may be true of a clip: the probability of each is the sigmoid of its logit."
_NOT_RECORDED = "The options of the training are not recorded: add them if it did not use the defaults."
# What a training record says, and the option of the command line that says it.
_FLAGS = {
    "epochs": "--epochs",
    "patience": "--patience",
    "batch_size": "--batch-size",
    "learning_rate": "--lr",
    "weight_decay": "--weight-decay",
    "head": "--head",
    "crop": "--crop",
    "frequency_mask": "--freq-mask",
    "time_mask": "--time-mask",
    "augment": "--augment",
    "class_weights": "--class-weights",
    "pooling": "--pooling",
    "precision": "--precision",
}


class _ModelInput(NamedTuple):
    """How a clip becomes the input of the backbone, for the card.

    Attributes:
        family: the name of the backbone's family.
        model: the name of the stock class.
        takes: the name of the input that the stock class takes.
        preparation: how a clip becomes this input.
        hint: what the user of the stock class has to take care of; may be empty.
    """

    family: str
    model: str
    takes: str
    preparation: str
    hint: str


def _input_of(front_end: Mapping[str, Any], family: Family) -> _ModelInput:
    model = layout_of(family).model
    if front_end.get("kind") == "waveform":
        level = "zero mean and unit variance before the padding" if front_end["normalise"] else "as recorded"
        preparation = f"16 kHz mono, {front_end['samples']} samples, {level}"
        return _ModelInput(family.title, model, "samples", preparation, "")
    preparation = (
        f"16 kHz mono, Kaldi log-mel, 128 bins, {front_end['frames']} frames of 10 ms, "
        f"(x - ({front_end['mean']:g})) / {2 * front_end['std']:g}"
    )
    hint = (
        "The position embeddings must be as long as the clip: cl-ast resizes them, and `ASTModel` takes clips of "
        "`max_length` frames. docs/registry.md of cl-ast has the whole way from a clip to its logits."
    )
    return _ModelInput("Audio Spectrogram Transformer (AST)", model, "features", preparation, hint)


def _front_matter(backbone: str, peft: bool) -> str:
    words = {"library_name": "peft" if peft else "cl-ast", "pipeline_tag": "audio-classification"}
    lines = [f"{key}: {value}" for key, value in words.items()]
    lines += [f"base_model: {json.dumps(backbone)}"] if backbone.count("/") == 1 and " " not in backbone else []
    return "\n".join(["---", *lines, "tags: [audio, adapter, cl-ast]", "---"])


def command(facts: Mapping[str, Any]) -> str:
    """Return the command that trains a task again, for its public description; no folder is named in it."""
    source = facts.get("source") or {}
    words = ["cl-ast add-task", _quoted(str(source.get("task") or "path/to/clips")), f"--name {_quoted(facts['name'])}"]
    words.append(f"--method {_quoted(facts['method'])} --seed {facts.get('seed', 0)}")
    record = _recorded(facts)
    words += [f"{flag} {_quoted(str(record[name]))}" for name, flag in _FLAGS.items() if name in record]
    for option in ("fold", "few_shot", "max_seconds"):
        if source.get(option) is not None:
            words.append(f"--{option.replace('_', '-')} {_quoted(str(source[option]))}")
    return " ".join(words)  # in a block of code, where nothing is markup


def _quoted(word: str) -> str:
    word = escaped(word)
    plain = all(character.isalnum() or character in "-_.:,=+/" for character in word)
    return word if plain and word else "'" + word.replace("'", "'\\''") + "'"


def _share(fraction: float | None, clips: int | None) -> str:
    """Return an accuracy in percent, and of few clips as a count."""
    if fraction is None:
        return "not measured"
    return with_interval(fraction, clips) if clips and clips < FEW else f"{100 * fraction:.2f} %"


def _line(value: object) -> str:
    """Return the value as one line of plain text, whose characters Markdown and HTML do not take for markup.

    An address in it becomes a link all the same, where it is shown: to what it says.
    """
    return _MARKUP.sub(lambda found: f"\\{found[0]}", _short(value))


def _code(value: object) -> str:
    """Return the value in backticks, between which only a bar would be taken for something: the table's."""
    return f"`{_short(value).replace('`', '').replace('|', chr(92) + '|')}`"


def _short(value: object) -> str:
    text = " ".join(escaped(str(value)).split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
