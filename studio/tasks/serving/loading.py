"""From a serving config to what is served: the model, and its adapters under their names."""

from __future__ import annotations

from typing import Any

from studio.config.serve import ServeConfig
from studio.config.workspace import Workspace
from studio.tasks.adapter import adapter_folder
from studio.tasks.arguments import inference_format, model_arguments, quantization_arguments
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.model import check_vocabulary, find_model, load_model, load_tokenizer
from studio.tasks.serving.names import served_name
from studio.tasks.templates import choose_template

NUMBERS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def load(config: ServeConfig, workspace: Workspace, machine: Machine) -> tuple[Any, Any, str, dict[str, str | None]]:
    """Model, tokenizer, chat template, and what clients call the base and each adapter. Raises TaskError."""
    dtype = inference_format(config.model.dtype, machine)
    arguments = model_arguments(config.model, dtype)
    source = find_model(arguments["path"], workspace, arguments["hub"], arguments["revision"])
    tokenizer = load_tokenizer(source, arguments)
    template = choose_template(arguments["template"], tokenizer)
    model: Any = load_model(source, arguments, quantization_arguments(config.quantization, NUMBERS[dtype]), machine)
    check_vocabulary(tokenizer, model)
    model, names = _with_adapters(model, config, workspace)
    return model.eval(), tokenizer, template, names


def _with_adapters(model: Any, config: ServeConfig, workspace: Workspace) -> tuple[Any, dict[str, str | None]]:
    from peft import PeftModel

    names: dict[str, str | None] = {served_name(config.model.path): None}
    for number, path in enumerate(config.serving.adapters):
        folder, name, inner = adapter_folder(path, workspace), served_name(path), f"adapter_{number}"
        if name in names:
            raise TaskError(
                "adapter",
                f"Two models would be served under the name {name!r}.",
                "Take one of them out of serving.adapters, or rename its folder.",
            )
        try:
            if number:
                model.load_adapter(str(folder), adapter_name=inner)
            else:
                model = PeftModel.from_pretrained(model, str(folder), adapter_name=inner)
        except (RuntimeError, ValueError) as error:
            raise TaskError(
                "adapter",
                f"The adapter in {path} does not fit this base model: {' '.join(str(error).split())[:300]}",
                "Choose the base model that the adapter was trained on.",
            ) from error
        names[name] = inner
    return model, names
