"""How the frozen weights of a base are quantized: a flat file for each way, and what all of them need.

A file may have `options(arguments, config) -> dict`, which from_pretrained gets, and `finish(model, arguments,
machine)`, which sees the loaded model. `arguments` are made by `arguments.quantization_arguments`, `config` is the
model's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from studio.config.quantization_support import kind_faults, method_of
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine

Arguments = Mapping[str, Any]

_FILES = {
    "4bit": "bitsandbytes",
    "8bit": "bitsandbytes",
    "hqq": "hqq",
    "torchao": "torchao",
    "eetq": "eetq",
    "checkpoint": "checkpoint",
}


def check(arguments: Arguments, config: Any, source: str, machine: Machine) -> None:
    """Raise TaskError when the weights in `source` cannot be loaded in this way, in the words of the form."""
    method = method_of(config.to_dict())
    gpu = machine.device == "cuda"
    for fault in kind_faults(arguments["type"], method, source, arguments["trains"], gpu):
        raise TaskError("quantization", fault.sentence())


def options(arguments: Arguments, config: Any) -> dict[str, Any]:
    """What from_pretrained gets beside the usual."""
    file = _file(arguments)
    return file.options(arguments, config) if file is not None and hasattr(file, "options") else {}


def finish(model: Any, arguments: Arguments, machine: Machine) -> Any:
    """The loaded model, ready to be trained beside or asked. Raises TaskError."""
    file = _file(arguments)
    if file is not None and hasattr(file, "finish"):
        model = file.finish(model, arguments, machine)
    quantizer = getattr(model, "hf_quantizer", None)
    if arguments["trains"] and quantizer is not None and not quantizer.is_trainable:
        raise TaskError(
            "quantization",
            f"Nothing can be trained beside these weights ({type(quantizer).__name__}).",
            "Choose the full-precision model that they were made from, with quantization.type=4bit.",
        )
    return model


def is_quantized(model: Any) -> bool:
    """Whether some weights lie packed, so that merging anything into them would round it."""
    return bool(getattr(model, "is_quantized", False)) or any(_is_packed_linear(module) for module in model.modules())


def linear_names(model: Any) -> list[str] | None:
    """The last words of the names of all linear layers but the output's; None where they are torch's own.

    peft's all-linear knows subclasses of torch's Linear alone, which the layers of HQQ and of some checkpoints are not.
    """
    if not any(_is_packed_linear(module) for module in model.modules()):
        return None
    import torch

    head = model.get_output_embeddings()
    names = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if module is not head and (_is_packed_linear(module) or isinstance(module, torch.nn.Linear))
    }
    return sorted(names)


def _is_packed_linear(module: Any) -> bool:
    """A linear layer of another library: it has the sides of one, and packed weights in the place of `weight`."""
    packed = hasattr(module, "W_q") or hasattr(module, "qweight") or hasattr(module, "codes")
    return packed and hasattr(module, "in_features")


def _file(arguments: Arguments) -> ModuleType | None:
    name = _FILES.get(arguments["type"])
    return importlib.import_module(f"studio.tasks.quantized.{name}") if name else None
