"""The adapters beside LoRA, and soft prompts: trained, resumed, loaded again, merged, and answering in every loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config.io import check
from studio.config.train import TrainConfig

pytestmark = pytest.mark.slow

# Settings and a learning rate at which a model as small and random as this one learns in eight steps.
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "adalora": ({"type": "adalora", "initial_rank": 6, "target_rank": 3, "dropout": 0.1}, 3e-2),
    "vera": ({"type": "vera", "rank": 64, "dropout": 0.1}, 1e-1),
    "loha": ({"type": "loha", "dropout": 0.1}, 1e-2),
    "lokr": ({"type": "lokr"}, 1e-2),
    "oft": ({"type": "oft", "block_size": 16, "dropout": 0.1}, 1e-2),
    "ia3": ({"type": "ia3"}, 2e-1),
    "prompt": ({"type": "prompt-tuning", "virtual_tokens": 6, "initial_text": "Answer shortly."}, 0.3),
    "prefix": ({"type": "prefix-tuning", "virtual_tokens": 6}, 0.1),
    "projected-prefix": ({"type": "prefix-tuning", "virtual_tokens": 6, "projection": True}, 1e-2),
    "p-tuning": ({"type": "p-tuning", "virtual_tokens": 6}, 1e-2),
    "p-tuning-lstm": ({"type": "p-tuning", "virtual_tokens": 6, "encoder": "lstm", "encoder_width": 64}, 2e-2),
}
SOFT = ["prompt", "prefix", "projected-prefix", "p-tuning", "p-tuning-lstm"]
PROMPTS = [[5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15, 30, 31], [100, 120]]
MOST, END = 8, 2


def changes(case: str) -> dict[str, Any]:
    """A run of eight steps with a checkpoint in the middle and one question."""
    method, rate = CASES[case]
    return {
        "method": method,
        "optimisation": {"learning_rate": rate, "max_steps": 8, "lr_scheduler_type": "cosine"},
        "cadence": {"save_steps": 3},
        "samples": {"prompts": ["Who are you?"], "max_new_tokens": 8},
    }


def base_model(workspace: Path) -> Any:
    """The tiny model in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(workspace / "models" / "tiny", dtype=torch.float32).eval()


def written(model: Any, prompt: list[int]) -> list[int]:
    """The greedy answer, each token from a forward pass over everything before it: no cache, no generate."""
    import torch

    answer: list[int] = []
    while len(answer) < MOST and END not in answer:
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        answer.append(int(logits[0, -1].argmax()))
    return answer


@pytest.mark.parametrize("case", CASES)
def test_it_learns_resumes_exactly_and_comes_back(train: Callable[..., Any], workspace: Path, case: str) -> None:
    import torch

    from studio.tasks.adapter import load

    run = train("run", changes(case))
    losses = run.losses
    assert len(losses) == 8 and sum(losses[-2:]) < sum(losses[:2]) - 0.04  # two steps are an epoch
    parameters = run.folder.status().parameters
    assert 0 < parameters["trainable"] < parameters["total"] - 139_000  # the base's 139,584 stand still
    answers = [json.loads(line) for line in (run.folder.path / "samples.jsonl").read_text("utf-8").splitlines()]

    again = train("run", changes(case), resume_from="checkpoint-3")
    assert again.losses[8:] == pytest.approx(losses[3:], abs=1e-5)
    assert not (run.folder.path / "trained_state.safetensors").exists()

    model = load(base_model(workspace), run.folder.path).eval()
    plain = base_model(workspace)
    ids = torch.tensor([PROMPTS[1]])
    with torch.no_grad():
        logits = model(ids).logits[:, -len(PROMPTS[1]) :]
        assert not torch.allclose(logits, plain(ids).logits, atol=1e-3)
    assert sampled(model, workspace) == answers[-1]["answer"]
    if case not in SOFT:
        merged = model.merge_and_unload()
        with torch.no_grad():
            assert torch.allclose(merged(ids).logits, logits, atol=1e-5)


