"""What of the model is trained: all of it, some layers, or a LoRA adapter, new or continued."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config.workspace import Workspace
from studio.tasks.failures import TaskError
from studio.tasks.weights import check_file

Arguments = dict[str, Any]
Notice = Callable[[str], None]

LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.(\d+)\.")


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
    """The model with the right parameters trainable, wrapped where the method is LoRA.

    Raises TaskError when nothing would be trained or an adapter does not fit.
    """
    if method["type"] == "lora":
        model = _lora(model, method, workspace, notice)
    elif method["type"] == "freeze":
        _freeze(model, method["layers"], method["extra_modules"])
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TaskError("method", "Nothing of the model would be trained.", "Change the settings under method.")
    return model


def count_parameters(model: Any) -> Parameters:
    """Parameters by number and format; those in 4 bits count as what they stand for, not as their bytes."""
    total, trainable = 0, 0
    dtypes: Counter[str] = Counter()
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        number = math.prod(state.shape) if state is not None else parameter.numel()
        name = f"4-bit {state.quant_type}" if state is not None else str(parameter.dtype).removeprefix("torch.")
        total += number
        trainable += number if parameter.requires_grad else 0
        dtypes[name] += number
    return Parameters(total, trainable, dict(dtypes.most_common()))


def _lora(model: Any, method: Arguments, workspace: Workspace, notice: Notice) -> Any:
    from peft import LoraConfig, get_peft_model

    options = {"autocast_adapter_dtype": method["float32"]}
    folders = [adapter_folder(path, workspace) for path in method["adapters"]]
    if folders:
        return _continued(model, folders, method, options, notice)
    try:
        return get_peft_model(model, LoraConfig(**method["lora"]), **options)
    except ValueError as error:
        if "Target modules" not in str(error):
            raise
        names = sorted({name.rpartition(".")[2] for name, _ in model.named_modules() if "_proj" in name})
        raise TaskError(
            "method",
            f"The model has no modules named {method['lora']['target_modules']}.",
            f"Set method.target_modules to all-linear or to some of its own: {', '.join(names)}.",
        ) from error


def _continued(model: Any, folders: list[Path], method: Arguments, options: Arguments, notice: Notice) -> Any:
    """All adapters but the last are merged into the base; the last one is trained on."""
    from peft import PeftModel

    if len(folders) > 1 and getattr(model, "is_quantized", False):
        raise TaskError(
            "method",
            "Several adapters cannot be continued on quantized weights: merging the first ones would round them.",
            "Set quantization.type=none, or merge them into a model first and choose that one.",
        )
    model = merged(model, folders[:-1])
    try:
        model = PeftModel.from_pretrained(model, str(folders[-1]), is_trainable=True, **options)
    except (RuntimeError, ValueError) as error:
        raise _unfit(error) from error
    found = model.peft_config["default"]
    if found.r != method["lora"]["r"] or found.lora_alpha != method["lora"]["lora_alpha"]:
        notice(
            f"The adapter that is continued keeps its own rank {found.r} and alpha {found.lora_alpha}; "
            "method.rank and method.alpha do not apply."
        )
    return model


def merged(model: Any, folders: Sequence[Path]) -> Any:
    """The model with adapters merged into its weights, in this order. Raises TaskError for one that does not fit."""
    from peft import PeftModel

    for folder in folders:
        try:
            model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
        except (RuntimeError, ValueError) as error:
            raise _unfit(error) from error
    return model


def _unfit(error: Exception) -> TaskError:
    return TaskError(
        "method",
        f"The adapter does not fit this base model: {' '.join(str(error).split())[:300]}",
        "Choose the base model that the adapter was trained on.",
    )


def adapter_folder(path: str, workspace: Workspace) -> Path:
    """The folder of a LoRA adapter, its files checked. Raises TaskError."""
    folder = (workspace.root / Path(path).expanduser()).resolve()
    file = folder / "adapter_config.json"
    if not file.is_file():
        raise TaskError(
            "method",
            f"There is no adapter in {path}.",
            "Set model.adapters to a folder that holds adapter_config.json, such as a run or one of its checkpoints.",
        )
    try:
        kind = json.loads(file.read_text(encoding="utf-8")).get("peft_type")
    except ValueError:
        raise TaskError("method", f"{file} is damaged.", "Choose another checkpoint.") from None
    if kind != "LORA":
        raise TaskError("method", f"The adapter in {path} is of type {kind}, not LoRA.", "Choose a LoRA adapter.")
    check_file(folder / "adapter_model.safetensors")
    return folder


def _freeze(model: Any, layers: int, extra_modules: list[str]) -> None:
    """Train the last `layers` layers (the first when negative) and every module whose name ends in an extra one."""
    numbers = {int(found.group(1)) for name, _ in model.named_parameters() if (found := LAYER.search(name))}
    if not numbers:
        raise TaskError("method", "The layers of this model are not numbered.", "Set method.type to full or lora.")
    order = sorted(numbers)
    chosen = set(order[-layers:] if layers > 0 else order[:-layers]) if layers else set[int]()
    unknown = [extra for extra in extra_modules if not any(_ends(name, extra) for name, _ in model.named_modules())]
    if unknown:
        raise TaskError("method", f"The model has no module {unknown[0]!r}.", "Correct method.extra_modules.")
    for name, parameter in model.named_parameters():
        found = LAYER.search(name)
        in_layer = found is not None and int(found.group(1)) in chosen
        module = name.rpartition(".")[0]
        extra = any(_ends(parent, wanted) for parent in _parents(module) for wanted in extra_modules)
        parameter.requires_grad_(in_layer or extra)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")
