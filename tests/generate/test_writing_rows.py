"""A job asks, repeats, mends, counts and goes on, against an endpoint that misbehaves as it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from studio.data.generated import FILE
from studio.runs.metrics import MetricsLog
from studio.tasks.failures import TaskError
from studio.tasks.generating.client import _asked_wait  # pyright: ignore[reportPrivateUsage]
from studio.tasks.stopping import StopFlag
from tests.fake_endpoint import Asked, FakeEndpoint
from tests.generate.conftest import KEY, Study


def once(**behaviours: str) -> Callable[[Asked], str]:
    """A plan: the n-th request gets `_n`, every other a good answer."""
    return lambda asked: behaviours.get(f"_{asked.number}", "rows")


def one_at_a_time(**more: Any) -> dict[str, Any]:
    return {"concurrency": 1, **more}


@pytest.mark.parametrize("target", ["question_answer", "dialogue", "preference"])
def test_every_kind_of_row_is_made_from_documents(study: Study, target: str) -> None:
    with FakeEndpoint() as endpoint:
        source = {"type": "documents", "paths": ["docs"], "chunk_size": 400, "overlap": 0}
        study.here(endpoint, source=source, target={"type": target}, rows={"count": 8})
    rows = study.generated.rows
    assert len(rows) == 8
    roles = [role for role, _ in rows[0].messages]
    assert roles == {"question_answer": ["user", "assistant"], "dialogue": ["user", "assistant"] * 2,
                     "preference": ["user"]}[target]  # fmt: skip
    assert bool(rows[0].chosen and rows[0].rejected) == (target == "preference")
    first = study.generated.finished[0]
    assert first.origin.startswith("docs/rivers.md, passage ") and first.passage in endpoint.requests[0].prompt


def test_the_count_is_exact_and_no_more_is_asked_than_needed(study: Study) -> None:
    with FakeEndpoint() as endpoint:
        study.here(endpoint, rows={"count": 10, "per_request": 3}, endpoint=one_at_a_time())
    assert [len(finished.rows) for finished in study.generated.finished] == [3, 3, 3, 1]
    assert "Write 1 rows" in endpoint.requests[-1].prompt


def test_documents_are_asked_about_once_and_then_it_ends(study: Study) -> None:
    with FakeEndpoint() as endpoint:
        source = {"type": "documents", "paths": ["docs/rivers.md"], "chunk_size": 1000, "overlap": 0}
        assert study.here(endpoint, source=source, rows={"count": 1000}) == 0
    passages = {finished.passage for finished in study.generated.finished}
    assert len(endpoint.requests) == len(passages) and set(endpoint.prompts().values()) == {1}
    assert any("no more to ask" in notice for notice in study.status.notices)


def test_no_more_requests_are_under_way_than_allowed(study: Study) -> None:
    with FakeEndpoint(delay_seconds=0.03) as endpoint:
        study.here(endpoint, rows={"count": 40, "per_request": 1}, endpoint={"concurrency": 3})
    assert endpoint.most_at_once == 3


@pytest.mark.parametrize("trouble", ["500", "503", "429", "hang up", "html", "429 after 0.1"])
def test_what_may_pass_is_asked_again(study: Study, trouble: str) -> None:
    with FakeEndpoint(once(_1=trouble, _2=trouble, _4=trouble)) as endpoint:
        study.here(endpoint, rows={"count": 6}, endpoint=one_at_a_time())
    assert len(study.generated.rows) == 6 and not study.generated.failures
    assert len(endpoint.requests) == 5 and sorted(endpoint.prompts().values()) == [2, 3]


def test_a_silent_endpoint_is_asked_again_after_the_timeout(study: Study) -> None:
    with FakeEndpoint(once(_1="stall")) as endpoint:
        study.here(endpoint, rows={"count": 3}, endpoint=one_at_a_time(timeout=0.2))
    assert len(study.generated.rows) == 3 and len(endpoint.requests) == 2


def test_a_busy_endpoint_is_left_alone_by_all_for_as_long_as_it_asks(study: Study) -> None:
    times: list[float] = []

    def plan(asked: Asked) -> str:
        times.append(time.monotonic())
        return "429 after 0.6" if asked.number == 1 else "rows"

    with FakeEndpoint(plan, delay_seconds=0.0) as endpoint:
        study.here(endpoint, rows={"count": 9, "per_request": 1}, endpoint={"concurrency": 2})
    waited = [moment for moment in times[1:] if moment - times[0] < 0.55]
    assert len(waited) <= 2, "only what was under way already may arrive before"
    assert len(study.generated.rows) == 9


def test_a_stop_does_not_wait_for_an_endpoint_that_is_waited_for(study: Study) -> None:
    stop = StopFlag()

    def plan(asked: Asked) -> str:
        stop.requested = asked.number == 2
        return "rows" if asked.number == 1 else "429 after 300"

    with FakeEndpoint(plan) as endpoint:
        began = time.monotonic()
        assert study.here(endpoint, stop, endpoint=one_at_a_time()) == 10
        assert time.monotonic() - began < 10
        assert len(study.generated.rows) == 3 and study.status.phase == "stopped"
        endpoint.plan = lambda asked: "rows"
        assert study.here(endpoint) == 0
    assert len(study.generated.rows) == 12


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    assert _asked_wait("7") == 7.0
    assert _asked_wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert _asked_wait("Wed, 21 Oct 2115 07:28:00 GMT") or 0 > 1e6
    assert _asked_wait("soon") is None and _asked_wait(None) is None


@pytest.mark.parametrize("mended", ["prose", "commas", "uncounted"])
def test_answers_that_can_be_mended_cost_no_second_request(study: Study, mended: str) -> None:
    with FakeEndpoint(lambda asked: mended) as endpoint:
        study.here(endpoint, rows={"count": 6})
    assert len(study.generated.rows) == 6 and len(endpoint.requests) == 2
    guessed = any("does not count tokens" in notice for notice in study.status.notices)
    assert guessed == (mended == "uncounted") and study.generated.total("tokens_out") > 50


@pytest.mark.parametrize("nonsense", ["nonsense", "wrong schema", ""])
def test_an_answer_without_rows_is_asked_for_once_more_with_the_reason(study: Study, nonsense: str) -> None:
    with FakeEndpoint(lambda asked: "rows" if asked.is_second_try else nonsense) as endpoint:
        study.here(endpoint, rows={"count": 3})
    assert len(study.generated.rows) == 3 and len(endpoint.requests) == 2
    assert endpoint.requests[1].last.startswith("That cannot be used: ")
    first, second = (len(asked.prompt) // 4 for asked in endpoint.requests)
    assert study.generated.total("tokens_in") == first + second, "both requests are counted"


def test_a_request_that_fails_twice_is_counted_and_its_words_are_kept(study: Study) -> None:
    def plan(asked: Asked) -> str:
        return "nonsense" if asked.prompt == endpoint.requests[0].prompt else "rows"

    with FakeEndpoint(plan) as endpoint:
        study.here(endpoint, rows={"count": 6}, endpoint=one_at_a_time())
    (failed,) = study.generated.failures
    assert failed.raw == "I would rather talk about the weather." and "no JSON" in failed.failure
    assert len(study.generated.rows) == 6 and "1 request without a row" in study.status.message


def test_a_cut_answer_gives_its_whole_rows(study: Study) -> None:
    with FakeEndpoint(lambda asked: "cut" if asked.number == 1 else "rows") as endpoint:
        study.here(endpoint, rows={"count": 6}, endpoint=one_at_a_time())
    first = study.generated.finished[0]
    assert 0 < len(first.rows) < 3 and first.raw
    assert len(study.generated.rows) == 6 and len(endpoint.requests) == 3


def test_rows_that_were_there_before_are_left_out_and_the_job_ends(study: Study) -> None:
    with FakeEndpoint(lambda asked: "duplicates") as endpoint:
        assert study.here(endpoint, rows={"count": 6, "per_request": 2, "most_requests": 7}) == 0
    assert len(study.generated.rows) == 2 and study.generated.total("alike") == 12
    assert len(endpoint.requests) == 7
    assert any("7 requests brought 2 of 6 rows" in notice for notice in study.status.notices)


def test_seed_tasks_are_not_written_again(study: Study) -> None:
    copied = json.dumps({"rows": [{"question": "WHO are you", "answer": "A copy."}]})
    with FakeEndpoint(once(_1=copied)) as endpoint:
        study.here(endpoint, rows={"count": 3}, endpoint=one_at_a_time())
    assert study.generated.finished[0].alike == 1 and len(study.generated.rows) == 3


def test_nothing_but_nonsense_ends_the_job_with_the_reason(study: Study) -> None:
    with FakeEndpoint(lambda asked: "nonsense") as endpoint, pytest.raises(TaskError, match="10 requests in a row"):
        study.here(endpoint, rows={"count": 100}, endpoint=one_at_a_time())
    assert len(endpoint.requests) == 20


def test_a_request_that_alone_is_refused_does_not_end_the_job(study: Study) -> None:
    with FakeEndpoint(once(_2="400")) as endpoint:
        study.here(endpoint, rows={"count": 9}, endpoint=one_at_a_time())
    (failed,) = study.generated.failures
    assert "answered 400" in failed.failure and len(study.generated.rows) == 9 and len(endpoint.requests) == 4


def test_a_request_that_alone_fails_for_ever_gets_two_chances(study: Study) -> None:
    def plan(asked: Asked) -> str:
        return "500" if len(endpoint.requests) > 1 and asked.prompt == endpoint.requests[1].prompt else "rows"

    with FakeEndpoint(plan) as endpoint:
        source = {"type": "documents", "paths": ["docs"], "chunk_size": 1000, "overlap": 0}
        study.here(endpoint, source=source, rows={"count": 100}, endpoint=one_at_a_time(retries=1))
    (failed,) = study.generated.failures
    assert "answered 500" in failed.failure and endpoint.prompts()[endpoint.requests[1].prompt] == 4


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [("401", "answered 401"), ("404", "answered 404"), ("403", "answered 403"), ("no credit", "You are out of credit")],
)
def test_what_no_request_could_pass_ends_the_job_at_once(study: Study, trouble: str, cause: str) -> None:
    with FakeEndpoint(lambda asked: trouble) as endpoint, pytest.raises(TaskError, match=cause) as caught:
        study.here(endpoint, endpoint=one_at_a_time())
    assert len(endpoint.requests) == 1 and caught.value.failure.advice
    assert study.files_with(KEY) == [], "the endpoint repeats the key in its answer"


def test_an_endpoint_that_is_gone_ends_the_job_and_keeps_what_came(study: Study) -> None:
    with (
        FakeEndpoint(lambda asked: "rows" if asked.number < 3 else "500") as endpoint,
        pytest.raises(TaskError, match="does not answer"),
    ):
        study.here(endpoint, rows={"count": 30}, endpoint=one_at_a_time(retries=1))
    assert len(study.generated.rows) == 6 and len(endpoint.requests) == 2 + 3 * 2
    assert not study.generated.failures, "requests that may pass later are asked again by the resumed run"


def test_a_model_that_wants_another_name_for_the_limit_gets_it(study: Study) -> None:
    def plan(asked: Asked) -> str:
        return "rows" if "max_completion_tokens" in asked.body else "400"

    from tests import fake_endpoint

    real = fake_endpoint.send

    def send(handler: Any, status: int, body: object, headers: Any = None) -> None:
        said = {"error": {"message": "Unsupported parameter: use 'max_completion_tokens'."}} if status == 400 else body
        real(handler, status, said, headers)

    with pytest.MonkeyPatch.context() as patch, FakeEndpoint(plan) as endpoint:
        patch.setattr(fake_endpoint, "send", send)
        study.here(endpoint, rows={"count": 6}, endpoint=one_at_a_time())
    assert [("max_tokens" in asked.body) for asked in endpoint.requests] == [True, False, False]


def test_the_request_holds_what_the_config_says(study: Study) -> None:
    with FakeEndpoint() as endpoint:
        study.here(
            endpoint, rows={"count": 1}, endpoint={"temperature": None, "max_tokens": 99, "further": {"top_p": 0.5}}
        )
        study.here(endpoint, rows={"count": 2}, endpoint={"key_variable": "", "temperature": 0.1})
    first, second = endpoint.requests
    assert (first.path, first.key) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert first.body["max_tokens"] == 99 and first.body["top_p"] == 0.5 and "temperature" not in first.body
    assert second.key == "" and second.body["temperature"] == 0.1
    assert "Person: " in first.prompt and first.prompt.count("Example ") >= 3


def test_a_resumed_job_asks_only_for_what_is_missing(study: Study) -> None:
    with FakeEndpoint() as endpoint:
        study.here(endpoint, rows={"count": 6})
        with (study.folder.path / FILE).open("a", encoding="utf-8") as file:
            file.write('{"key": "seeds:2", "rows": [{"mess')  # what a killed process left
        study.here(endpoint, rows={"count": 15})
    assert len(study.generated.rows) == 15 and len(study.generated.finished) == 5
    assert set(endpoint.prompts().values()) == {1}, "nothing is paid for twice"
    log = MetricsLog(study.folder.metrics_file)
    log.poll()
    assert log.points("rows_kept") == ([1, 2, 3, 4, 5], [3, 6, 9, 12, 15])
    assert [(event["event"], event["step"]) for event in log.events] == [("resumed", 2)]


def test_cost_is_counted_from_tokens_and_prices(study: Study) -> None:
    with FakeEndpoint() as endpoint:
        study.here(endpoint, rows={"count": 6}, endpoint={"price_in": 1e6, "price_out": 2e6})
    generated = study.generated
    log = MetricsLog(study.folder.metrics_file)
    log.poll()
    assert log.last["cost"] == generated.total("tokens_in") + 2 * generated.total("tokens_out")
    assert f"cost {log.last['cost']:,.4g}" in study.status.message
