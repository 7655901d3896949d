"""The OpenAI-compatible API over a served model, and three questions of Studio's own page."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse

from studio.tasks.serving.answer import Piece
from studio.tasks.serving.questions import ChatBody, CompletionBody, SamplingBody
from studio.tasks.serving.served import BadQuestion, Served
from studio.tasks.serving.tool_calls import find_calls

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
GONE_SECONDS = 0.5  # how often a client that waits for a whole answer is looked after


def make_api(served: Served, key: str, *, loopback: bool) -> FastAPI:
    """The application. With `loopback` it answers only to this machine's own names and to no other site's page."""
    api = FastAPI(title="Studio", docs_url=None, redoc_url=None, openapi_url=None)

    @api.middleware("http")
    async def guard(request: Request, forward: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = refuse(request, key, loopback=loopback)
        return refusal or await forward(request)

    @api.exception_handler(BadQuestion)
    async def bad(_request: Request, error: BadQuestion) -> JSONResponse:
        return problem(str(error), error.status)

    @api.exception_handler(RequestValidationError)
    async def misshapen(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem(f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}", 400)

    @api.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok" if served.engine.alive else "dead", **served.engine.load}

    @api.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": n, "object": "model", "owned_by": "studio"} for n in served.names]}

    @api.post("/v1/chat/completions")
    async def chat(body: ChatBody, request: Request) -> Response:
        offered = None if body.tool_choice == "none" else body.tools
        text = served.prompt_text([message.as_message() for message in body.messages], offered)
        ids = served.ids(text, rendered=True)
        wanted = (body.top_logprobs or 0) if body.logprobs else None
        return await _respond(served, body, ids, wanted, request, Chat(served, tools=bool(offered)))

    @api.post("/v1/completions")
    async def complete(body: CompletionBody, request: Request) -> Response:
        ids = served.ids(body.prompt, rendered=False)
        return await _respond(served, body, ids, body.logprobs, request, Plain(served))

    @api.post("/studio/prompt")
    async def prompt(body: ChatBody) -> dict[str, Any]:
        """The conversation as text and tokens, up to where the answer would begin."""
        text = served.prompt_text([message.as_message() for message in body.messages], body.tools)
        ids = served.ids(text, rendered=True)
        return {"text": text, "tokens": [[token, served.tokenizer.decode([token])] for token in ids]}

    @api.post("/studio/difference")
    async def difference(body: ChatBody) -> dict[str, Any]:
        """How far each model's next token is from the base's: proof that an adapter is active."""
        ids = served.ids(served.prompt_text([m.as_message() for m in body.messages], body.tools), rendered=True)
        return await asyncio.to_thread(_differences, served, ids)

    return api


def refuse(request: Request, key: str, *, loopback: bool) -> JSONResponse | None:
    """The answer to a request that may not pass, None when it may."""
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    origin = request.headers.get("origin")
    if loopback and host not in LOOPBACK:
        return problem(f"This server answers to 127.0.0.1 only, not to {host!r}.", 403)
    if loopback and origin and origin.partition("://")[2].rpartition(":")[0] not in LOOPBACK:
        return problem(f"Pages of {origin} may not ask this server.", 403)
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if key and request.url.path != "/health" and not hmac.compare_digest(given.encode(), key.encode()):
        return problem("The key is missing or wrong. Send it as: Authorization: Bearer KEY.", 401)
    return None


def problem(text: str, status: int) -> JSONResponse:
    """An error in OpenAI's form."""
    kind = {401: "authentication_error", 404: "not_found_error", 503: "server_error"}.get(status)
    return JSONResponse({"error": {"message": text, "type": kind or "invalid_request_error", "code": status}}, status)


class Chat:
    """How pieces of a chat answer are worded."""

    kind, chunk = "chat.completion", "chat.completion.chunk"

    def __init__(self, served: Served, *, tools: bool) -> None:
        self._served, self._tools = served, tools

    def part(self, piece: Piece, first: bool) -> dict[str, Any]:
        """What a stream says of one piece."""
        delta = {**({"role": "assistant"} if first else {}), **({"content": piece.text} if piece.text else {})}
        return {"delta": delta, "logprobs": self.logprobs([piece])}

    def whole(self, text: str, pieces: Sequence[Piece]) -> dict[str, Any]:
        """A finished answer; calls of tools are told apart when tools were offered."""
        said, calls = find_calls(text) if self._tools else (text, [])
        message: dict[str, Any] = {"role": "assistant", "content": said if said or not calls else None}
        if calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{uuid.uuid4().hex[:12]}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in calls
            ]
        return {"message": message, "logprobs": self.logprobs(pieces)}

    @property
    def holds_back(self) -> bool:
        """Whether the text is told only at its end, since it may turn out to be a call."""
        return self._tools

    def logprobs(self, pieces: Sequence[Piece]) -> dict[str, Any] | None:
        """The tokens with their log probabilities, if they were asked for."""
        known = [piece for piece in pieces if piece.logprob is not None and piece.token is not None]
        if not known:
            return None
        return {
            "content": [
                {
                    **self._token(piece.token or 0, piece.logprob or 0.0),
                    "top_logprobs": [self._token(token, value) for token, value in piece.likeliest],
                }
                for piece in known
            ]
        }

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._served.tokenizer.decode([token])
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


