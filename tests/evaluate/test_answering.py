"""Answers written side by side: the same as one by one, and as transformers writes them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ENDS = frozenset(range(300, 320))  # so many that a random model comes to an end sooner or later
MOST = 90  # more than the slack of the window, so that columns are moved and added
PAD = 2


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).eval()


def requests(count: int = 14) -> list[Any]:
    from studio.tasks.evaluating.answering import Request

    draw = random.Random(7)  # no two tokens of these answers are so close that rounding decides between them
    prompts = [[draw.randrange(3, 300) for _ in range(draw.randrange(3, 60))] for _ in range(count)]
    return [Request(key, ids, MOST if key % 3 else 20, f"seed/{key}") for key, ids in enumerate(prompts)]


def answered(model: Any, size: int, choosing: Any = None, notices: list[str] | None = None) -> dict[int, Any]:
    from studio.tasks.evaluating.answering import Voice, answers
    from studio.tasks.evaluating.choosing import Choosing

    voice = Voice(model, ENDS, PAD, choosing or Choosing())
    said = notices if notices is not None else []
    found = list(answers(voice, requests(), size, said.append, lambda: True))
    assert Counter(answer.key for answer in found) == Counter(range(len(requests())))
    return {answer.key: answer for answer in found}


def generated(model: Any, request: Any, **options: Any) -> list[int]:
    import torch

    ids = torch.tensor([request.ids])
    options |= {"max_new_tokens": request.most, "eos_token_id": sorted(ENDS), "pad_token_id": PAD, "do_sample": False}
    tokens = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)[
        0, len(request.ids) :
    ].tolist()
    return tokens[:-1] if tokens[-1] in ENDS else tokens


def test_greedy_answers_are_those_of_generate_whatever_the_batch(model: Any) -> None:
    expected = {request.key: generated(model, request) for request in requests()}
    lengths = {len(ids) for ids in expected.values()}
    assert max(lengths) == MOST and len(lengths) > 5, "the rows must end at different places"
    for size in (1, 3, 8, 14):
        found = answered(model, size)
        assert {key: answer.ids for key, answer in found.items()} == expected, size
        assert all(answer.ended == (len(answer.ids) < requests()[key].most) for key, answer in found.items())


def test_a_repetition_penalty_is_that_of_transformers(model: Any) -> None:
    from studio.tasks.evaluating.choosing import Choosing

    found = answered(model, 5, Choosing(repetition_penalty=1.4))
    expected = {request.key: generated(model, request, repetition_penalty=1.4) for request in requests()}
    assert {key: answer.ids for key, answer in found.items()} == expected
    assert expected != {request.key: generated(model, request) for request in requests()}


def test_drawn_answers_depend_on_the_row_alone(model: Any) -> None:
    from studio.tasks.evaluating.choosing import Choosing

    how = Choosing(do_sample=True, temperature=1.2, top_p=0.9, top_k=50)
    one, many = answered(model, 1, how), answered(model, 9, how)
    assert {key: answer.ids for key, answer in one.items()} == {key: answer.ids for key, answer in many.items()}
    assert one[1].ids != answered(model, 1)[1].ids


def test_tokens_are_drawn_from_those_that_transformers_leaves_and_by_their_probability() -> None:
    import torch
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    from studio.tasks.evaluating.choosing import Choosing, choose

    torch.manual_seed(3)
    logits = torch.randn(1, 40) * 2
    how, draws = Choosing(do_sample=True, temperature=1.3, top_p=0.8, top_k=12), 4000
    scores: Any = logits
    for warper in (TemperatureLogitsWarper(1.3), TopKLogitsWarper(12), TopPLogitsWarper(0.8)):
        scores = warper(torch.zeros(1, 0, dtype=torch.long), scores)
    probabilities = scores.softmax(-1)[0]
    chances = [random.Random(number) for number in range(draws)]
    found = Counter(choose(logits.expand(draws, -1), [], chances, how))
    assert set(found) == {token for token in range(40) if probabilities[token] > 0}
    for token, count in found.items():
        assert count / draws == pytest.approx(float(probabilities[token]), abs=0.03)


class Narrow:
    """A model whose memory suffices for a few rows only."""

    def __init__(self, model: Any, most: int) -> None:
        self._model, self._most, self.config, self.device = model, most, model.config, model.device
        self.dtype, self.forward = model.dtype, model.forward

    def get_base_model(self) -> Any:
        return self._model

    def __call__(self, **options: Any) -> Any:
        import torch

        if options["input_ids"].shape[0] > self._most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self._model(**options)


def test_when_memory_runs_out_half_as_many_rows_go_on_and_none_is_lost(model: Any) -> None:
    from studio.tasks.evaluating.choosing import Choosing
    from studio.tasks.failures import TaskError

    how, notices = Choosing(do_sample=True), list[str]()
    found = answered(Narrow(model, 3), 14, how, notices)
    assert {key: answer.ids for key, answer in found.items()} == {
        key: answer.ids for key, answer in answered(model, 14, how).items()
    }
    assert len(notices) == 3 - 1 and "3 answers are written at a time" in notices[-1], notices
    with pytest.raises(TaskError, match="does not suffice to answer a single row"):
        answered(Narrow(model, 0), 4)


def test_as_many_rows_are_answered_at_a_time_as_memory_allows(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.tasks.evaluating import batch_size

    assert batch_size.bytes_a_token(model) == 2 * 2 * 2 * 16 * 4  # keys and values, layers, heads, their size, bytes
    longest = max(len(request.ids) + request.most for request in requests())
    row = longest * 512 + 4 * 4 * 512
    for free, rows in ((10 * row, 5), (10_000 * row, len(requests())), (0, 1)):
        monkeypatch.setattr(batch_size, "_free_bytes", lambda _, free=free: free)
        assert batch_size.rows_at_once(model, requests()) == rows


def test_models_with_another_state_are_answered_batch_by_batch(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.tasks.evaluating import answering
    from studio.tasks.evaluating.choosing import Choosing

    how = Choosing(do_sample=True, repetition_penalty=1.2)
    rolling = {key: (answer.ids, answer.ended) for key, answer in answered(model, 4, how).items()}
    monkeypatch.setattr(answering, "rolls", lambda _: False)
    assert {key: (answer.ids, answer.ended) for key, answer in answered(model, 4, how).items()} == rolling


WIDTHS = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}


@pytest.mark.parametrize(
    ("name", "options", "rolling"),
    [
        ("Mistral", {"sliding_window": 8}, True),
        ("Gemma3", {"sliding_window": 8, "head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]}, True),
        ("Lfm2", {"layer_types": ["conv", "full_attention"]}, False),
    ],
)
def test_other_architectures_answer_like_themselves(name: str, options: dict[str, Any], rolling: bool) -> None:
    import torch
    import transformers

    from studio.tasks.evaluating.answering import rolls

    torch.manual_seed(0)
    config_class = getattr(transformers, f"{name}TextConfig", None) or getattr(transformers, f"{name}Config")
    config = config_class(vocab_size=400, num_hidden_layers=2, max_position_embeddings=256, **WIDTHS, **options)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    assert rolls(model) is rolling
    expected = {request.key: generated(model, request) for request in requests()}
    assert {key: answer.ids for key, answer in answered(model, 5).items()} == expected
