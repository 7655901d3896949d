"""A model's template laid open: typed turns as text and tokens, its marks, and where it goes wrong."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from studio.config.templates import TEMPLATE_NAMES
from studio.data.examples import DataError, Example, Message
from studio.tasks.desk import Desk, Opened, Seen
from studio.tasks.failures import TaskError
from studio.tasks.pieces import pieces_of
from studio.tasks.spans import Conversation
from studio.tasks.templates import choose_template, read_template
from studio.tasks.token_report import look, shown_pieces

# Words that no template writes by itself, so that they are found again in what it writes.
SYSTEM, QUESTION, ANSWER, NEXT = "Be brief, sys-1.", "What is it, ask-1?", "It is so, say-1.", "And then, ask-2?"
TOOL = {
    "type": "function",
    "function": {
        "name": "probe_tool_1",
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
    },
}
_MARKER = re.compile(r"<\|[^|<>\s]{1,40}\|>|</?[a-z_]{1,30}>|\[/?[A-Z_]{2,20}\]")
NEAR = 0.6  # two renderings alike to this degree belong to one family


def render(desk: Desk, body: Mapping[str, Any]) -> dict[str, Any]:
    """Typed turns as the model sees them, tokens as `token_report.look` gives them.

    `body`: config (a tree), messages (role and content), tools (JSON text, "" for none), prompt: whether what the
    model is given to answer is wanted, in place of the whole conversation with what is trained on. What the template
    refuses comes as `problem`.
    """
    seen = desk.seen({**body["config"], "stage": {"type": "sft"}})
    messages = tuple(Message(turn["role"], turn["content"]) for turn in body["messages"])
    try:
        if not body.get("prompt") and any(message.role == "assistant" for message in messages):
            return look(Example("typed", 1, messages, tools=body.get("tools") or ""), seen)
        conversation = Conversation(messages, seen.tokenizer, seen.template, body.get("tools") or "")
        text = conversation.render_turns(conversation.turns, prompt=bool(body.get("prompt")))
        return shown_pieces(pieces_of(seen.tokenizer, text), messages, text)
    except DataError as error:
        return {"problem": str(error)}


def check(desk: Desk, body: Mapping[str, Any]) -> dict[str, Any]:
    """The template's marks, the tokenizer's special tokens, and findings as codes with values. `body`: config."""
    seen = desk.seen({**body["config"], "stage": {"type": "sft"}})
    probe = Probe(seen.tokenizer, seen.template)
    name = seen.config.model.chat_template
    return {
        "model": seen.config.model.path,
        "template": name,
        "source": seen.template,
        "tokens": [
            {"name": word, "text": text, "id": seen.tokenizer.convert_tokens_to_ids(text)}
            for word in ("bos", "eos", "pad", "unk")
            if (text := getattr(seen.tokenizer, f"{word}_token", None))
        ],
        "stops": sorted(_stops(seen.opened)),
        "marks": probe.marks(),
        "findings": [*findings(probe, _stops(seen.opened)), *_others(seen, probe)],
    }


@dataclass(frozen=True)
class Probe:
    """A template tried on a small conversation."""

    tokenizer: Any
    template: str

    def text(self, *messages: Message, prompt: bool = False, tools: Sequence[Any] | None = None) -> str:
        """What the template writes. Raises DataError when it refuses."""
        conversation = Conversation(messages, self.tokenizer, self.template, json.dumps(tools) if tools else "")
        return conversation.render_turns(conversation.turns, prompt=prompt)

    def says(self, words: str, *messages: Message, tools: Sequence[Any] | None = None) -> bool:
        """Whether `words` stand in what the template writes; not where it refuses."""
        try:
            return words in self.text(*messages, tools=tools)
        except DataError:
            return False

    @cached_property
    def pair(self) -> str:
        """One question with its answer."""
        return self.text(Message("user", QUESTION), Message("assistant", ANSWER))

    @cached_property
    def has_system(self) -> bool:
        """Whether a system message is written out."""
        return self.says(SYSTEM, Message("system", SYSTEM), Message("user", QUESTION))

    @cached_property
    def closing(self) -> str:
        """The special token right behind the answer, "" for none."""
        behind = self.pair.partition(ANSWER)[2].lstrip()
        known = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        return max((token for token in known if token and behind.startswith(token)), key=len, default="")

    def marks(self) -> list[dict[str, str]]:
        """What stands before each turn, in order, and at the end: `role` and `text`; role prompt asks for an answer."""
        turns = [Message("user", QUESTION), Message("assistant", ANSWER), Message("user", NEXT)]
        if self.has_system:
            turns.insert(0, Message("system", SYSTEM))
        try:
            text, asking = self.text(*turns), self.text(*turns, prompt=True)
        except DataError:
            return []
        found: list[dict[str, str]] = []
        rest = text
        for turn in turns:
            before, there, behind = rest.partition(turn.content)
            if there:
                found.append({"role": turn.role, "text": before})
                rest = behind
        found.append({"role": "end", "text": rest})
        if asking.startswith(text):
            found.append({"role": "prompt", "text": asking[len(text) :]})
        return found


def findings(probe: Probe, stops: frozenset[int]) -> Iterator[dict[str, Any]]:
    """Where template and tokenizer disagree: a code, its level (fault, hint or note) and the values of its sentence.

    `stops` are the ids at which generation stops, as far as the model says.
    """
    try:
        text = probe.pair
    except DataError as error:
        yield _finding("refused", "fault", reason=str(error))
        return
    yield from _about_ends(probe, stops)
    yield from _about_beginnings(probe, text)
    if probe.tokenizer.pad_token_id == probe.tokenizer.eos_token_id:
        yield _finding("pad_is_eos", "note", pad=probe.tokenizer.pad_token)
    for marker in sorted(set(_MARKER.findall(text))):
        count = len(probe.tokenizer(marker, add_special_tokens=False)["input_ids"])
        if count > 1:
            yield _finding("split_marker", "hint", marker=marker, count=count)
    if not probe.has_system:
        yield _finding("no_system", "note")
    if not probe.says("probe_tool_1", Message("user", QUESTION), tools=[TOOL]):
        yield _finding("no_tools", "note")


def _about_ends(probe: Probe, stops: frozenset[int]) -> Iterator[dict[str, Any]]:
    eos, closing = probe.tokenizer.eos_token, probe.closing
    if not closing:
        yield _finding("unclosed", "hint", eos=eos)
    elif eos not in probe.pair:
        yield _finding("eos_never", "hint", eos=eos, closing=closing)
    ending = closing or eos
    if stops and probe.tokenizer.convert_tokens_to_ids(ending) not in stops:
        names = ", ".join(str(probe.tokenizer.convert_ids_to_tokens(token)) for token in sorted(stops))
        yield _finding("no_stop", "fault", closing=ending, stops=names)


def _about_beginnings(probe: Probe, text: str) -> Iterator[dict[str, Any]]:
    bos, token = probe.tokenizer.bos_token, probe.tokenizer.bos_token_id
    if bos is None:
        return
    ids = probe.tokenizer(text, add_special_tokens=False)["input_ids"]
    own = probe.tokenizer("a")["input_ids"]
    if ids[:2] == [token, token]:
        yield _finding("double_bos", "fault", bos=bos)
    elif own[:1] == [token] and ids[:1] == [token]:
        yield _finding("bos_elsewhere", "hint", bos=bos)
    elif own[:1] == [token]:
        yield _finding("no_bos", "hint", bos=bos)


def _others(seen: Seen, probe: Probe) -> Iterator[dict[str, Any]]:
    """How the template differs from the tokenizer's own or, where it is that one, from the nearest that is shipped."""
    name = seen.config.model.chat_template
    mine = _sample(probe)
    if not mine:
        return
    if name != "auto":
        try:
            own = _sample(Probe(seen.tokenizer, choose_template("auto", seen.tokenizer)))
        except TaskError:
            yield _finding("no_own", "hint", name=name)
            return
        yield _compared("own", name, own, mine)
        return
    others = {other: _sample(Probe(seen.tokenizer, read_template(other))) for other in TEMPLATE_NAMES}
    if same := [other for other, text in others.items() if text == mine]:
        yield _finding("same_shipped", "fine", name=same[0])
        return
    alike = {other: difflib.SequenceMatcher(None, mine, text).ratio() for other, text in others.items()}
    nearest = max(alike, key=lambda other: alike[other])
    if alike[nearest] >= NEAR:
        yield _compared("shipped", nearest, mine, others[nearest])


