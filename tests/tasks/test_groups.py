"""GRPO and RLOO: a tiny model learns what gets points, goes on exactly, and says why a reward cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

# The share of a letter that a random model rarely writes.
OWN = """
def letters(answers, rows, letter="e"):
    return [answer.count(letter) / max(1, len(answer)) for answer in answers]

def broken(answers, rows):
    return [float("nan")] * len(answers)
"""
STAGE: dict[str, Any] = {
    "stage": {
        "type": "grpo",
        "rewards": ["rewards/mine.py:letters", "answer_length"],
        "reward_weights": {"answer_length": 0},
        "num_generations": 8,
        "max_completion_length": 6,
    },
    "optimisation": {"per_device_train_batch_size": 8, "max_steps": 10},
}
FULL: dict[str, Any] = {"method": {"type": "full"}, "optimisation": {"learning_rate": 3e-2, "warmup_steps": 0.1}}
RLOO: dict[str, Any] = {"stage": {"type": "rloo", "normalize_advantages": True, "beta": 0}}
# Not the same on another day: how long it took, and how much memory.
TIMES = {"time", "step_time", "tokens_per_second", "wait_share", "padding_share", "memory_process_peak"}


@pytest.fixture
def own(workspace: Path) -> Path:
    (workspace / "rewards").mkdir()
    (workspace / "rewards" / "mine.py").write_text(OWN, encoding="utf-8")
    return workspace


def steps_of(run: Any) -> list[dict[str, Any]]:
    """The rows of the training without what differs from day to day."""
    return [{key: value for key, value in row.items() if key not in TIMES} for row in run.rows if "loss" in row]


@pytest.mark.parametrize("changes", [{}, RLOO], ids=["grpo", "rloo"])
def test_the_points_rise(
    train: Callable[..., Any], own: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_trainer import RLOOTrainer

    seen: list[list[int]] = []
    for trainer in (GRPOTrainer, RLOOTrainer):
        monkeypatch.setattr(trainer, "_generate_single_turn", watched(trainer._generate_single_turn, seen))
    run = train("run", STAGE, FULL, changes)
    assert run.code == 0
    rows = steps_of(run)
    points = [row["reward"] for row in rows]
    assert sum(points[-3:]) / 3 > sum(points[:3]) / 3 + 0.15
    assert {"reward_std", "rewards/letters/mean", "rewards/answer_length/mean", "entropy", "frac_reward_zero_std",
            "completions/mean_length", "completions/clipped_ratio"} <= rows[0].keys()  # fmt: skip
    # A weight of 0 only watches.
    assert all(row["reward"] == pytest.approx(row["rewards/letters/mean"], abs=1e-6) for row in rows)

    tokenizer = AutoTokenizer.from_pretrained(own / "models" / "tiny")
    asked = json.loads((own / "data" / "chat.json").read_text(encoding="utf-8"))
    wanted = [
        tokenizer.apply_chat_template([{"role": "user", "content": row["instruction"]}], add_generation_prompt=True,
                                      return_dict=False) for row in asked
    ]  # fmt: skip
    assert len(seen) == 10 * 16 and all(ids in wanted for ids in seen)
    assert all(ids in seen[: 4 * 16] for ids in wanted)  # two prompts a step: an epoch has four, and leaves none out

    shown = [json.loads(line) for line in (run.folder.path / "completions.jsonl").read_text("utf-8").splitlines()]
    assert {row["step"] for row in shown} == set(range(1, 11))
    assert all(set(row["rewards"]) == {"letters", "answer_length"} for row in shown)
    assert "of data/chat.json" in shown[0]["where"] and shown[0]["reward"] >= shown[1]["reward"]
    AutoModelForCausalLM.from_pretrained(run.folder.path, local_files_only=True)


def watched(generate: Callable[..., Any], seen: list[list[int]]) -> Callable[..., Any]:
    """The same; what the model is given is noted."""

    def call(self: Any, prompt_ids: list[list[int]], *rest: Any) -> Any:
        seen.extend(prompt_ids)
        return generate(self, prompt_ids, *rest)

    return call


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"stage": {"num_iterations": 2, "beta": 0.1}, **FULL}, id="grpo-in-the-midst-of-its-passes"),
        pytest.param({"stage": {"type": "rloo"}, "method": {"dropout": 0.1}}, id="rloo-with-dropout"),
    ],
)
def test_a_resumed_run_equals_one_that_was_never_stopped(
    train: Callable[..., Any], own: Path, changes: dict[str, Any]
) -> None:
    both = STAGE, {"optimisation": {"max_steps": 5}}
    whole = train("whole", *both, changes, {"optimisation": {"max_steps": 5}})
    assert train("broken", *both, changes, {"optimisation": {"max_steps": 5}}, stop_at=3).code == 10
    resumed = train("broken", *both, changes, {"optimisation": {"max_steps": 5}}, resume_from="checkpoint-3")
    assert len(steps_of(whole)) == 5
    assert steps_of(resumed) == steps_of(whole)
    shown = "completions.jsonl"
    assert (resumed.folder.path / shown).read_text("utf-8") == (whole.folder.path / shown).read_text("utf-8")


def test_an_adapter_beside_four_bits_is_held_to_its_start(train: Callable[..., Any], own: Path) -> None:
    from safetensors.torch import load_file

    changes = {"stage": {"beta": 0.1, "loss": "dr_grpo", "scale_rewards": "none"}}
    short = {"optimisation": {"max_steps": 4}, "quantization": {"type": "4bit"}}
    validated = {"data": {"validation_size": 2}, "cadence": {"eval_steps": 2}}
    run = train("run", STAGE, changes, short, validated)
    distances = [row["kl"] for row in steps_of(run)]
    assert distances[0] == 0 and max(distances[1:]) > 0
    assert [row["step"] for row in run.rows if "eval_reward" in row] == [2, 4]
    # The reference is no adapter of its own that would be saved with the result.
    assert not (run.folder.path / "ref").exists()
    tensors = load_file(run.folder.path / "adapter_model.safetensors")
    assert tensors and all(".ref." not in name for name in tensors)
    assert any(tensor.abs().max() > 0 for name, tensor in tensors.items() if "lora_B" in name)


def test_a_bad_reward_ends_the_run_with_its_name_and_row(train: Callable[..., Any], own: Path) -> None:
    from studio.tasks.failures import TaskError

    with pytest.raises(TaskError, match=r"rewards/mine.py:broken gave nan on row \d of data/chat.json"):
        train("run", STAGE, {"stage": {"rewards": ["rewards/mine.py:broken"], "reward_weights": {}}})
    with pytest.raises(TaskError, match=r"no file rewards/other\.py"):
        train("run", STAGE, {"stage": {"rewards": ["rewards/other.py:f"], "reward_weights": {}}})


def test_every_row_is_answered_in_each_epoch() -> None:
    from types import SimpleNamespace

    from studio.tasks.groups import Groups

    arguments = SimpleNamespace(num_generations=2, generation_batch_size=6, num_iterations=1, steps_per_generation=2)
    trainer: Any = SimpleNamespace(args=arguments, order_now=lambda: (7, 0))
    drawn = list(Groups(trainer, None, 4))
    assert len(drawn) == len(Groups(trainer, None, 4)) == 2 * 3 * 2 * 2
    first, again, rest = drawn[:6], drawn[6:12], drawn[12:]
    assert first == again and first[0::2] == first[1::2]  # in groups of two, learnt from twice
    assert set(drawn) == {0, 1, 2, 3} and rest[:6] == rest[6:]
    lengths = [5, 50, 6, 51]
    assert list(Groups(trainer, lengths, 4)) == list(Groups(trainer, lengths, 4))


def test_prompts_end_where_the_answer_begins(own: Path, add_dataset: Callable[..., None]) -> None:
    from transformers import AutoTokenizer

    from studio.config.workspace import Workspace
    from studio.data.reading import read_datasets
    from studio.tasks.prompts import make_prompts

    add_dataset("asked", [{"prompt": "Who are you?"}], formatting="prompt")
    tokenizer = AutoTokenizer.from_pretrained(own / "models" / "tiny")
    kinds = ["chat", "prompt"]
    read = read_datasets(Workspace(own), ["asked", "turns"], kinds=kinds, max_samples=1).examples
    asked, turns = make_prompts(read, tokenizer, tokenizer.chat_template, 500).prompts
    assert (asked.answer, asked.text) == (None, "Who are you?")
    assert turns.answer == "Yes." and [turn.role for turn in turns.messages] == ["system", "user", "assistant", "user"]
    words = tokenizer.decode(turns.ids)
    assert words.endswith("Say something short.<|im_end|><|im_start|>assistant\n")
    made = make_prompts(read, tokenizer, tokenizer.chat_template, len(asked.ids))
    assert [prompt.where for prompt in made.prompts] == [asked.where] and made.too_long == 1
    assert "1 prompts are longer than data.cutoff_len" in made.explain("Data")[1]