class Plain:
    """How pieces of continued text are worded."""

    kind = chunk = "text_completion"
    holds_back = False

    def __init__(self, served: Served) -> None:
        self._served = served

    def part(self, piece: Piece, first: bool) -> dict[str, Any]:
        """What a stream says of one piece."""
        return {"text": piece.text, "logprobs": self.logprobs([piece])}

    def whole(self, text: str, pieces: Sequence[Piece]) -> dict[str, Any]:
        """A finished text."""
        return {"text": text, "logprobs": self.logprobs(pieces)}

    def logprobs(self, pieces: Sequence[Piece]) -> dict[str, Any] | None:
        """The tokens with their log probabilities, in the older form."""
        known = [piece for piece in pieces if piece.logprob is not None and piece.token is not None]
        if not known:
            return None
        decode = self._served.tokenizer.decode
        return {
            "tokens": [decode([piece.token]) for piece in known],
            "token_logprobs": [piece.logprob for piece in known],
            "top_logprobs": [{decode([token]): value for token, value in piece.likeliest} for piece in known],
        }


async def _respond(
    served: Served, body: SamplingBody, ids: list[int], logprobs: int | None, request: Request, form: Chat | Plain
) -> Response:
    adapter = served.adapter(body.model)
    samplings = [served.sampling(body, ids, logprobs, index) for index in range(body.n)]
    head = {
        "id": f"studio-{uuid.uuid4().hex[:16]}",
        "created": int(time.time()),
        "model": body.model or next(iter(served.names)),
    }
    pieces = served.answers(ids, adapter, samplings)
    if body.stream:
        return StreamingResponse(_streamed(pieces, body, head, len(ids), form), media_type="text/event-stream")
    said: list[list[Piece]] = [[] for _ in samplings]
    async with pieces as stream:
        reading = asyncio.ensure_future(_collect(stream, said))
        while not (await asyncio.wait({reading}, timeout=GONE_SECONDS))[0]:
            if await request.is_disconnected():
                reading.cancel()
                return Response(status_code=499)
        reading.result()
    failed = next((piece.error for own in said for piece in own if piece.end == "error"), None)
    if failed is not None:
        return problem(f"The answer was broken off: {failed}", 503)
    choices = [{"index": index, **_ended(own, form)} for index, own in enumerate(said)]
    return JSONResponse({**head, "object": form.kind, "choices": choices, "usage": _usage(len(ids), said)})


async def _collect(stream: AsyncIterator[tuple[int, Piece]], said: list[list[Piece]]) -> None:
    async for index, piece in stream:
        said[index].append(piece)


def _ended(own: Sequence[Piece], form: Chat | Plain) -> dict[str, Any]:
    choice = form.whole("".join(piece.text for piece in own), own)
    called = bool(choice.get("message", {}).get("tool_calls"))
    return {**choice, "finish_reason": "tool_calls" if called else own[-1].end}


def _usage(prompt: int, said: Sequence[Sequence[Piece]]) -> dict[str, int]:
    made = sum(piece.token is not None for own in said for piece in own)
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


async def _streamed(
    answers: Any, body: SamplingBody, head: dict[str, Any], prompt: int, form: Chat | Plain
) -> AsyncIterator[str]:
    """Server-sent events. When the client goes away this is cancelled, and the answers with it."""
    said: list[list[Piece]] = [[] for _ in range(body.n)]
    async with answers as stream:
        async for index, piece in stream:
            said[index].append(piece)
            if piece.end == "error":
                yield _event({"error": {"message": f"The answer was broken off: {piece.error}", "code": 503}})
                continue
            reason = piece.end
            if form.holds_back:
                if reason is None:
                    continue
                choice = _whole_as_part(_ended(said[index], form))
                reason = choice.pop("finish_reason")
            else:
                choice = form.part(piece, first=len(said[index]) == 1)
            yield _event(
                {**head, "object": form.chunk, "choices": [{"index": index, **choice, "finish_reason": reason}]}
            )
    if body.stream_options.include_usage:
        yield _event({**head, "object": form.chunk, "choices": [], "usage": _usage(prompt, said)})
    yield "data: [DONE]\n\n"


def _whole_as_part(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.pop("message")
    for place, call in enumerate(message.get("tool_calls", ())):
        call["index"] = place
    return {"delta": message, **choice}


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _differences(served: Served, ids: list[int]) -> dict[str, Any]:
    base = served.engine.next_logits(ids, None).log_softmax(-1)
    found: dict[str, Any] = {}
    for name, adapter in served.names.items():
        own = served.engine.next_logits(ids, adapter).log_softmax(-1)
        # Kullback-Leibler divergence of the base's next token from this model's, in nats.
        found[name] = {
            "divergence": float((own.exp() * (own - base)).sum()),
            "largest": float((own - base).abs().max()),
            "next": served.tokenizer.decode([int(own.argmax())]),
        }
    return found
