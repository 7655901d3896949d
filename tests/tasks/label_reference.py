"""A slow and obvious account of who said what: the reference that labels are held against. Knows nothing of spans.

Each template is written out here a second time, in plain Python, as pieces of text with the number of the answer that
they belong to, or None. Labels then follow byte by byte: a token is learnt when one of its bytes is an answer's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from studio.data.examples import Message

Piece = tuple[str, int | None]
Tools = list[dict[str, Any]]
Writer = Callable[[Sequence[Message], Tools], list[Piece]]
IGNORED = -100
BOS, EOS = "<s>", "</s>"


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def hermes_calls(message: Message) -> str:
    """The words and the calls of an answer, as chatml and qwen write them behind the role."""
    parts = [message.content] if message.content else []
    for call in message.calls:
        arguments = as_json(json.loads(call.arguments))
        parts.append(f'<tool_call>\n{{"name": {as_json(call.name)}, "arguments": {arguments}}}\n</tool_call>')
    return "\n".join(parts)


def chatml(messages: Sequence[Message], tools: Tools) -> list[Piece]:
    pieces: list[Piece] = []
    turns = list(enumerate(messages))
    if tools:
        system = turns.pop(0)[1].content + "\n\n" if messages[0].role == "system" else ""
        lines = "".join(as_json(tool) + "\n" for tool in tools)
        opening = "You can call the functions that <tools> describes, one a line:\n<tools>\n" + lines
        closing = "</tools>\nA call names the function and gives its arguments, as JSON:\n"
        example = '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>'
        pieces.append((f"<|im_start|>system\n{system}{opening}{closing}{example}<|im_end|>\n", None))
    for number, message in turns:
        if message.role == "assistant":
            pieces.append(("<|im_start|>assistant\n", None))
            pieces.append((hermes_calls(message) + "<|im_end|>", number))
            pieces.append(("\n", None))
        elif message.role == "tool":
            first = messages[number - 1].role != "tool"
            last = number + 1 == len(messages) or messages[number + 1].role != "tool"
            pieces.append(("<|im_start|>tool" if first else "", None))
            pieces.append((f"\n<tool_response>\n{message.content}\n</tool_response>", None))
            pieces.append(("<|im_end|>\n" if last else "", None))
        else:
            pieces.append((f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n", None))
    return pieces


def llama3(messages: Sequence[Message], tools: Tools) -> list[Piece]:
    def head(role: str) -> str:
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n"

    pieces: list[Piece] = [(BOS, None)]
    turns = list(enumerate(messages))
    if tools:
        system = turns.pop(0)[1].content.strip() if messages[0].role == "system" else ""
        shown = "".join(json.dumps(tool, indent=4, ensure_ascii=False) + "\n\n" for tool in tools)
        how = "You can call the functions below. A call is JSON and nothing else: "
        how += '{"name": the function, "parameters": {its arguments}}.\n\n'
        pieces.append((f"{head('system')}Environment: ipython\n\n{how}{shown}{system}<|eot_id|>", None))
    for number, message in turns:
        if message.role == "assistant":
            body = message.content.strip()
            for call in message.calls:
                arguments = as_json(json.loads(call.arguments))
                body = f'{{"name": {as_json(call.name)}, "parameters": {arguments}}}'
            pieces.append((head("assistant"), None))
            pieces.append((body + "<|eot_id|>", number))
        else:
            role = "ipython" if message.role == "tool" else message.role
            pieces.append((head(role) + message.content.strip() + "<|eot_id|>", None))
    return pieces


def mistral(messages: Sequence[Message], tools: Tools) -> list[Piece]:
    pieces: list[Piece] = [(BOS, None)]
    if tools:
        pieces.append((f"[AVAILABLE_TOOLS] {as_json(tools)}[/AVAILABLE_TOOLS]", None))
    system = ""
    answered: list[str] = []
    for number, message in enumerate(messages):
        if message.role == "system":
            system = message.content + "\n\n" if message.content else ""
        elif message.role == "user":
            pieces.append((f" [INST] {system}{message.content} [/INST]", None))
            system = ""
        elif message.role == "tool":
            call_id = message.call_id or answered.pop(0)
            pieces.append(("[TOOL_RESULTS] {" + f'"content": {as_json(message.content)}, "call_id": ', None))
            pieces.append((as_json(call_id) + "}[/TOOL_RESULTS]", None))
        elif message.calls:
            answered = [call.id for call in message.calls]
            calls = [
                f'{{"name": {as_json(call.name)}, "arguments": {as_json(json.loads(call.arguments))}, '
                f'"id": {as_json(call.id)}}}'
                for call in message.calls
            ]
            pieces.append(("[TOOL_CALLS] [" + ", ".join(calls) + "]" + EOS, number))
        else:
            pieces.append((" " + message.content + EOS, number))
    return pieces


def thinking(messages: Sequence[Message], tools: Tools) -> list[Piece]:
    """A template that drops the thoughts of all turns but those behind the last question, as reasoning models have."""
    asked = max((number for number, message in enumerate(messages) if message.role == "user"), default=-1)
    pieces: list[Piece] = [("Tools: " + as_json(tools) + "\n" if tools else "", None)]
    for number, message in enumerate(messages):
        if message.role == "assistant":
            words = message.content
            if number < asked and "</think>" in words:
                words = words.split("</think>")[-1].lstrip("\n")
            calls = "".join(f"<call>{call.name} {as_json(json.loads(call.arguments))}" for call in message.calls)
            pieces.append(("<|im_start|>assistant\n", None))
            pieces.append((words + calls + "<|im_end|>", number))
            pieces.append(("\n", None))
        else:
            pieces.append((f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n", None))
    return pieces


THINKING = (
    "{%- if tools -%}Tools: {{ tools | tojson }}\n{% endif -%}{%- set ns = namespace(asked=-1) -%}"
    "{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.asked = loop.index0 -%}{%- endif -%}{%- endfor -%}"
    "{%- for m in messages -%}{%- set words = m.content -%}"
    "{%- if m.role == 'assistant' and loop.index0 < ns.asked and '</think>' in words -%}"
    "{%- set words = words.split('</think>')[-1].lstrip('\n') -%}{%- endif -%}"
    "<|im_start|>{{ m.role }}\n{{ words }}{%- for call in m.tool_calls or [] -%}"
    "<call>{{ call.function.name }} {{ call.function.arguments | tojson }}{%- endfor -%}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)


def plain(messages: Sequence[Message], tools: Tools) -> list[Piece]:
    """Names and line breaks, no end tokens: the last answer gets one, and white space behind it is nobody's."""
    assert not tools
    pieces: list[Piece] = []
    for number, message in enumerate(messages):
        if message.role == "assistant":
            said = (" " + message.content).rstrip()
            pieces.append(("assistant:", None))
            pieces.append((said, number))
            if number == len(messages) - 1:
                pieces.append((EOS, number))
            else:
                pieces.append(((" " + message.content)[len(said) :] + "\n", None))
        else:
            pieces.append((f"{message.role}: {message.content}\n", None))
    return pieces


PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def learnt_answers(messages: Sequence[Message], mask_history: bool) -> set[int]:
    """The numbers of the answers that are learnt."""
    answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
    if mask_history:
        answers = answers[-1:]
    return {number for number in answers if messages[number].trained is not False}


def reference_labels(
    pieces: Sequence[Piece], learnt: set[int], tokenizer: Any, cutoff: int, everything: bool
) -> tuple[list[int], list[int]]:
    """Ids and labels, byte by byte."""
    owners: list[int | None] = []
    for text, owner in pieces:
        owners += [owner] * len(text.encode())
    text = "".join(text for text, _ in pieces)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    labels: list[int] = []
    place = 0
    for token, length in zip(ids, token_lengths(tokenizer, ids), strict=True):
        # A token that stands for nothing (the space that some tokenizers put before a text) is of where it stands.
        mine = owners[place : place + max(length, 1)]
        labels.append(token if everything or any(owner in learnt for owner in mine if owner is not None) else IGNORED)
        place += length
    assert place == len(owners), "the tokens do not stand for the whole text"
    return ids[:cutoff], labels[:cutoff]


def token_lengths(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """How many bytes of the text each token stands for, read off the tokens themselves."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values()}
    pieces = tokenizer.backend_tokenizer.model.byte_fallback  # as SentencePiece has it, with "▁" for a space
    lengths: list[int] = []
    fresh = True  # at the start and behind a special token, where such tokenizers add a space
    for token in tokenizer.convert_ids_to_tokens(ids):
        if token in special:
            lengths.append(len(token.encode()))
        elif not pieces:
            lengths.append(len(bytes(BYTE_OF[letter] for letter in token)))
        elif token.startswith("<0x"):
            lengths.append(1)
        else:
            lengths.append(len(token.replace("▁", " ").encode()) - fresh)
        fresh = token in special
    return lengths


def _letters_of_bytes() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for the letters from 256 on, in order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + number): byte for number, byte in enumerate(others)}


BYTE_OF = _letters_of_bytes()
