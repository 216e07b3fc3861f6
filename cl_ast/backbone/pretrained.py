"""Where a backbone comes from: the package, the hub, or a local folder."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.families import Family, family_of
from cl_ast.backbone.sites import Shape
from cl_ast.errors import BackboneError

AST_BASE_HUB = "MIT/ast-finetuned-audioset-10-10-0.4593"
SHORT_NAMES = {"ast-base": AST_BASE_HUB}
# Checkpoints whose configuration is transformers' default one, so that their sizes need no download.
_USUAL = {AST_BASE_HUB: "audio-spectrogram-transformer", "facebook/wav2vec2-base": "wav2vec2"}
MINI = "ast-mini"
MINI_FOLDER = Path(__file__).parents[1] / "data" / MINI


def load(name: str, *, device: torch.device | str = "cpu") -> Backbone:
    """Load a backbone, check that nothing of it is missing, and freeze it.

    What kind of backbone it is, its configuration says (`model_type`), never its name.

    Args:
        name: "ast-mini" (in the package), "ast-base" (the AudioSet checkpoint), any hub name, or a local folder
            in transformers' format.
        device: where it lives.

    Raises:
        BackboneError: it is not there, cannot be fetched, is of no family that cl-ast knows, or lacks tensors.
    """
    place = _place(name)
    _check_word(place, name)
    family = family_of(_config(place, f"the backbone {name} cannot be loaded").get("model_type"), name)
    model = _pretrained(place, name, family)
    reason = family.refusal(model.config)
    if reason:
        raise BackboneError(f"the backbone {name} {reason}; use another backbone")
    with _quiet():
        backbone = Backbone(model, name, family=family.with_front_end_of(place, name))
    for tensor_name, tensor in backbone.tensors().items():
        if not torch.isfinite(tensor).all():
            raise BackboneError(f"the backbone {name} has values that are not numbers in {tensor_name}; fetch it again")
    return backbone.to(device)


def sizes(name: str) -> tuple[Shape, int]:
    """The shape of a backbone and how many parameters it has, from its configuration alone.

    Raises:
        BackboneError: there is no such configuration at hand.
    """
    place = _place(name)
    if place in _USUAL:
        words: dict[str, Any] = {"model_type": _USUAL[place]}
    else:
        _check_word(place, name)
        words = _config(place, f"no configuration of a backbone called {name!r}")
    family = family_of(words.get("model_type"), name)
    model_class = family.model_class()
    with torch.device("meta"):
        backbone = Backbone(model_class(model_class.config_class.from_dict(words)), name, fingerprint="-")
    return backbone.shape, backbone.parameters


def default_name() -> str:
    """The backbone of a new registry: `ast-base` where the hub cache has it or the hub answers, else `ast-mini`."""
    return "ast-base" if _cached(AST_BASE_HUB) or _hub_has(AST_BASE_HUB) else MINI


def _config(place: str, failed: str) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    from transformers import PretrainedConfig

    if Path(place).is_dir() and not (Path(place) / "config.json").is_file():
        raise BackboneError(f"{failed}: the folder has no config.json")
    try:
        with _quiet():
            words, _ = PretrainedConfig.get_config_dict(place)
    except (OSError, ValueError) as error:
        raise BackboneError(f"{failed}: {_first_line(error)}") from error
    return dict(words or {})


def _pretrained(place: str, name: str, family: Family) -> Any:
    from safetensors import SafetensorError

    model_class = family.model_class()
    try:
        with _quiet():
            model, report = model_class.from_pretrained(
                place, output_loading_info=True, dtype=torch.float32, attn_implementation="sdpa"
            )
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
        raise BackboneError(f"the backbone {name} cannot be loaded: {_first_line(error)}") from error
    found = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    wrong = [key for key in found if not str(key).startswith(family.unneeded)]
    if wrong:
        raise BackboneError(
            f"the backbone {name} does not fit {family.title}: {len(wrong)} tensors missing, unexpected or of another "
            f"shape (first: {wrong[0]}); save it again with transformers' save_pretrained"
        )
    return model


def _place(name: str) -> str:
    """Where transformers finds a backbone: a folder, or a name on the hub."""
    return str(MINI_FOLDER) if name == MINI else SHORT_NAMES.get(name, name)


def _check_word(place: str, name: str) -> None:
    """Refuse what can be no backbone before anything is asked of the hub."""
    if not Path(place).exists() and place.count("/") != 1:
        raise BackboneError(
            f"no backbone called {name!r}: not a folder, not a hub name (owner/model), "
            f"not one of {MINI}, {', '.join(SHORT_NAMES)}"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _cached(hub_name: str) -> bool:
    if importlib.util.find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    return all(isinstance(try_to_load_from_cache(hub_name, file), str) for file in ("config.json", "model.safetensors"))


def _hub_has(hub_name: str) -> bool:
    """One short question to the hub; no network, or offline mode, is a no."""
    import os

    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    if constants.HF_HUB_OFFLINE or os.environ.get("TRANSFORMERS_OFFLINE", "").lower() in {"1", "true", "yes"}:
        return False
    try:
        get_hf_file_metadata(hf_hub_url(hub_name, "config.json"), timeout=3)
    except Exception:  # any failure to reach it means the same to us
        return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars or load reports from transformers: what matters is checked and said by us."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    hub_verbosity = hub_logging.get_verbosity()
    verbosity = logging.get_verbosity()
    bar = logging.is_progress_bar_enabled()
    hub_logging.set_verbosity(40)  # ERROR
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        hub_logging.set_verbosity(hub_verbosity)
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
