"""From a serving config to what is served: the model, and its adapters under their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config.serve import ServeConfig
from studio.config.workspace import Workspace
from studio.runs.adapters import adapter_kind, is_soft_prompt
from studio.tasks.adapter import Unfit, adapter_folder, merged_into_whole
from studio.tasks.adapter import load as load_adapter
from studio.tasks.arguments import inference_format, model_arguments, quantization_arguments
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.model import check_vocabulary, find_model, load_model, load_tokenizer
from studio.tasks.serving.names import served_name
from studio.tasks.soft_prompt import SoftPrompt, read_soft_prompt
from studio.tasks.templates import choose_template
from studio.tasks.trained_on import check_merged, tokenizer_source, with_positions

NUMBERS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


@dataclass(frozen=True)
class Loaded:
    """What is served. `names` maps what clients call the base and each adapter to the name that the engine knows, None
    for the base; `fronts` are the soft prompts among them."""

    model: Any
    tokenizer: Any
    template: str
    names: Mapping[str, str | None]
    fronts: Mapping[str, SoftPrompt]

    @property
    def places(self) -> int:
        """The most places of the context that a soft prompt takes."""
        return max((front.places for front in self.fronts.values()), default=0)


def load(config: ServeConfig, workspace: Workspace, machine: Machine) -> Loaded:
    """Model, tokenizer, chat template and adapters. Raises TaskError."""
    dtype = inference_format(config.model.dtype, machine)
    arguments = model_arguments(config.model, dtype)
    source = find_model(arguments["path"], workspace, arguments["hub"], arguments["revision"])
    folders = [adapter_folder(path, workspace) for path in config.serving.adapters]
    arguments = with_positions(arguments, folders)
    place, brought = tokenizer_source(source, folders)
    tokenizer = load_tokenizer(place, {**arguments, "revision": None} if brought else arguments)
    template = choose_template(arguments["template"], tokenizer)
    model: Any = load_model(source, arguments, quantization_arguments(config.quantization, NUMBERS[dtype]), machine)
    for folder in folders:
        check_merged(folder, config.serving.merged, "serving.merged")
    model = merged_into_whole(model, [adapter_folder(path, workspace) for path in config.serving.merged])
    names = _names(config)
    inner = {f"adapter_{number}": folder for number, folder in enumerate(folders)}
    # Before the weights get adapters beside them: a soft prompt is read with the base alone.
    fronts = {name: _soft_prompt(model, folder) for name, folder in inner.items() if is_soft_prompt(folder)}
    model = _with_adapters(model, {name: folder for name, folder in inner.items() if name not in fronts})
    check_vocabulary(tokenizer, model)
    return Loaded(model.eval(), tokenizer, template, names, fronts)


def _names(config: ServeConfig) -> dict[str, str | None]:
    """What clients call the base and each adapter, with the name inside. Raises TaskError for one name of two."""
    names: dict[str, str | None] = {served_name(config.model.path): None}
    for number, path in enumerate(config.serving.adapters):
        name = served_name(path)
        if name in names:
            raise TaskError(
                "adapter",
                f"Two models would be served under the name {name!r}.",
                "Take one of them out of serving.adapters, or rename its folder.",
            )
        names[name] = f"adapter_{number}"
    return names


def _with_adapters(model: Any, folders: Mapping[str, Path]) -> Any:
    """The model with adapters beside its weights. Raises TaskError for several kinds of them, which peft cannot mix."""
    kinds = {adapter_kind(folder) for folder in folders.values()}
    if len(kinds) > 1:
        raise TaskError(
            "adapter",
            f"Adapters of the kinds {' and '.join(sorted(kinds))} cannot be served side by side.",
            "Serve those of one kind, and the others by a serving process of their own.",
        )
    for name, folder in folders.items():
        model = _fitting(folder, load_adapter, model, folder, name)
    return model


def _soft_prompt(model: Any, folder: Path) -> SoftPrompt:
    return _fitting(folder, read_soft_prompt, model, folder)


def _fitting(folder: Path, read: Callable[..., Any], *arguments: Any) -> Any:
    """What `read` gives; an adapter of another model is said in our words."""
    try:
        return read(*arguments)
    except Unfit as error:
        raise TaskError(
            "adapter",
            f"The adapter in {folder} does not fit this base model: {error.reason}",
            "Choose the base model that the adapter was trained on.",
        ) from error
