"""An Ollama Modelfile: the file, its stop words, and the chat template in Go's words where it can be said in them.

The Jinja template is rendered with marks in the place of contents; from what stands around them come the pieces of a Go
template. They are then put together for a longer conversation and must give what Jinja gives, else no template is
written: a wrong one makes a model babble.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.tasks.exporting.gguf_vocabulary import END_TOKENS, Vocabulary

LONGEST_CONTEXT = 8192  # tokens; Ollama reserves memory for all of it when it loads the model

Message = Mapping[str, str]
Render = Callable[[Sequence[Message], bool], str]


@dataclass(frozen=True)
class Pieces:
    """What stands before and after the content of each role, at the very beginning, and before an answer."""

    before: Mapping[str, str]
    after: Mapping[str, str]
    default: str  # in the place of a system message when there is none
    start: str
    answer: str

    def text(self, messages: Sequence[Message]) -> str:
        """A conversation put together, ready for an answer."""
        parts = [self.start]
        if messages[0]["role"] != "system":
            parts.append(self.default)
        parts += [f"{self.before[m['role']]}{m['content']}{self.after[m['role']]}" for m in messages]
        return "".join([*parts, self.answer])

    def go(self) -> str:
        """The same as a Go template."""
        turns = "{{ else }}".join(
            f'{{{{ if eq .Role "{role}" }}}}{self.before[role]}{{{{ .Content }}}}{self.after[role]}'
            for role in ("system", "user", "assistant")
        )
        # Each `else` holds the next `if`, so three `end` close the roles and one the loop.
        loop = f"{{{{ range .Messages }}}}{turns}{'{{ end }}' * 3}{{{{ end }}}}"
        default = ""
        if self.default:
            default = f'{{{{ if ne (index .Messages 0).Role "system" }}}}{self.default}{{{{ end }}}}'
        return f"{self.start}{default}{loop}{self.answer}"


def modelfile(name: str, template: str, words: Vocabulary, context: int) -> tuple[str, str]:
    """The text of the Modelfile for the file `name`, and what to say about it ("" for nothing)."""
    lines, note = [f"FROM ./{name}"], ""
    pieces = pieces_of(template, words) if template else None
    if pieces is not None:
        lines.append(f'TEMPLATE """{pieces.go()}"""')
    elif template:
        note = (
            "The Modelfile has no TEMPLATE: this chat template cannot be said in Ollama's words. Ollama may recognise "
            "the one inside the file; llama.cpp uses it as it is."
        )
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops(template, words)]
    lines.append(f"PARAMETER num_ctx {min(context, LONGEST_CONTEXT)}")
    return "\n".join(lines) + "\n", note


def stops(template: str, words: Vocabulary) -> list[str]:
    """Tokens at which an answer ends: those of the tokenizer and those that end a turn in the template."""
    found = [words.tokens[words.ids[name]] for name in ("eos", "eot") if name in words.ids]
    found += sorted(text for text in END_TOKENS if text in template and text in words.tokens)
    return list(dict.fromkeys(found))


def pieces_of(template: str, words: Vocabulary) -> Pieces | None:
    """The pieces of a template; None when turns depend on more than their role, or on Go's own signs."""
    import jinja2

    render = _renderer(template, words)
    try:
        found = _take_apart(render)
        longer = _conversation("system", "user", "assistant", "user", "assistant", "user")
        if found is None or any(found.text(talk) != render(talk, True) for talk in (longer, longer[1:])):
            return None
    except (jinja2.TemplateError, TypeError, ValueError, KeyError):
        return None
    bos = words.tokens[words.ids["bos"]] if words.add_bos and "bos" in words.ids else ""
    if bos and found.start.startswith(bos):  # llama.cpp puts it there itself
        found = Pieces(found.before, found.after, found.default, found.start.removeprefix(bos), found.answer)
    return None if "{{" in _literal(found) or "}}" in _literal(found) or '"""' in _literal(found) else found


def _literal(pieces: Pieces) -> str:
    return "\0".join([*pieces.before.values(), *pieces.after.values(), pieces.default, pieces.start, pieces.answer])


def _renderer(template: str, words: Vocabulary) -> Render:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(text: str) -> str:
        raise ValueError(text)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = datetime.datetime.now().strftime
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    compiled = environment.from_string(template)
    special: dict[str, Any] = {
        f"{name}_token": words.tokens[words.ids[name]] if name in words.ids else "" for name in ("bos", "eos", "unk")
    }

    def render(messages: Sequence[Message], prompt: bool) -> str:
        return compiled.render(messages=list(messages), add_generation_prompt=prompt, **special)

    return render


def _conversation(*roles: str) -> list[Message]:
    return [{"role": role, "content": f"⟦{role}{number}⟧"} for number, role in enumerate(roles)]


def _take_apart(render: Render) -> Pieces | None:
    """Pieces from four renderings; None when a content does not appear in them once."""
    full = _conversation("system", "user", "assistant", "user", "assistant")
    text = render(full, False)
    gaps: list[str] = []
    for message in full:
        before, mark, text = text.partition(message["content"])
        if not mark:
            return None
        gaps.append(before)
    tail = text
    # Between an answer and the next question stands the end of the one and the beginning of the other; the end is what
    # a conversation that stops after the answer has there.
    after_answer = tail
    if not gaps[3].startswith(after_answer):
        return None
    before_user = gaps[3].removeprefix(after_answer)
    if not gaps[1].endswith(before_user):
        return None
    after_system = gaps[1].removesuffix(before_user) if before_user else gaps[1]
    question = _conversation("user")
    asked, prompted = render(question, False), render(question, True)
    head, mark, after_user = asked.partition(question[0]["content"])
    if not mark or not prompted.startswith(asked) or not head.endswith(before_user):
        return None
    if not gaps[2].startswith(after_user):
        return None
    start, before_system = _beginning(gaps[0], head.removesuffix(before_user))
    return Pieces(
        before={"system": before_system, "user": before_user, "assistant": gaps[2].removeprefix(after_user)},
        after={"system": after_system, "user": after_user, "assistant": after_answer},
        default=head.removesuffix(before_user).removeprefix(start),
        start=start,
        answer=prompted.removeprefix(asked),
    )


def _beginning(with_system: str, without: str) -> tuple[str, str]:
    """What begins every conversation, and what then begins a system message."""
    if without and with_system.startswith(without):
        return without, with_system.removeprefix(without)
    return "", with_system
