"""Rules across the settings of a serving process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from studio.config.faults import Fault
from studio.config.quantization import NoQuantization
from studio.config.serve import LlamaCpp, ServeConfig, Transformers, Vllm


def engines_take_whole_models(config: ServeConfig) -> Iterator[Fault]:
    """bitsandbytes quantizes inside transformers only."""
    if not isinstance(config.engine, Transformers) and not isinstance(config.quantization, NoQuantization):
        details = {"engine": config.engine.type}
        yield Fault("quantization.type", "engine_without_quantization", config.quantization.type, details)


def gguf_is_for_llama_cpp(config: ServeConfig) -> Iterator[Fault]:
    """A GGUF file and llama.cpp belong together, and adapters are merged into the file."""
    gguf, llama = config.model.path.endswith(".gguf"), isinstance(config.engine, LlamaCpp)
    if llama and not gguf:
        yield Fault("model.path", "gguf_needed", config.model.path)
    if gguf and not llama:
        yield Fault("engine.type", "gguf_given", config.engine.type)
    if llama and config.serving.adapters:
        yield Fault("serving.adapters", "gguf_without_adapters")


def transformers_merges(config: ServeConfig) -> Iterator[Fault]:
    """Only Studio's own engine merges adapters before it serves."""
    if config.serving.merged and not isinstance(config.engine, Transformers):
        yield Fault("serving.merged", "merged_needs_transformers", details={"engine": config.engine.type})
    if config.serving.merged and not isinstance(config.quantization, NoQuantization):
        yield Fault("serving.merged", "merge_into_quantized", details={"bits": config.quantization.type})


def vllm_needs_a_gpu(config: ServeConfig) -> Iterator[Fault]:
    """vLLM's own wheels compute on GPUs."""
    if isinstance(config.engine, Vllm) and config.devices.use == "cpu":
        yield Fault("engine.type", "vllm_needs_a_gpu")


Rule = Callable[[ServeConfig], Iterator[Fault]]
RULES: tuple[Rule, ...] = (engines_take_whole_models, gguf_is_for_llama_cpp, transformers_merges, vllm_needs_a_gpu)
