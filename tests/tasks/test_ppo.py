"""PPO: its formulas equal slow ones, it finds a known optimum, and a resumed run goes on exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def slow_advantages(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """The sum of discounted surprises, written out for one answer."""
    after = [*values[1:], 0.0]
    surprises = [reward + gamma * later - value for reward, later, value in zip(rewards, after, values, strict=True)]
    return [
        sum((gamma * lam) ** (other - place) * surprises[other] for other in range(place, len(rewards)))
        for place in range(len(rewards))
    ]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.7, 0.0)])
def test_advantages_equal_the_sum_of_surprises(gamma: float, lam: float) -> None:
    import torch

    from studio.tasks.ppo.advantages import advantages_of

    torch.manual_seed(0)
    lengths, width = [5, 1, 3], 5
    mask = torch.tensor([[float(place < length) for place in range(width)] for length in lengths])
    rewards, values = torch.randn(3, width) * mask, torch.randn(3, width) * mask
    advantages, returns = advantages_of(rewards, values, mask, gamma, lam)
    for row, length in enumerate(lengths):
        wanted = slow_advantages(rewards[row, :length].tolist(), values[row, :length].tolist(), gamma, lam)
        assert advantages[row, :length].tolist() == pytest.approx(wanted, abs=1e-5)
        assert not advantages[row, length:].any()
    assert torch.allclose(returns, (advantages + values) * mask)


def test_the_objective_equals_its_definition_token_by_token() -> None:
    import torch

    from studio.tasks.ppo.objective import Clipping, losses

    torch.manual_seed(1)
    new, old, values, before, advantages, returns = (torch.randn(2, 4) for _ in range(6))
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    found = losses(new, values, old, before, advantages, returns, mask, Clipping(0.2, 0.3, 0.5))
    policy, value = 0.0, 0.0
    for row in range(2):
        for place in range(4):
            if not mask[row, place]:
                continue
            ratio = math.exp(float(new[row, place] - old[row, place]))
            advantage = float(advantages[row, place])
            policy -= min(ratio * advantage, max(0.8, min(1.2, ratio)) * advantage)
            estimate, kept, wanted = (float(tensor[row, place]) for tensor in (values, before, returns))
            near = kept + max(-0.3, min(0.3, estimate - kept))
            value += 0.5 * max((estimate - wanted) ** 2, (near - wanted) ** 2)
    assert float(found.policy) == pytest.approx(policy / 6, rel=1e-5)
    assert float(found.value) == pytest.approx(value / 6, rel=1e-5)
    assert float(found.total) == pytest.approx(policy / 6 + 0.5 * value / 6, rel=1e-5)


def test_the_price_of_distance_follows_its_target() -> None:
    from studio.tasks.ppo.kl import Deviation, KlPrice

    price = KlPrice(0.1, 6.0)
    price.adapt(60.0, 1000)  # far away: at most 20 % for 10,000 answers
    assert price.coefficient == pytest.approx(0.1 * 1.02)
    price.adapt(0.0, 1000)
    assert price.coefficient == pytest.approx(0.1 * 1.02 * 0.98)
    fixed = KlPrice(0.1, None)
    fixed.adapt(60.0, 1000)
    assert fixed.coefficient == 0.1

    deviation = Deviation()
    deviation.add([1.0, 2.0])
    deviation.add([3.0, 6.0])
    assert deviation.value == pytest.approx(math.sqrt(14 / 3))


OPTIMUM_KL = 0.7
PPO: dict[str, Any] = {
    "data": {"datasets": ["asked"], "cutoff_len": 64},
    "stage": {"type": "ppo", "rewards": ["points.py:even"], "max_completion_length": 4, "kl_target": None},
    "method": {"type": "full"},
    "optimisation": {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1, "learning_rate": 1e-3},
    "cadence": {"logging_steps": 1},
}


@pytest.fixture
def asked(workspace: Path) -> Path:
    """A workspace with one prompt, repeated, and a reward of one's own: a point for answers of an even length."""
    from tests.conftest import write_dataset

    write_dataset(workspace, "asked", [{"instruction": "Say something.", "output": "Yes."}] * 64)
    code = "def even(answers, rows):\n    return [float(len(answer) % 2 == 0) for answer in answers]\n"
    (workspace / "points.py").write_text(code, encoding="utf-8")
    return workspace