def sampled(model: Any, workspace: Path) -> str:
    """What the model answers to the question of the run."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(workspace / "models" / "tiny")
    question = [{"role": "user", "content": "Who are you?"}]
    text = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    answer = written(model, tokenizer(text)["input_ids"])
    return tokenizer.decode([token for token in answer if token != END], skip_special_tokens=True).strip()


@pytest.mark.parametrize("case", ["prompt", "prefix", "p-tuning"])
def test_soft_prompts_answer_alike_in_every_loop(train: Callable[..., Any], workspace: Path, case: str) -> None:
    import torch

    from studio.config.serve import ServeConfig
    from studio.config.workspace import Workspace
    from studio.tasks.adapter import load
    from studio.tasks.machine import detect
    from studio.tasks.serving.engine import Engine
    from studio.tasks.serving.loading import load as loaded_for

    soft = train("soft", changes(case))
    train("lora", {"method": {"type": "lora"}, "optimisation": {"max_steps": 4}})
    tree = {
        "model": {"path": "models/tiny", "dtype": "float32"},
        "serving": {"adapters": ["saves/lora", "saves/soft"]},
        "devices": {"use": "cpu"},
    }
    config, _ = check(tree, ServeConfig)
    assert config is not None
    served = loaded_for(config, Workspace(workspace), detect("cpu"))
    assert served.places == 6
    engine = Engine(served.model, served.tokenizer, frozenset({END}), 4, served.fronts)
    models = {
        None: base_model(workspace),
        served.names["lora"]: load(base_model(workspace), workspace / "saves" / "lora"),
        served.names["soft"]: load(base_model(workspace), soft.folder.path),
    }
    wanted = {name: [written(model.eval(), prompt) for prompt in PROMPTS] for name, model in models.items()}
    assert wanted[None] != wanted[served.names["soft"]]
    for name, answers in wanted.items():
        with torch.inference_mode():
            engine._switch(name)
            found = decoded(engine._rows(name))
        assert [own[: len(answer)] for own, answer in zip(found, answers, strict=True)] == answers
    assert evaluated(workspace) == {
        (name, number): [token for token in answer if token != END]
        for name, inner in (("base", None), ("soft", served.names["soft"]), ("lora", served.names["lora"]))
        for number, answer in enumerate(wanted[inner])
    }


def decoded(rows: Any) -> list[list[int]]:
    """Greedy answers of rows that join one after the other, while the earlier ones go on."""
    answers: list[list[int]] = []
    for prompt in PROMPTS:
        answers.append([int(rows.join(prompt).argmax())])
        step(rows, answers)
    for _ in range(MOST):
        step(rows, answers)
    return answers


def step(rows: Any, answers: list[list[int]]) -> None:
    """One more token for each."""
    for answer, logits in zip(answers, rows.step([answer[-1] for answer in answers]), strict=True):
        answer.append(int(logits.argmax()))


def evaluated(workspace: Path) -> dict[tuple[str, int], list[int]]:
    """What an evaluation reads from the base, then from a soft prompt, then from LoRA, two rows side by side."""
    from studio.config.model import BaseModelConfig
    from studio.config.quantization import NoQuantization
    from studio.tasks.arguments import model_arguments, quantization_arguments
    from studio.tasks.evaluating.answering import Request, Voice, answers
    from studio.tasks.evaluating.candidates import Candidate, seats
    from studio.tasks.evaluating.choosing import Choosing
    from studio.tasks.machine import detect

    candidates = [Candidate("base", "base")]
    candidates += [Candidate(name, "adapter", workspace / "saves" / name) for name in ("soft", "lora")]
    arguments = model_arguments(BaseModelConfig(path="models/tiny"), "float32")
    none = quantization_arguments(NoQuantization(), "fp32")
    requests = [Request(number, prompt, MOST) for number, prompt in enumerate(PROMPTS)]
    found: dict[tuple[str, int], list[int]] = {}
    for seat in seats(candidates, str(workspace / "models" / "tiny"), [], arguments, none, detect("cpu")):
        voice = Voice(seat.model, frozenset({END}), END, Choosing(), seat.front)
        for answer in answers(voice, requests, 2, print, lambda: True):
            found[seat.candidate.name, answer.key] = answer.ids
    return found


def test_the_loss_behind_a_soft_prompt_is_that_of_its_own_forward_pass(
    train: Callable[..., Any], workspace: Path
) -> None:
    import torch

    from studio.tasks.adapter import load
    from studio.tasks.soft_prompt import read_soft_prompt

    for case in ("prompt", "prefix"):
        run = train(case, {**changes(case), "samples": {"prompts": []}})
        model = load(base_model(workspace), run.folder.path).eval()
        front = read_soft_prompt(base_model(workspace), run.folder.path)
        ids = torch.tensor([PROMPTS[1]])
        with torch.no_grad():
            wanted = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -5:]
            found, _ = front.forward(base_model(workspace), ids, logits_to_keep=5)
        assert torch.allclose(found.logits, wanted, atol=1e-5)


def test_ranks_are_cut_to_the_target(train: Callable[..., Any]) -> None:
    from studio.tasks.failures import TaskError

    saved = json.loads((train("run", changes("adalora")).folder.path / "adapter_config.json").read_text("utf-8"))
    kept = [sum(kept) for kept in saved["rank_pattern"].values()]
    assert sum(kept) == 3 * len(kept) and len(set(kept)) > 1
    assert (saved["total_step"], saved["tinit"], saved["tfinal"]) == (8, 1, 2)
    short = {"optimisation": {"max_steps": 1}, "method": {"type": "adalora", "warmup_share": 0.6}}
    with pytest.raises(TaskError, match="In 1 steps there is none left on which AdaLoRA could cut ranks"):
        train("short", short)


def test_ranks_are_not_cut_before_anything_has_moved() -> None:
    from studio.tasks.failures import TaskError
    from studio.tasks.rank_cutting import schedule

    # The only step before the last cut would be the first of a warmup, whose rate is zero: all ranks would go.
    with pytest.raises(TaskError, match="In 3 steps"):
        schedule(3, 0.1, 0.2)
    assert schedule(4, 0.1, 0.2) == (0, 1)


def test_a_rank_that_was_cut_goes_on_as_it_is(train: Callable[..., Any]) -> None:
    first = train("first", changes("adalora"))
    second = train("second", {**changes("adalora"), "model": {"adapters": ["saves/first"]}})
    assert second.losses[0] < first.losses[0] - 0.1
    before, after = (
        json.loads((run.folder.path / "adapter_config.json").read_text("utf-8")) for run in (first, second)
    )
    assert before["rank_pattern"] == after["rank_pattern"]


@pytest.mark.parametrize("case", CASES)
def test_every_setting_reaches_the_library(case: str) -> None:
    from studio.tasks.adapter import method_module

    config, _ = check({"model": {"path": "m"}, "data": {"datasets": ["d"]}, "method": CASES[case][0]}, TrainConfig)
    assert config is not None
    arguments = method_module(config.method.type).peft_arguments
    settings = config.method.model_dump(exclude={"type"})
    elsewhere = {"warmup_share", "final_share"} if case == "adalora" else set[str]()  # of the run's number of steps
    for key, value in settings.items():
        other = {
            "target_modules": ["q_proj"],
            "modules_to_save": ["lm_head"],
            "feedforward_modules": ["down_proj"],
            "initial_text": "other",
            "encoder": "lstm" if value == "mlp" else "mlp",
            "projection": value is False,
        }.get(key)
        changed = value + 1 if other is None else other
        same = arguments({**settings, key: changed}, "CAUSAL_LM") == arguments(settings, "CAUSAL_LM")
        assert same == (key in elsewhere), key
    assert arguments(settings, "SEQ_CLS")["task_type"] == "SEQ_CLS"


def test_scales_find_their_modules_by_name() -> None:
    from studio.tasks.failures import TaskError
    from studio.tasks.methods.ia3 import suitable

    names = ["model.layers.0.attn.k_proj", "model.layers.0.attn.v_proj", "model.layers.0.mlp.down_proj", "lm_head"]
    assert suitable(names) == (["k_proj", "v_proj", "down_proj"], ["down_proj"])
    with pytest.raises(TaskError, match="names that IA³ does not know"):
        suitable(["encoder.a", "encoder.b"])


def test_a_soft_prompt_is_not_merged(train: Callable[..., Any], workspace: Path) -> None:
    from studio.config.export import ExportConfig
    from studio.config.workspace import Workspace
    from studio.runs.export_prospect import look_ahead
    from studio.tasks.adapter import merged
    from studio.tasks.failures import TaskError
    from studio.web.providers import adapters

    run = train("run", {**changes("prompt"), "optimisation": {"max_steps": 1}})
    with pytest.raises(TaskError, match="changes no weight"):
        merged(base_model(workspace), [run.folder.path])
    assert "saves/run" in adapters(Workspace(workspace))
    for kind, refused in (("merged", True), ("gguf", True), ("adapter", False)):
        config, _ = check({"subject": {"run": "saves/run"}, "format": {"type": kind}}, ExportConfig)
        assert config is not None
        said = [one.said for one in look_ahead(Workspace(workspace), config, "e").findings if one.severity == "fault"]
        assert any("changes no weight" in text for text in said) == refused
