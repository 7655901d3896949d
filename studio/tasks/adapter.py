"""What of the model is trained, by its method; adapters found, loaded and merged."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from studio.config.workspace import Workspace
from studio.runs.adapters import gives_scores, is_soft_prompt
from studio.tasks.failures import TaskError
from studio.tasks.quantized import is_quantized
from studio.tasks.quantized.counting import weights
from studio.tasks.routed_model import check_trained_as
from studio.tasks.vocabulary import grow, rows_needed, settle
from studio.tasks.weights import check_file

Arguments = dict[str, Any]
Notice = Callable[[str], None]


@dataclass(frozen=True)
class Parameters:
    """How many parameters there are; `dtypes` maps a format to the number of parameters held in it."""

    total: int
    trainable: int
    dtypes: dict[str, int]

    def explain(self) -> str:
        """One line for the log."""
        share = 100 * self.trainable / max(self.total, 1)
        formats = ", ".join(f"{count:,} in {name}" for name, count in self.dtypes.items())
        return f"{self.trainable:,} of {self.total:,} parameters are trained ({share:.2f} %); {formats}"


def apply(model: Any, method: Arguments, workspace: Workspace, notice: Notice) -> Any:
    """The model with the right parameters trainable, wrapped where the method is an adapter.

    Raises TaskError when nothing would be trained or an adapter does not fit.
    """
    check_trained_as(model, method["type"])
    model = method_module(method["type"]).apply(model, method, workspace, notice)
    settle(model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TaskError("method", "Nothing of the model would be trained.", "Change the settings under method.")
    return model


def method_module(kind: str) -> ModuleType:
    """The file of a method by its type."""
    return importlib.import_module(f"studio.tasks.methods.{kind.replace('-', '_')}")


def count_parameters(model: Any) -> Parameters:
    """Parameters by number and format; packed ones count as what they stand for, not as their bytes."""
    total, trainable = 0, 0
    dtypes: Counter[str] = Counter()
    for number, name, trained in weights(model):
        total += number
        trainable += number if trained else 0
        dtypes[name] += number
    return Parameters(total, trainable, dict(dtypes.most_common()))


def load(model: Any, folder: Path, name: str = "default", trainable: bool = False, float32: bool = True) -> Any:
    """The model with the adapter in `folder` beside its weights, under `name`, or one more beside others.

    With `float32` the adapter is held in float32 beside a base in fewer bits. Raises TaskError when it does not fit.
    """
    from peft import PeftModel

    from studio.tasks.bitlora import hold_to_bits, read_config

    options: Arguments = {"is_trainable": trainable, "autocast_adapter_dtype": float32}
    if gives_scores(folder) and not hasattr(model, "score"):
        raise TaskError(
            "method",
            f"The adapter in {folder} is a reward model: it gives points and writes no words.",
            "Use it as stage.reward_model of ppo, grpo and rloo, and another one here.",
        )
    held = read_config(folder)
    grow(model, rows_needed(folder))
    try:
        if isinstance(model, PeftModel):
            if held is not None:
                held.inference_mode = not trainable
                model.add_adapter(name, held, autocast_adapter_dtype=float32)
            model.load_adapter(str(folder), adapter_name=name, **options)
        else:
            model = PeftModel.from_pretrained(model, str(folder), adapter_name=name, config=held, **options)
    except (RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, TaskError):
            raise
        raise Unfit(" ".join(str(error).split())[:300]) from error
    if held is not None:
        hold_to_bits(model, name)
    return model


class Unfit(TaskError):
    """An adapter of another model. `reason` is what the library says."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "method",
            f"The adapter does not fit this base model: {reason}",
            "Choose the base model that the adapter was trained on.",
        )
        self.reason = reason


def merged(model: Any, folders: Sequence[Path]) -> Any:
    """The model with adapters merged into its weights, in this order. Raises TaskError for one that cannot be."""
    for folder in folders:
        if is_soft_prompt(folder):
            raise TaskError(
                "method",
                f"The adapter in {folder} stands in front of the input and changes no weight: it cannot be merged.",
                "Leave it out, or use it alone beside its base model.",
            )
        model = load(model, folder).merge_and_unload()
    return model


def merged_into_whole(model: Any, folders: Sequence[Path]) -> Any:
    """Like `merged`, for what shall stay exact. Raises TaskError for quantized weights, which would be rounded anew."""
    if folders and is_quantized(model):
        raise TaskError(
            "method",
            "Adapters cannot be merged into quantized weights without rounding them once more.",
            "Set quantization.type=none, or merge them into a model first and choose that one.",
        )
    return merged(model, folders)


def adapter_folder(path: str, workspace: Workspace) -> Path:
    """The folder of an adapter, its files checked. Raises TaskError."""
    folder = (workspace.root / Path(path).expanduser()).resolve()
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise TaskError(
            "method",
            f"There is no adapter in {path}.",
            "Set model.adapters to a folder that holds adapter_config.json, such as a run or one of its checkpoints.",
        )
    try:
        json.loads(file.read_text(encoding="utf-8"))["peft_type"]
    except (ValueError, KeyError, TypeError):
        raise TaskError("method", f"{file} is damaged.", "Choose another checkpoint.") from None
    check_file(folder / "adapter_model.safetensors")
    return folder
