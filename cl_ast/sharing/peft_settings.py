"""Checks the settings in peft's `adapter_config.json`: each is honoured, cannot matter, or is refused by name.

What is not known here is refused where it is set, because a later peft may compute something else with it.
"""

from collections.abc import Mapping
from typing import Any

from cl_ast.errors import MethodError

# Settings that `peft_import`, `peft_patterns` and `base_model` read.
READ = frozenset({
    "peft_type", "base_model_name_or_path", "revision", "r", "lora_alpha", "rank_pattern", "alpha_pattern",
    "use_rslora", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save",
    "bias", "init_lora_weights", "use_dora",
})  # fmt: skip
# Settings that do not change what a trained LoRA computes: they matter in training or while it is set up, or only
# together with a setting that is refused.
IGNORED = frozenset({
    "task_type", "auto_mapping", "peft_version", "inference_mode", "lora_dropout", "megatron_core",
    "qalora_group_size", "runtime_config", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
})  # fmt: skip
# Settings with which peft computes something else than a plain LoRA.
REFUSED = frozenset({
    "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out", "layer_replication", "target_parameters",
    "trainable_token_indices", "alora_invocation_tokens", "arrow_config", "megatron_config", "velora_config",
    "monteclora_config", "kasa_config", "ensure_weight_tying",
})  # fmt: skip
# peft takes an empty object here for the variant with its default values.
_ON_WHEN_EMPTY = frozenset({"use_bdlora", "arrow_config", "velora_config", "monteclora_config", "kasa_config"})
# Ways to start a LoRA that leave the backbone's weights as they are. The others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA)
# subtract the start from the backbone's weights, so that the LoRA is for another backbone.
_PLAIN_STARTS = frozenset({"gaussian", "eva", "orthogonal", "mica"})


def check(config: Mapping[str, Any]) -> None:
    """Raise MethodError, which names the setting, if a setting changes the sum in a way that cl-ast does not have."""
    for key, value in config.items():
        if key in READ | IGNORED or not _is_set(key, value):
            continue
        if key in REFUSED:
            raise MethodError(f"the LoRA has {key} set in its adapter_config.json, which cl-ast does not have")
        raise MethodError(
            f"the LoRA has {key[:80]!r} set in its adapter_config.json, which cl-ast does not know: it may change what "
            "the LoRA computes; if it does not, take the entry out"
        )
    if config.get("bias", "none") != "none":
        raise MethodError(
            "the LoRA has bias set in its adapter_config.json, which cl-ast does not have: with it, peft saves the "
            "backbone's own biases as the training changed them; train it with bias='none'"
        )
    _check_start(config.get("init_lora_weights", True))


def _is_set(key: str, value: Any) -> bool:
    return bool(value) or (value == {} and key in _ON_WHEN_EMPTY)


def _check_start(start: Any) -> None:
    if start is None or isinstance(start, bool) or (isinstance(start, str) and start.lower() in _PLAIN_STARTS):
        return
    raise MethodError(
        f"the LoRA has init_lora_weights {str(start)[:40]!r} in its adapter_config.json, which may change the "
        "backbone's own weights: convert it to a plain LoRA (peft's save_pretrained does, with "
        "path_initial_model_for_weight_conversion)"
    )
