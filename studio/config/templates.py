"""Names of the chat templates that Studio ships; the files lie in studio/tasks/templates."""

from __future__ import annotations

TEMPLATE_NAMES: tuple[str, ...] = (
    "default",
    "alpaca",
    "chatml",
    "deepseek",
    "gemma",
    "internlm2",
    "llama2",
    "llama3",
    "mistral",
    "phi3",
    "phi4",
    "qwen",
    "saiga",
    "vicuna",
    "zephyr",
)
