"""What clients may ask, checked: the bodies of requests as types, with OpenAI's names."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from studio.data.examples import Message, ToolCall


class _Body(BaseModel):
    # Clients send fields that mean nothing here (user, store …); refusing them would lock them out.
    model_config = ConfigDict(extra="ignore")


class StreamOptions(_Body):
    """What a stream shall hold beside the text."""

    include_usage: bool = False


class SamplingBody(_Body):
    """The settings of drawing tokens, common to both kinds of completion."""

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=10)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0, le=10)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    n: int = Field(default=1, ge=1, le=64)
    special_tokens: bool = False


class TextPart(_Body):
    """A part of a message's content; only text can be read."""

    type: Literal["text"]
    text: str


class FunctionBody(_Body):
    """The call of one function; arguments as JSON text."""

    name: str
    arguments: str = "{}"


class CallBody(_Body):
    """One call of a tool."""

    id: str = ""
    function: FunctionBody


class MessageBody(_Body):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[CallBody] | None = None
    tool_call_id: str = ""

    def as_message(self) -> Message:
        """The turn as the trainer's code knows it."""
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        calls = tuple(ToolCall(call.function.name, call.function.arguments, call.id) for call in self.tool_calls or ())
        role = "system" if self.role == "developer" else self.role
        return Message(role, text, calls=calls, call_id=self.tool_call_id)


class ChatBody(SamplingBody):
    """The body of /v1/chat/completions."""

    messages: list[MessageBody] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)


class CompletionBody(SamplingBody):
    """The body of /v1/completions: text that is continued as it stands."""

    prompt: str
    logprobs: int | None = Field(default=None, ge=0, le=20)
