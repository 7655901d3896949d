"""The Template view: typed turns as the model sees them, the template's marks, and what is found odd about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace

pytestmark = pytest.mark.slow

CONFIG = {"model": {"path": "models/tiny"}, "data": {"datasets": ["chat"]}}
LOOP = "{%- for message in messages -%}"
TURN = "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>"
END = "{%- endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"


@pytest.fixture
def desk(workspace: Path) -> Any:
    from studio.tasks.desk import Desk

    return Desk(Workspace(workspace))


def with_template(desk: Any, text: str) -> dict[str, Any]:
    """The report on another template in the same tokenizer."""
    from studio.tasks.template_report import check

    (desk.workspace.models / "tiny" / "chat_template.jinja").write_text(text, encoding="utf-8")
    return check(desk, {"config": CONFIG})


def codes(report: dict[str, Any]) -> dict[str, str]:
    return {finding["code"]: finding["level"] for finding in report["findings"]}


def test_a_sound_template_is_taken_apart(desk: Any) -> None:
    from studio.tasks.template_report import check

    report = check(desk, {"config": CONFIG})
    assert {token["name"]: token["text"] for token in report["tokens"]} == {
        "bos": "<|endoftext|>",
        "eos": "<|im_end|>",
        "pad": "<|im_end|>",
    }
    assert [mark["role"] for mark in report["marks"]] == ["system", "user", "assistant", "user", "end", "prompt"]
    assert report["marks"][0]["text"] == "<|im_start|>system\n"
    assert report["marks"][-1]["text"].strip() == "<|im_start|>assistant"
    assert report["stops"] == [2]
    assert "fault" not in codes(report).values()


@pytest.mark.parametrize(
    ("template", "code", "level"),
    [
        (LOOP + TURN.replace("<|im_end|>", "") + END, "unclosed", "hint"),
        (LOOP + TURN.replace("<|im_end|>", "<|endoftext|>") + END, "eos_never", "hint"),
        (LOOP + TURN.replace("<|im_end|>", "<|endoftext|>") + END, "no_stop", "fault"),
        ("<|endoftext|><|endoftext|>" + LOOP + TURN + END, "double_bos", "fault"),
        (LOOP + TURN.replace("<|im_start|>", "<|start_header_id|>") + END, "split_marker", "hint"),
        (LOOP + "{%- if message.role != 'system' -%}" + TURN + "{%- endif -%}" + END, "no_system", "note"),
        (LOOP + TURN + END, "no_tools", "note"),
        ("{{ raise_exception('Not today') }}", "refused", "fault"),
    ],
)
def test_what_is_odd_is_found(desk: Any, template: str, code: str, level: str) -> None:
    assert codes(with_template(desk, template))[code] == level


def test_every_finding_has_its_sentence() -> None:
    import inspect
    import re

    from studio.tasks import template_report
    from studio.web.words import words

    written = set(re.findall(r'_finding\("(\w+)"', inspect.getsource(template_report)))
    written |= {f"{verb}_{kind}" for verb in ("same", "differs") for kind in ("own", "shipped")}
    for language in ("en", "zh"):
        known = {key.rpartition(".")[2] for key in words(language) if key.startswith("page.data.tokens.findings.")}
        assert written == known


def test_a_tokenizer_that_adds_a_beginning_is_told_of(desk: Any) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    folder = desk.workspace.models / "tiny"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("<|endoftext|> $A", None, [("<|endoftext|>", 0)])
    tokenizer.save_pretrained(folder)
    assert "no_bos" in codes(with_template(desk, LOOP + TURN + END))
    assert "bos_elsewhere" in codes(with_template(desk, "<|endoftext|>" + LOOP + TURN + END))


def test_the_nearest_shipped_template_is_named_with_the_difference(desk: Any) -> None:
    from studio.tasks.template_report import check
    from studio.tasks.templates import read_template

    same = with_template(desk, "{# own #}" + read_template("zephyr"))
    assert codes(same)["same_shipped"] == "fine"
    chosen = {**CONFIG, "model": {"path": "models/tiny", "chat_template": "llama3"}}
    found = next(one for one in check(desk, {"config": chosen})["findings"] if one["code"] == "differs_own")
    assert found["values"] == {"name": "llama3"}
    text = {sign: "".join(line for mark, line in found["diff"] if mark == sign) for sign in "+-"}
    assert "<|start_header_id|>" in text["+"] and "<|user|>" in text["-"]


def test_typed_turns_are_what_the_trainer_would_see(desk: Any) -> None:
    from studio.tasks.template_report import render

    asked = [{"role": "user", "content": "Hi 世"}]
    prompt = render(desk, {"config": CONFIG, "messages": asked, "prompt": True})
    text = "".join(token[1] for token in prompt["tokens"] if not token[2] & 4)
    assert text.startswith("<|im_start|>user\nHi 世<|im_end|>") and text.rstrip().endswith("<|im_start|>assistant")
    assert "trained" not in prompt
    whole = render(desk, {"config": CONFIG, "messages": [*asked, {"role": "assistant", "content": "Yes."}]})
    assert whole["trained"] > 1
    refused = render(desk, {"config": CONFIG, "messages": asked, "tools": "[not json"})
    assert "JSON" in refused["problem"]


def test_tools_that_are_typed_are_written_out(desk: Any) -> None:
    from studio.tasks.template_report import TOOL, render

    config = {**CONFIG, "model": {"path": "models/tiny", "chat_template": "qwen"}}
    asked = [{"role": "user", "content": "Look it up."}]
    shown = render(desk, {"config": config, "messages": asked, "tools": json.dumps([TOOL]), "prompt": True})
    assert "probe_tool_1" in "".join(token[1] for token in shown["tokens"])
