"""Asking an endpoint of OpenAI's chat completions: what is repeated, how long is waited, what is given up."""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from studio.config.generate import EndpointConfig
from studio.runs.environment import mask_secrets
from studio.tasks.failures import TaskError

LONGEST_WAIT_SECONDS = 60.0
LONGEST_ASKED_WAIT_SECONDS = 600.0
"""The longest Retry-After that is waited for."""

CONNECT_SECONDS = 15.0
LOOK_SECONDS = 0.2
ANSWERS_SHOWN = 300  # characters of a refusal that a message shows

Message = Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """What the model said, and what it cost in tokens; `counted` says whether the server told."""

    text: str
    tokens_in: int
    tokens_out: int
    counted: bool


class Refused(Exception):
    """The endpoint does not want this one request (too long, or against its rules); others may pass."""


class Unreachable(Exception):
    """The endpoint was busy, failing or silent, through all repeats."""


class _Passing(Exception):
    """A failure that may be gone next time. `wait` are the seconds that the endpoint asks for."""

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class Endpoint:
    """One server. `tell` hears why a repeat is waited for, `leave` ends the waiting; a `key` of None sends none."""

    def __init__(
        self, config: EndpointConfig, key: str | None, tell: Callable[[str], None], leave: Callable[[], bool]
    ) -> None:
        self._config, self._key, self._tell, self._leave = config, key, tell, leave
        self._url = f"{config.base_url.rstrip('/')}/chat/completions"
        self._not_before = 0.0  # time.monotonic() seconds: a busy endpoint is left alone by all
        self._limit_name = "max_tokens"
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(config.timeout, connect=min(CONNECT_SECONDS, config.timeout), pool=None),
            limits=httpx.Limits(max_connections=config.concurrency),
            follow_redirects=False,  # the key is for this address alone
        )
        self._jitter = random.Random()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def ask(self, messages: Sequence[Message]) -> Reply:
        """The model's answer to a conversation.

        Raises Unreachable when repeating did not help, Refused for a request that the endpoint does not take, and
        TaskError for what no request could pass: a wrong key, address or model, or no credit.
        """
        attempt = 0
        while True:
            await self._pause(self._not_before)
            try:
                return await self._once(messages)
            except _Passing as error:
                if attempt >= self._config.retries:
                    raise Unreachable(str(error)) from None
                await self._wait(error, attempt)
                attempt += 1

    async def _wait(self, error: _Passing, attempt: int) -> None:
        """Twice as long each time, by chance between half and all of it, so that requests do not come back at once."""
        pause = min(LONGEST_WAIT_SECONDS, self._config.backoff * 2**attempt) * self._jitter.uniform(0.5, 1)
        if error.wait is not None:
            pause = max(pause, min(error.wait, LONGEST_ASKED_WAIT_SECONDS))
            self._not_before = max(self._not_before, time.monotonic() + pause)
        self._tell(f"{error} Asking again in {pause:.0f} s." if pause >= 1 else f"{error} Asking again.")
        await self._pause(time.monotonic() + pause)

    async def _pause(self, until: float) -> None:
        """Wait until that time.monotonic(). Raises Unreachable when it is not worth waiting any more."""
        while (left := until - time.monotonic()) > 0:
            if self._leave():
                raise Unreachable("it was stopped while it waited.")
            await asyncio.sleep(min(left, LOOK_SECONDS))

    async def _once(self, messages: Sequence[Message]) -> Reply:
        """One try. The timeout holds for the whole answer: a server that drips byte by byte is silent too."""
        config = self._config
        body: dict[str, Any] = {"model": config.model, "messages": list(messages), self._limit_name: config.max_tokens}
        if config.temperature is not None:
            body["temperature"] = config.temperature
        try:
            async with asyncio.timeout(config.timeout):
                response = await self._client.post(self._url, json={**body, **config.further})
        except (TimeoutError, httpx.TimeoutException):
            raise _Passing(f"{self.host} did not answer within {config.timeout:g} s.") from None
        except httpx.TransportError as error:
            raise _Passing(
                f"{self.host} cannot be reached ({type(error).__name__}: {self.masked(str(error))})."
            ) from None
        except (httpx.InvalidURL, UnicodeError) as error:
            raise TaskError(
                "endpoint", f"{config.base_url} is no address: {error}.", "Correct endpoint.base_url."
            ) from None
        if response.status_code == 200:
            return self._reply(response, messages)
        raise self._refusal(response)

    @property
    def host(self) -> str:
        """The endpoint as messages name it."""
        return urlsplit(self._config.base_url).netloc

    def masked(self, text: str) -> str:
        """`text` without the key: some servers repeat it in what they say."""
        return mask_secrets(text, {"ENDPOINT_KEY": self._key or ""})

    def _reply(self, response: httpx.Response, messages: Sequence[Message]) -> Reply:
        try:
            tree = response.json()
            choice = tree["choices"][0]
            text = choice["message"].get("content") or ""
            tokens = _tokens(tree.get("usage"))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            shown = self._shown(response)
            raise _Passing(f"{self.host} answered something else than a chat completion: {shown}") from None
        if not isinstance(text, str):
            raise _Passing(f"{self.host} answered something else than text.")
        # Four characters a token is usual for English; said in a notice.
        guessed = sum(len(message["content"]) for message in messages) // 4, len(text) // 4
        tokens_in, tokens_out = tokens or guessed
        return Reply(self.masked(text), tokens_in, tokens_out, tokens is not None)

    def _refusal(self, response: httpx.Response) -> Exception:
        """What another status than 200 means: to be repeated, for this request alone, or for all."""
        status, shown = response.status_code, self._shown(response)
        said = f"{self.host} answered {status} {response.reason_phrase}: {shown}"
        if status == 429 and "insufficient_quota" in response.text:
            return TaskError("endpoint", said, "The account has no credit left. Add some, then resume the run.")
        if status in (408, 409, 425, 429) or status >= 500:
            return _Passing(said, _asked_wait(response.headers.get("retry-after")))
        if status == 400 and self._limit_name == "max_tokens" and "max_completion_tokens" in response.text:
            self._limit_name = "max_completion_tokens"  # newer models of OpenAI know it by this name alone
            return _Passing(said, 0.0)
        advice = _ADVICE.get(status)
        if advice is None and 300 <= status < 400:
            advice = "It sends elsewhere, which is not followed with a key. Correct endpoint.base_url."
        return TaskError("endpoint", said, advice) if advice else Refused(said)

    def _shown(self, response: httpx.Response) -> str:
        """What a refusal says, masked and short: its own message where there is one."""
        text = response.text
        try:
            error = json.loads(text)["error"]
            text = str(error["message"]) if isinstance(error, dict) else str(error)
        except (ValueError, KeyError, TypeError):
            pass
        return " ".join(self.masked(text).split())[:ANSWERS_SHOWN] or "(nothing)"


_ADVICE: Mapping[int, str] = {
    401: "The key is missing or wrong. Set the variable that endpoint.key_variable names, then resume the run.",
    402: "The account has no credit left. Add some, then resume the run.",
    403: "The key may not use this model. Choose another model, or a key that may.",
    404: "Check endpoint.model, and that endpoint.base_url goes up to /v1.",
    405: "This is no address of chat completions. Check that endpoint.base_url goes up to /v1.",
    410: "The model is gone. Choose another one in endpoint.model.",
}


def _tokens(usage: Any) -> tuple[int, int] | None:
    """Tokens read and written, as the server counts them; None when it does not."""
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else []
    whole = [count for count in counts if isinstance(count, int) and not isinstance(count, bool)]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _asked_wait(header: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, given as a number or as a date; None when there is none."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
