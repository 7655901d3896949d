"""The official client talks to the server: names, streams, tools, usage, keys, and clients that go away."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow
openai = pytest.importorskip("openai")

QUESTION = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    return openai.OpenAI(base_url=server.url, api_key=server.key, max_retries=0)


def settled(server: Any) -> bool:
    return httpx.get(server.url.removesuffix("/v1") + "/health").json()["decoding"] == 0


def wait_until_settled(server: Any) -> None:
    deadline = time.monotonic() + 20
    while not settled(server):
        assert time.monotonic() < deadline, "an answer is still being decoded"
        time.sleep(0.02)


def test_the_base_and_its_adapters_are_there_under_their_names_and_answer_differently(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["tiny", "one", "two"]
    said = {name: client.chat.completions.create(model=name, messages=QUESTION, temperature=0, max_tokens=20)
            for name in names}  # fmt: skip
    assert len({answer.choices[0].message.content for answer in said.values()}) == 3
    usage = said["one"].usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 1 <= usage.completion_tokens <= 20
    with pytest.raises(openai.NotFoundError, match="There are: tiny, one, two"):
        client.chat.completions.create(model="three", messages=QUESTION)


def test_a_stream_holds_the_same_text_as_the_whole_answer(client: Any) -> None:
    whole = client.chat.completions.create(model="two", messages=QUESTION, temperature=0, max_tokens=25)
    chunks = list(client.chat.completions.create(
        model="two", messages=QUESTION, temperature=0, max_tokens=25, stream=True,
        stream_options={"include_usage": True}))  # fmt: skip
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_several_answers_of_one_seed_differ_and_come_again(client: Any) -> None:
    def ask() -> list[str]:
        made = client.chat.completions.create(model="one", messages=QUESTION, n=3, seed=4, max_tokens=12)
        return [choice.message.content for choice in made.choices]

    first = ask()
    assert len(set(first)) == 3
    assert ask() == first


def test_log_probabilities_stop_words_and_plain_completions(client: Any) -> None:
    made = client.chat.completions.create(
        model="tiny", messages=QUESTION, temperature=0, max_tokens=5, logprobs=True, top_logprobs=2)  # fmt: skip
    listed = made.choices[0].logprobs.content
    assert len(listed) == made.usage.completion_tokens
    assert listed[0].logprob == pytest.approx(listed[0].top_logprobs[0].logprob)
    continued = client.completions.create(model="tiny", prompt="Who are", temperature=0, max_tokens=6, logprobs=1)
    assert len(continued.choices[0].logprobs.tokens) == continued.usage.completion_tokens
    text = continued.choices[0].text
    stopped = client.completions.create(model="tiny", prompt="Who are", temperature=0, max_tokens=6, stop=text[2])
    assert stopped.choices[0].text == text[: text.index(text[2])]


def test_a_client_that_goes_away_stops_its_answer(client: Any, server: Any) -> None:
    stream = client.chat.completions.create(
        model="tiny", messages=QUESTION, max_tokens=200, n=4, stream=True, temperature=2.0)  # fmt: skip
    next(iter(stream))
    stream.close()
    wait_until_settled(server)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.url + "/chat/completions", timeout=0.05, headers={"Authorization": f"Bearer {server.key}"},
                   json={"model": "tiny", "messages": QUESTION, "max_tokens": 200, "n": 40})  # fmt: skip
    wait_until_settled(server)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Host": "evil.example:80"}, 403),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
def test_strangers_are_turned_away(server: Any, headers: dict[str, str], status: int) -> None:
    allowed = {"Authorization": f"Bearer {server.key}"} if status == 403 else {}
    answer = httpx.get(server.url + "/models", headers={**allowed, **headers})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"messages": []}, "messages"),
        ({"messages": QUESTION, "temperature": -1}, "temperature"),
        ({"messages": [{"role": "user", "content": "x " * 400}]}, "tokens, and this model takes 256"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"messages": QUESTION, "tools": [{"type": "function", "function": {"name": "f"}}]}, "leaves out the tool f"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(server: Any, body: dict[str, Any], said: str) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    answer = httpx.post(server.url + "/chat/completions", json={"model": "tiny", **body}, headers=headers)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_the_page_learns_the_prompt_and_that_an_adapter_is_active(server: Any) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    address, body = server.url.removesuffix("/v1"), {"messages": QUESTION}
    prompt = httpx.post(f"{address}/studio/prompt", json=body, headers=headers).json()
    assert prompt["text"] == "<|im_start|>user\nWho are you?<|im_end|><|im_start|>assistant\n"
    assert "".join(text for _, text in prompt["tokens"]) == prompt["text"]
    found = httpx.post(f"{address}/studio/difference", json=body, headers=headers).json()
    assert found["tiny"]["divergence"] == 0
    assert found["one"]["divergence"] > 0.01 < found["two"]["divergence"]


def test_calls_are_told_apart_from_words() -> None:
    from studio.tasks.serving.tool_calls import find_calls

    call = {"name": "weather", "arguments": {"city": "Köln"}}
    hermes = f"Let me look.\n<tool_call>\n{json.dumps(call)}\n</tool_call>"
    llama = json.dumps({"name": "weather", "parameters": {"city": "Köln"}})
    mistral = f"[TOOL_CALLS] [{json.dumps(call)}, {json.dumps(call)}]"
    for text, said, count in ((hermes, "Let me look.", 1), (llama, "", 1), (mistral, "", 2)):
        words, calls = find_calls(text)
        assert (words, len(calls)) == (said, count)
        assert json.loads(calls[0].arguments) == {"city": "Köln"}
    for text in ("Nothing to call.", '{"name": 3}', "<tool_call>{broken}</tool_call>", '{"a": 1}', "[1, 2]"):
        assert find_calls(text) == (text, [])