def share_of_even(folder: Path, tokenizer_folder: Path) -> float:
    """The probability that the model in `folder` answers the prompt by one token with an even number of letters."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say something."}], tokenize=False, add_generation_prompt=True
    )
    with torch.no_grad():
        chances = model(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits[0, -1].softmax(-1)
    even = [len(tokenizer.decode([token], skip_special_tokens=True)) % 2 == 0 for token in range(len(chances))]
    return float(chances[torch.tensor(even)].sum())


def test_it_finds_the_known_optimum(train: Callable[..., Any], asked: Path) -> None:
    """With points r and a price b of the divergence, the best policy is the reference weighed by exp(r / b)."""
    base = asked / "models" / "tiny"
    before = share_of_even(base, base)
    weighed = before * math.exp(1 / OPTIMUM_KL)
    best = weighed / (weighed + 1 - before)
    run = train(
        "run",
        PPO,
        {
            "stage": {"max_completion_length": 1, "kl_coefficient": OPTIMUM_KL, "ppo_epochs": 2},
            "optimisation": {"max_steps": 80, "per_device_train_batch_size": 64, "learning_rate": 2e-3},
            "cadence": {"logging_steps": 40},
        },
    )
    after = share_of_even(run.folder.path, base)
    assert abs(after - best) < 0.06 < abs(after - before)


LORA: dict[str, Any] = {
    "method": {"type": "lora", "rank": 4, "dropout": 0.1},
    "stage": {"ppo_epochs": 2, "kl_target": 1.0, "normalize_scores": True},
    "data": {"validation_size": 4},
    "optimisation": {"max_steps": 6, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2},
    "cadence": {"eval_steps": 3},
}
TIMES = ("time", "tokens_per_second", "memory_process_peak", "wait_share", "eval_runtime")


def figures(run: Any) -> list[dict[str, Any]]:
    """The rows of a run without what depends on the clock and the machine."""
    rows = [row for row in run.rows if "event" not in row]
    return [{key: value for key, value in row.items() if not key.startswith(TIMES) and "_per_second" not in key}
            for row in rows]  # fmt: skip


def test_a_resumed_run_goes_on_exactly_from_between_two_passes(train: Callable[..., Any], asked: Path) -> None:
    whole = train("whole", PPO, LORA)
    assert train("cut", PPO, LORA, stop_at=3).code == 10
    resumed = train("cut", PPO, LORA, resume_from="checkpoint-3")
    later = {row["step"]: row for row in figures(resumed) if "reward" in row or "policy_loss" in row}
    for row in figures(whole):
        if "policy_loss" in row:
            assert later[row["step"]] == pytest.approx(row, rel=1e-4, abs=1e-6)
    rows = {key for row in whole.rows for key in row}
    assert {
        "reward",
        "reward_std",
        "rewards/even",
        "kl",
        "kl_coefficient",
        "policy_loss",
        "value_loss",
        "entropy",
    } <= rows
    assert {"clip_fraction", "explained_variance", "completions/mean_length", "eval_reward"} <= rows
    shown = [(run.folder.path / "completions.jsonl").read_text("utf-8") for run in (whole, resumed)]
    assert shown[0] == shown[1]
    answers = [json.loads(line) for line in shown[0].splitlines()]
    # New answers come every second step, and are shown at the first log behind them.
    assert {row["step"] for row in answers} == {1, 3, 5}
    assert all(row["rewards"] == {"even": row["reward"]} and row["prompt"] == "Say something." for row in answers)


def test_the_critic_stays_out_of_what_is_saved(train: Callable[..., Any], asked: Path) -> None:
    from safetensors import safe_open

    run = train("run", PPO, {"optimisation": {"max_steps": 2}, "cadence": {"save_steps": 2}})
    for folder in (run.folder.path, run.folder.path / "checkpoint-2"):
        with safe_open(folder / "model.safetensors", "pt") as file:
            assert not [name for name in file.keys() if "value_head" in name]  # noqa: SIM118 - it is no mapping
    assert not (run.folder.path / "value_head.safetensors").exists()
    assert share_of_even(run.folder.path, asked / "models" / "tiny") > 0


def test_the_first_pass_begins_at_the_policy_that_wrote_the_answers(train: Callable[..., Any], asked: Path) -> None:
    run = train("run", PPO, {"optimisation": {"max_steps": 1}})
    row = next(row for row in run.rows if "policy_loss" in row)
    assert row["kl"] == pytest.approx(0, abs=1e-6)
    assert row["clip_fraction"] == 0
    assert row["policy_moved"] == pytest.approx(0, abs=1e-6)


def test_it_trains_beside_weights_in_four_bits_with_a_fixed_price(train: Callable[..., Any], asked: Path) -> None:
    four_bits = {"quantization": {"type": "4bit"}, "method": {"type": "lora"}, "stage": {"whiten_rewards": True}}
    run = train("run", PPO, four_bits, {"optimisation": {"max_steps": 4}})
    assert [row["kl_coefficient"] for row in run.rows if "kl_coefficient" in row] == [0.1]
    assert (run.folder.path / "adapter_model.safetensors").is_file()


def test_the_reference_stays_behind_also_in_bf16(train: Callable[..., Any], asked: Path) -> None:
    steps = {
        "optimisation": {"max_steps": 3, "precision": "bf16", "learning_rate": 1e-2},
        "stage": {"ppo_epochs": 1},
        "method": {"type": "lora"},
    }
    run = train("run", PPO, steps)
    distances = [row["kl"] for row in run.rows if "kl" in row]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert abs(distances[-1]) > 1e-3
