"""Loads a pretrained backbone from the package, from the hub or from a local folder."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from cl_ast.backbone.backbone import Backbone
from cl_ast.backbone.families import Family, family_of
from cl_ast.backbone.int8 import PRECISIONS
from cl_ast.backbone.sites import Shape
from cl_ast.errors import BackboneError
from cl_ast.wording import first_line

AST_BASE_HUB = "MIT/ast-finetuned-audioset-10-10-0.4593"
SHORT_NAMES = {"ast-base": AST_BASE_HUB}
# Checkpoints that have the default configuration of transformers, so that their sizes are known without a download.
_DEFAULT_CONFIGS = {AST_BASE_HUB: "audio-spectrogram-transformer", "facebook/wav2vec2-base": "wav2vec2"}
MINI = "ast-mini"
MINI_FOLDER = Path(__file__).parents[1] / "data" / MINI
FORMER_MINI = frozenset({"47f19091fb2a4f29ba39cfde170ec98d6af191a6ff15941a76a89edc0a39efd9"})
"""The fingerprints of earlier weights of ast-mini, whose registries are told what to do (`docs/ast-mini.md`)."""


def load(name: str, *, device: torch.device | str = "cpu", precision: str = "fp32") -> Backbone:
    """Load a backbone, check that all its tensors are there, and freeze it.

    Its family is read from its configuration (`model_type`), never guessed from its name.

    Args:
        name: "ast-mini" (in the package), "ast-base" (the AudioSet checkpoint), any hub name, or a local folder
            in the format of transformers.
        device: the device to put it on.
        precision: one of `int8.PRECISIONS`; "int8" keeps the weights of linear maps in 8 bits.

    Raises:
        BackboneError: it does not exist, cannot be downloaded, is of no family that cl-ast knows, or lacks tensors.
    """
    if precision not in PRECISIONS:
        raise BackboneError(f"a backbone's weights cannot be kept in {precision!r}; there are {', '.join(PRECISIONS)}")
    place = _place(name)
    _check_name(place, name)
    family = family_of(_config(place, f"the backbone {name} cannot be loaded").get("model_type"), name)
    model = _pretrained(place, name, family)
    reason = family.unsupported_because(model.config)
    if reason:
        raise BackboneError(f"the backbone {name} {reason}; use another backbone")
    with _quiet():
        backbone = Backbone(model, name, family=family.with_checkpoint_settings(place, name))
    for tensor_name, tensor in backbone.tensors().items():
        if not torch.isfinite(tensor).all():
            raise BackboneError(f"the backbone {name} has values that are not numbers in {tensor_name}; fetch it again")
    return (backbone.quantise() if precision == "int8" else backbone).to(device)


def sizes(name: str) -> tuple[Shape, int]:
    """Return the shape of a backbone and its number of parameters, from its configuration alone.

    Raises:
        BackboneError: there is no such configuration, or it cannot be downloaded.
    """
    place = _place(name)
    if place in _DEFAULT_CONFIGS:
        config: dict[str, Any] = {"model_type": _DEFAULT_CONFIGS[place]}
    else:
        _check_name(place, name)
        config = _config(place, f"no configuration of a backbone called {name!r}")
    family = family_of(config.get("model_type"), name)
    model_class = family.model_class()
    with torch.device("meta"):
        backbone = Backbone(model_class(model_class.config_class.from_dict(config)), name, fingerprint="-")
    return backbone.shape, backbone.parameters


def is_local(name: str) -> bool:
    """Return whether a backbone is read from this machine's disk, so that no hub is asked for it."""
    return Path(_place(name)).is_dir()


def is_same_name(one: str, other: str) -> bool:
    """Return whether two names mean the same checkpoint, such as "ast-base" and its name on the hub."""
    return _place(one) == _place(other)


def is_cached(name: str) -> bool:
    """Return whether a backbone of the hub is in the hub's cache on this machine; the hub is not asked."""
    try:
        return _cached(_place(name))
    except ValueError:  # a name that no model on the hub can have
        return False


def default_name() -> str:
    """Return the backbone of a new registry: "ast-base" if it is cached or the hub can be reached, else "ast-mini"."""
    return "ast-base" if _cached(AST_BASE_HUB) or _hub_has(AST_BASE_HUB) else MINI


def _config(place: str, failed: str) -> dict[str, Any]:
    """Return a checkpoint's configuration. Raises BackboneError, whose message begins with `failed`."""
    from transformers import PretrainedConfig

    if Path(place).is_dir() and not (Path(place) / "config.json").is_file():
        raise BackboneError(f"{failed}: the folder has no config.json")
    try:
        with _quiet():
            config, _ = PretrainedConfig.get_config_dict(place)
    except (OSError, ValueError) as error:
        raise BackboneError(f"{failed}: {first_line(error)}") from error
    return dict(config or {})


def _pretrained(place: str, name: str, family: Family) -> Any:
    from safetensors import SafetensorError

    model_class = family.model_class()
    try:
        with _quiet():
            model, report = model_class.from_pretrained(
                place, output_loading_info=True, dtype=torch.float32, attn_implementation=family.attention
            )
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
        raise BackboneError(f"the backbone {name} cannot be loaded: {first_line(error)}") from error
    found = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    wrong = [key for key in found if not str(key).startswith(family.unneeded)]
    if wrong:
        raise BackboneError(
            f"the backbone {name} does not fit {family.title}: {len(wrong)} tensors missing, unexpected or of another "
            f"shape (first: {wrong[0]}); save it again with transformers' save_pretrained"
        )
    return model


def _place(name: str) -> str:
    """Return where transformers finds the backbone: a folder, or a name on the hub."""
    return str(MINI_FOLDER) if name == MINI else SHORT_NAMES.get(name, name)


def _check_name(place: str, name: str) -> None:
    """Raise BackboneError for a name that cannot be a backbone's, before the hub is queried."""
    if not Path(place).exists() and place.count("/") != 1:
        raise BackboneError(
            f"no backbone called {name!r}: not a folder, not a hub name (owner/model), "
            f"not one of {MINI}, {', '.join(SHORT_NAMES)}; give --backbone another one"
        )


def _cached(hub_name: str) -> bool:
    if importlib.util.find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    return all(isinstance(try_to_load_from_cache(hub_name, file), str) for file in ("config.json", "model.safetensors"))


def _hub_has(hub_name: str) -> bool:
    """Return whether the hub has this model, by one short request; False without a network or in offline mode."""
    import os

    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    if constants.HF_HUB_OFFLINE or os.environ.get("TRANSFORMERS_OFFLINE", "").lower() in {"1", "true", "yes"}:
        return False
    try:
        get_hf_file_metadata(hf_hub_url(hub_name, "config.json"), timeout=3)
    except Exception:  # whatever the reason is, the model cannot be downloaded now
        return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the progress bars and load reports of transformers: our own checks report what matters."""
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