def _sample(probe: Probe) -> str:
    """Two rounds without a system message, and one with; a round that is refused is left out."""
    turns = (Message("user", QUESTION), Message("assistant", ANSWER), Message("user", NEXT))
    texts: list[str] = []
    for messages in (turns, (Message("system", SYSTEM), *turns)):
        try:
            texts.append(probe.text(*messages, prompt=True))
        except DataError:
            texts.append("")
    return "\n\n".join(texts) if any(texts) else ""


def _compared(code: str, name: str, old: str, new: str) -> dict[str, Any]:
    if old == new:
        return _finding(f"same_{code}", "fine", name=name)
    lines = [
        [line[0], line[2:]]
        for line in difflib.ndiff(old.splitlines(keepends=True), new.splitlines(keepends=True))
        if line[0] in "+- "
    ]
    return {**_finding(f"differs_{code}", "hint" if code == "own" else "note", name=name), "diff": lines}


def _finding(code: str, level: str, **values: Any) -> dict[str, Any]:
    return {"code": code, "level": level, "values": values}


def _stops(opened: Opened) -> frozenset[int]:
    """The ids at which the model's own settings stop an answer; none where they are not to be had."""
    path = Path(opened.source) / "generation_config.json"
    if not Path(opened.source).is_dir():
        from transformers.utils.hub import cached_file  # pyright: ignore[reportUnknownVariableType]

        found = cached_file(
            opened.source,
            path.name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        path = Path(found) if found else path
    try:
        eos = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
    except (OSError, ValueError):
        return frozenset()
    return frozenset([eos] if isinstance(eos, int) else eos or [])
