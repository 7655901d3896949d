"""IA³: trained scales on keys, values and the inputs of the feed-forward layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.attach import attach
from studio.tasks.failures import TaskError

# Names by which keys, values and the second matrix of the feed-forward layer go, in families that peft does not list.
KEYS_AND_VALUES = ("k_proj", "v_proj", "key", "value", "kv_proj", "qkv_proj", "query_key_value", "c_attn", "Wqkv")
FEED_FORWARD = ("down_proj", "fc2", "w2", "dense_4h_to_h", "fc_out")


def peft_arguments(settings: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What peft's IA3Config takes; `task` is CAUSAL_LM or SEQ_CLS. None leaves the choice to peft, by the model."""
    feed_forward = list(settings["feedforward_modules"])
    return {
        # What is scaled at its input must be among the targets.
        "target_modules": list(dict.fromkeys([*settings["target_modules"], *feed_forward])) or None,
        "feedforward_modules": feed_forward or ([] if settings["target_modules"] else None),
        "task_type": task,
    }


def apply(model: Any, method: Mapping[str, Any], workspace: Workspace, notice: Callable[[str], None]) -> Any:
    """The model with new scales, or with those that it goes on with. Raises TaskError."""
    from peft import IA3Config
    from peft.utils import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as KNOWN

    arguments = peft_arguments(method["settings"], method["task"])
    if arguments["target_modules"] is None and model.config.model_type not in KNOWN:
        targets, feed_forward = suitable(name for name, _ in model.named_modules())
        arguments |= {"target_modules": targets, "feedforward_modules": feed_forward}
        notice(f"IA³ scales {', '.join(targets)}, found by their names; method.target_modules can name others.")
    return attach(model, IA3Config(**arguments), method, workspace, notice)


def suitable(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of modules' full names the last words to scale, and those of them that are feed-forward. Raises TaskError."""
    words = {name.rpartition(".")[2] for name in names}
    attention = [word for word in KEYS_AND_VALUES if word in words]
    feed_forward = [word for word in FEED_FORWARD if word in words]
    if not attention and not feed_forward:
        raise TaskError(
            "method",
            "The modules of this model go by names that IA³ does not know.",
            "Name those of keys and values in method.target_modules, and the last one of the feed-forward layer in "
            "method.feedforward_modules.",
        )
    return [*attention, *feed_forward], feed_forward
