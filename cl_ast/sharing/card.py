"""The model card of an exported adapter: what a stranger needs to judge it, use it and make it again."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

_LABELS_SHOWN = 100


def card(facts: Mapping[str, Any], *, peft: bool, size: int, auto: float | None) -> str:
    """A `README.md` with the front matter that the Hugging Face hub reads.

    Args:
        facts: what the adapter says of itself.
        peft: whether peft can load the folder.
        size: bytes of its weights.
        auto: test accuracy with the task chosen by the router of the registry it comes from.
    """
    backbone, labels = facts["backbone"], facts["labels"]
    hearing = _hearing(facts["front_end"])
    rows = {
        "backbone": f"{_code(backbone['name'])}, {backbone['parameters']:,} parameters, frozen",
        "backbone's fingerprint": _code(backbone["fingerprint"]),
        "method": _code(facts["method"]),
        "trainable parameters": f"{facts['trainable_parameters']:,}",
        "bytes": f"{size:,}",
        "data": f"fingerprint {_code(facts.get('data_fingerprint') or 'unknown')}",
        "split": _line(facts.get("protocol") or "unknown"),
        "seed": facts.get("seed", "unknown"),
        "test accuracy when learned, task given": _percent(facts.get("learned_accuracy")),
        "test accuracy last measured, task routed": _percent(auto),
        "front end": hearing.heard,
        "pooling": _code(facts["pooling"]),
        "positions": _code(facts["positions"]),
        "packages": ", ".join(f"{_line(name)} {_line(v)}" for name, v in (facts.get("packages") or {}).items()),
        "licence": "unknown",
    }
    shown = ", ".join(map(_line, labels[:_LABELS_SHOWN]))
    more = f" and {len(labels) - _LABELS_SHOWN} more (in the file's header)" if len(labels) > _LABELS_SHOWN else ""
    parts = [
        _front_matter(backbone["name"], peft),
        f"# {_line(facts['name'])}",
        f"One audio task for one frozen {hearing.family}, learned with cl-ast.",
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]),
        f"Labels ({len(labels)}), in the order of the head's outputs: {shown}{more}",
        "## Use",
        "    cl-ast import path/to/this-folder\n    cl-ast predict clip.wav",
    ]
    if peft:
        parts.append(_PEFT.format(pooled=_POOLED[facts["pooling"]], **hearing._asdict()).strip())
    parts += ["## Make it again", f"    {_command(facts)}", _REST]
    return "\n\n".join(parts) + "\n"


_PEFT = """The adapter loads in `peft` as it is, over `transformers.{model}` with the backbone's weights; the head is in
`task.safetensors` (`head.weight`, `head.bias`):

    tokens = PeftModel.from_pretrained({model}.from_pretrained(backbone), "path/to/this-folder")({takes})[0]
    logits = {pooled} @ head["head.weight"].T + head["head.bias"]

{hint}"""
_POOLED = {
    "mean": "tokens.mean(dim=1)",
    "mean+std": "torch.cat([tokens.mean(1), tokens.var(1, correction=0).clamp_min(1e-12).sqrt()], -1)",
}
_REST = "Epochs, batch size and learning rate, where they were given, are not recorded: add them."


class _Hearing(NamedTuple):
    """The backbone's family, its stock class, what that takes, how a clip becomes that, and what to mind."""

    family: str
    model: str
    takes: str
    heard: str
    hint: str


def _hearing(front_end: Mapping[str, Any]) -> _Hearing:
    if front_end.get("kind") == "waveform":
        level = "zero mean and unit variance before the padding" if front_end["normalise"] else "as recorded"
        heard = f"16 kHz mono, {front_end['samples']} samples, {level}"
        return _Hearing("Wav2Vec 2.0", "Wav2Vec2Model", "samples", heard, "")
    heard = (
        f"16 kHz mono, Kaldi log-mel, 128 bins, {front_end['frames']} frames of 10 ms, "
        f"(x - ({front_end['mean']:g})) / {2 * front_end['std']:g}"
    )
    hint = "The position table must be as long as the clip: cl-ast resizes it, `ASTModel` takes `max_length` frames."
    return _Hearing("Audio Spectrogram Transformer (AST)", "ASTModel", "features", heard, hint)


def _front_matter(backbone: str, peft: bool) -> str:
    words = {"library_name": "peft" if peft else "cl-ast", "pipeline_tag": "audio-classification"}
    lines = [f"{key}: {value}" for key, value in words.items()]
    lines += [f"base_model: {json.dumps(backbone)}"] if backbone.count("/") == 1 and " " not in backbone else []
    return "\n".join(["---", *lines, "tags: [audio, adapter, cl-ast]", "---"])


def _command(facts: Mapping[str, Any]) -> str:
    source = facts.get("source") or {}
    words = ["cl-ast add-task", str(source.get("task") or "path/to/clips"), f"--name {_quoted(facts['name'])}"]
    words.append(f"--method {_quoted(facts['method'])} --seed {facts.get('seed', 0)}")
    for option in ("fold", "few_shot", "max_seconds"):
        if source.get(option) is not None:
            words.append(f"--{option.replace('_', '-')} {_quoted(str(source[option]))}")
    return _line(" ".join(words))


def _quoted(word: str) -> str:
    plain = all(character.isalnum() or character in "-_.:,=+/" for character in word)
    return word if plain and word else "'" + word.replace("'", "'\\''") + "'"


def _percent(fraction: float | None) -> str:
    return "not measured" if fraction is None else f"{100 * fraction:.2f} %"


def _line(value: object) -> str:
    """On one line, and no end of a table's cell: names and labels are whatever people wrote."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _code(value: object) -> str:
    return f"`{_line(value).replace('`', '')}`"
