"""Answers that are decoded together are the answers that each would get alone."""

from __future__ import annotations

import queue
import random
import time
from dataclasses import replace
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def collect(served: Any, prompts: list[tuple[list[int], str | None, Any]]) -> list[tuple[list[int], str, Any]]:
    """Tokens, text and last piece of every answer, all asked for at once."""
    from studio.tasks.serving.answer import Answer

    heard: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    answers = [
        Answer(ids, adapter, sampling, lambda piece, place=place: heard.put((place, piece)))
        for place, (ids, adapter, sampling) in enumerate(prompts)
    ]
    for answer in answers:
        served.engine.submit(answer)
    texts, last = [""] * len(prompts), [None] * len(prompts)
    while None in last:
        place, piece = heard.get(timeout=60)
        texts[place] += piece.text
        if piece.end is not None:
            last[place] = piece
    return [(answer.generated, text, end) for answer, text, end in zip(answers, texts, last, strict=True)]


def greedy_of_transformers(served: Any, ids: list[int], adapter: str | None, length: int) -> list[int]:
    import torch

    model = served.engine._model
    with served.engine._busy, torch.inference_mode():
        served.engine._switch(adapter)
        tokens = model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=length,
            do_sample=False, eos_token_id=sorted(served.engine._ends), pad_token_id=2,
        )  # fmt: skip
    return tokens[0, len(ids) :].tolist()


def test_a_full_house_of_all_adapters_decodes_what_transformers_decodes_alone(served: Any) -> None:
    """13 answers for 4 places: they wait, join and leave in the midst of others, with prompts of all lengths."""
    from studio.tasks.serving.answer import Sampling

    draw = random.Random(3)
    asked = []
    for place in range(13):
        ids = [draw.randrange(3, 512) for _ in range(draw.choice((1, 2, 9, 40, 120)))]
        asked.append((ids, (None, "adapter_0", "adapter_1")[place % 3], draw.choice((1, 5, 17, 30))))
    got = collect(served, [(ids, name, Sampling(max_tokens=most, temperature=0)) for ids, name, most in asked])
    for (ids, adapter, most), (tokens, _, end) in zip(asked, got, strict=True):
        assert tokens == greedy_of_transformers(served, ids, adapter, most)
        assert end.end == ("length" if len(tokens) == most and tokens[-1] not in served.engine._ends else "stop")


def test_a_seed_gives_the_same_answer_alone_and_in_company(served: Any) -> None:
    from studio.tasks.serving.answer import Sampling

    sampling = Sampling(max_tokens=20, temperature=0.8, top_p=0.9, top_k=50, seed=11)
    alone = collect(served, [([5, 6, 7], "adapter_0", sampling)])[0][0]
    others = [([9] * 30, "adapter_0", Sampling(max_tokens=25, seed=1)), ([4, 4], None, Sampling(max_tokens=9))]
    among = collect(served, [*others, ([5, 6, 7], "adapter_0", sampling), *others])[2][0]
    other_seed = collect(served, [([5, 6, 7], "adapter_0", Sampling(max_tokens=20, temperature=0.8, seed=12))])[0][0]
    assert among == alone != other_seed


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_stop_word_ends_the_answer_before_it_and_is_never_shown_in_part(served: Any, size: int) -> None:
    from studio.tasks.serving.answer import Sampling

    sampling = Sampling(max_tokens=40, temperature=0.7, seed=1)
    whole = collect(served, [([8, 30, 99], None, sampling)])[0][1]
    places = (at for at in range(2, len(whole) - size) if whole[at : at + size] not in whole[:at])
    stop = next(whole[at : at + size] for at in places if whole[at : at + size].isascii())
    _, text, end = collect(served, [([8, 30, 99], None, replace(sampling, stop=("never said", stop)))])[0]
    assert (text, end.end) == (whole[: whole.index(stop)], "stop")


def test_a_cancelled_answer_ends_and_leaves_its_place(served: Any) -> None:
    from studio.tasks.serving.answer import Answer, Sampling

    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    endless = Answer([7, 7], None, Sampling(max_tokens=10**9, temperature=0, stop=()), heard.put)
    ends, served.engine._ends = served.engine._ends, frozenset()
    try:
        served.engine.submit(endless)
        heard.get(timeout=60)
        endless.cancelled = True
        while heard.get(timeout=60).end is None:
            pass
    finally:
        served.engine._ends = ends
    deadline = time.monotonic() + 20
    while served.engine.load["decoding"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_repetition_is_punished_and_log_probabilities_are_the_models_own(served: Any) -> None:
    import torch

    from studio.tasks.serving.answer import Answer, Sampling

    pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()
    served.engine.submit(Answer([5, 9, 5], None, Sampling(max_tokens=1, temperature=0, top_logprobs=3), pieces.put))
    piece = pieces.get(timeout=60)
    own = served.engine.next_logits([5, 9, 5], None).log_softmax(-1)
    assert piece.logprob == pytest.approx(float(own[piece.token]), abs=1e-5)
    assert [token for token, _ in piece.likeliest] == torch.topk(own, 3).indices.tolist()
    plain = collect(served, [([5] * 5, None, Sampling(max_tokens=30, temperature=0))])[0][0]
    fined = collect(served, [([5] * 5, None, Sampling(max_tokens=30, temperature=0, repetition_penalty=5.0))])[0][0]
    assert len(set(fined)) > len(set(plain))
