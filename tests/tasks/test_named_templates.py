"""The named chat templates render what their authors' models were trained on, and every prompt is a true prefix."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from jinja2 import Template
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from studio.config.templates import TEMPLATE_NAMES

FOLDER = Path(__file__).parents[2] / "studio" / "tasks" / "templates"
BOS, EOS = "<s>", "</s>"

END_OF_TURN = {
    "default": EOS,
    "alpaca": EOS,
    "chatml": "<|im_end|>",
    "deepseek": EOS,
    "gemma": "<end_of_turn>",
    "internlm2": "<|im_end|>",
    "llama2": EOS,
    "llama3": "<|eot_id|>",
    "mistral": EOS,
    "phi3": "<|end|>",
    "phi4": "<|im_end|>",
    "qwen": "<|im_end|>",
    "saiga": EOS,
    "vicuna": EOS,
    "zephyr": EOS,
}

Message = dict[str, str]


def talk(*turns: str, system: str = "") -> list[Message]:
    """A conversation from its turns in order, the user's first."""
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]


CONVERSATIONS = {
    "one exchange": talk("Hi", "Hello!"),
    "with system": talk("Hi", "Hello!", system="Be kind."),
    "many turns": talk("One?", "1.", "Two?", "2.", "Three?", "3."),
    "many turns with system": talk("One?", "1.", "Two?", "2.", system="Count.\nOnly digits."),
    "other scripts and lines": talk("你好\n再见", "Жди\n\nты", "Chào", "{{ not jinja }} {% raw %}", system="系统"),
    "space around": talk("  Hi \n", " Hello! \n", "\tBye", "\n So long "),
    "empty answer": talk("Hi", "", "Bye", "So long"),
}

DIALOGUE = talk("Hi", "Hello!", "Bye", system="Be kind.")
"""Rendered once for each format below, with the opening of the second answer."""

EXPECTED = {
    "default": "<s>Be kind.\n\nUser: Hi\nAssistant: Hello!</s>\nUser: Bye\nAssistant:",
    "alpaca": "<s>Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello!</s>\n\n"
    "### Instruction:\nBye\n\n### Response:\n",
    "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    "deepseek": "<s>Be kind.\n\nUser: Hi\n\nAssistant: Hello!</s>User: Bye\n\nAssistant:",
    "gemma": "<s><start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n"
    "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
    "internlm2": "<s><|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    "llama2": "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST]",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<s> [INST] Be kind.\n\nHi [/INST] Hello!</s> [INST] Bye [/INST]",
    "phi3": "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n"
    "<|user|>\nBye<|end|>\n<|assistant|>\n",
    "phi4": "<|im_start|>system<|im_sep|>Be kind.<|im_end|><|im_start|>user<|im_sep|>Hi<|im_end|>"
    "<|im_start|>assistant<|im_sep|>Hello!<|im_end|><|im_start|>user<|im_sep|>Bye<|im_end|>"
    "<|im_start|>assistant<|im_sep|>",
    "qwen": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
    "saiga": "<s>system\nBe kind.</s><s>user\nHi</s><s>bot\nHello!</s><s>user\nBye</s><s>bot\n",
    "vicuna": "<s>Be kind. USER: Hi ASSISTANT: Hello!</s>USER: Bye ASSISTANT:",
    "zephyr": "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n"
    "<|user|>\nBye</s>\n<|assistant|>\n",
}

WITHOUT_SYSTEM = {
    "alpaca": "<s>Below is an instruction that describes a task. Write a response that appropriately completes the "
    "request.\n\n### Instruction:\nHi\n\n### Response:\nHello!</s>",
    "vicuna": "<s>A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions. USER: Hi ASSISTANT: Hello!</s>",
    "qwen": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello!<|im_end|>\n",
    "llama2": "<s>[INST] Hi [/INST] Hello! </s>",
}


def refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def load(name: str) -> Template:
    """The template in an environment like the one that transformers renders chat templates in."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string((FOLDER / f"{name}.jinja").read_text(encoding="utf-8"))


def render(name: str, messages: list[Message], opening: bool = False) -> str:
    return load(name).render(messages=messages, bos_token=BOS, eos_token=EOS, add_generation_prompt=opening)


def test_the_folder_holds_the_named_templates_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(TEMPLATE_NAMES) == set(END_OF_TURN) == set(EXPECTED)


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_one_dialogue_is_rendered_to_the_letter(name: str) -> None:
    assert render(name, DIALOGUE, opening=True) == EXPECTED[name]


@pytest.mark.parametrize("name", WITHOUT_SYSTEM)
def test_without_a_system_message_the_format_has_its_own_opening(name: str) -> None:
    assert render(name, talk("Hi", "Hello!")) == WITHOUT_SYSTEM[name]


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=list(CONVERSATIONS))
@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_prompt_is_a_prefix_of_the_answered_conversation(name: str, messages: list[Message]) -> None:
    whole = render(name, messages)
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = render(name, messages[:i], opening=True)
            answered = render(name, messages[: i + 1])
            assert answered.startswith(prompt)
            assert whole.startswith(answered)


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=list(CONVERSATIONS))
@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_every_answer_is_its_text_and_ends_with_the_end_of_turn(name: str, messages: list[Message]) -> None:
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            answer = render(name, messages[: i + 1])[len(render(name, messages[:i], opening=True)) :]
            text, end, rest = answer.rpartition(END_OF_TURN[name])
            assert (text.strip(), end, rest.strip()) == (message["content"].strip(), END_OF_TURN[name], "")


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_a_tokenizer_without_a_begin_of_text_token_leaves_no_trace_of_it(name: str) -> None:
    for bos in ({}, {"bos_token": None}, {"bos_token": ""}):
        text = load(name).render(messages=DIALOGUE, eos_token=EOS, add_generation_prompt=True, **bos)
        assert text == EXPECTED[name].replace(BOS, "")


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_the_same_text_comes_out_whatever_the_whitespace_settings(name: str) -> None:
    environment = ImmutableSandboxedEnvironment()
    environment.globals["raise_exception"] = refuse
    template = environment.from_string((FOLDER / f"{name}.jinja").read_text(encoding="utf-8"))
    text = template.render(messages=DIALOGUE, bos_token=BOS, eos_token=EOS, add_generation_prompt=True)
    assert text == EXPECTED[name]


@pytest.mark.parametrize("name", ["default", "alpaca", "deepseek", "phi3", "phi4", "saiga", "vicuna", "zephyr"])
def test_a_role_that_the_format_does_not_know_is_refused_by_name(name: str) -> None:
    with pytest.raises(TemplateError, match=f"template {name} knows .* not tool"):
        render(name, [*talk("Hi", "Hello!"), {"role": "tool", "content": "42"}])


@pytest.mark.parametrize("name", ["gemma", "llama2", "mistral"])
def test_formats_without_a_system_role_refuse_what_they_cannot_place(name: str) -> None:
    late = [*talk("Hi", "Hello!"), {"role": "system", "content": "Be kind."}]
    with pytest.raises(TemplateError, match=f"template {name} knows .* not system here"):
        render(name, late)
    with pytest.raises(TemplateError, match=f"template {name} puts the system message into a user turn"):
        render(name, [{"role": "system", "content": "Be kind."}, {"role": "assistant", "content": "Hello!"}])


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_the_first_line_says_which_token_ends_a_turn(name: str) -> None:
    first = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("{#-") and first.endswith("-#}")
    token = "eos_token" if END_OF_TURN[name] == EOS else END_OF_TURN[name]
    assert token in first and "turn" in first
