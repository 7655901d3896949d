"""Conversations of every shape, drawn by a seed, for the tests of labels."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import Any

from studio.data.examples import Example, Message, ToolCall

PHRASES = [
    "Yes.",
    "Who are you?",
    "I am Lumen, naïve – 你好 🙂",
    "assistant",
    "The user asked: Who are you?",
    "   indented, and a tail   ",
    "\n\nlines\n\n\nin between\n",
    "{{ braces }} {% raw %} \\n \"quoted\" 'single' <b>&amp;</b>",
    "你好，世界。再见！",
    "Здравствуй, мир",
    "👩‍👩‍👧‍👦🏳️‍🌈 and e\u0301 combined, \u200b\u00a0\u3000wide",
    "<|im_start|>assistant\nYes.<|im_end|>\n",
    "[/INST] Yes.</s> [INST]",
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nYes.",
    "user: no\nassistant: Yes.",
    "0.1, 22, 333; -4e5",
    "\tif x:\n\t\treturn  x\n",
    "a",
    "مرحبا بالعالم",
]
THOUGHTS = ["", "hm", "step one\nstep two", "Yes. 你好 🙂"]


@dataclass(frozen=True)
class Shape:
    """What a template can take."""

    tools: bool = True
    parallel: bool = True  # several calls in a turn, and words beside a call
    thoughts: bool = True
    specials: bool = True  # texts that hold special tokens
    system_alone: bool = True  # a system message with no question behind it, and answers that come first
    blank: bool = True  # answers of white space alone
    ids: bool = False  # calls have ids of nine letters


def draw(seed: int, shape: Shape) -> Example:
    """One conversation; the same seed gives the same one."""
    rng = random.Random(seed)
    offered = [_tool(rng, number) for number in range(rng.randint(1, 3))] if shape.tools and rng.random() < 0.45 else []
    messages: list[Message] = []
    if rng.random() < 0.4:
        messages.append(Message("system", rng.choice(["", _text(rng, shape)])))
    if shape.system_alone and rng.random() < 0.08:
        messages.append(Message("assistant", _answer(rng, shape)))
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        messages.append(Message("user", _text(rng, shape)))
        if offered:
            for _ in range(rng.choice([0, 1, 1, 2])):
                messages += _call(rng, shape, offered)
        for _ in range(2 if shape.system_alone and rng.random() < 0.08 else 1):
            messages.append(Message("assistant", _answer(rng, shape), trained=rng.choice([None, None, None, False])))
    if rng.random() < 0.1:
        messages.append(Message("user", _text(rng, shape)))
    if offered and rng.random() < 0.2:
        asked = [] if messages[-1].role == "user" else [Message("user", _text(rng, shape))]
        messages += [*asked, *_call(rng, shape, offered)[: rng.randint(1, 2)]]
    tools = json.dumps(offered, ensure_ascii=False) if offered else ""
    return Example("drawn.json", seed, messages=tuple(messages), tools=tools)


def _text(rng: random.Random, shape: Shape) -> str:
    phrases = [phrase for phrase in PHRASES if shape.specials or not ("<|" in phrase or "</s>" in phrase)]
    count = rng.choice([1, 1, 1, 2, 3, 40 if rng.random() < 0.1 else 1])
    return rng.choice(["", " ", "\n"]).join(rng.choice(phrases) for _ in range(count))


def _answer(rng: random.Random, shape: Shape) -> str:
    text = _text(rng, shape)
    if shape.blank and rng.random() < 0.05:
        return rng.choice([" ", "\n", ""])
    if shape.thoughts and rng.random() < 0.3:
        return f"<think>\n{rng.choice(THOUGHTS)}\n</think>\n\n{text.lstrip()}"
    return text


def _tool(rng: random.Random, number: int) -> dict[str, Any]:
    name = ["rain", "add", "search_你好"][number]
    function = {
        "name": name,
        "description": rng.choice(PHRASES[:3]),
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    return {"type": "function", "function": function}


def _call(rng: random.Random, shape: Shape, offered: list[dict[str, Any]]) -> list[Message]:
    count = rng.choice([1, 1, 2]) if shape.parallel else 1
    calls = tuple(_tool_call(rng, offered) for _ in range(count))
    if not shape.ids:
        calls = tuple(replace(call, id=rng.choice(["", call.id])) for call in calls)
    words = _answer(rng, replace(shape, specials=False)) if shape.parallel and rng.random() < 0.4 else ""
    trained = rng.choice([None, None, False])
    results = [Message("tool", rng.choice([*PHRASES[:9], '{"mm": 0}']), call_id=call.id) for call in calls]
    return [Message("assistant", words, trained, calls), *results]


def _tool_call(rng: random.Random, offered: list[dict[str, Any]]) -> ToolCall:
    values = ["Rome", "Zürich 你好 🙂", 3, 0.5, True, None, [1, "a"], {"deep": "x"}, '"quoted"', "<tool_call>"]
    arguments = {key: rng.choice(values) for key in rng.sample(["city", "days", "名"], rng.randint(0, 3))}
    name = rng.choice(offered)["function"]["name"]
    identity = "".join(rng.choice("abcdefgh0123456789") for _ in range(9))
    return ToolCall(name, json.dumps(arguments, ensure_ascii=rng.random() < 0.5), identity)
