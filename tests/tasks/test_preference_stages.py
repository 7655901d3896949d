"""Each stage of judged answers trains, starts from the right reference, resumes exactly, and loads again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.examples import Message
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from tests.conftest import QUESTIONS, write_dataset

pytestmark = pytest.mark.slow

KINDS = ("dpo", "kto", "orpo", "simpo", "reward")
BAD = "I do not want to say."
STEPS = 6
SHORT = {"optimisation": {"max_steps": STEPS, "learning_rate": 5e-3}}
CPU = Machine("cpu", bf16=False)


@pytest.fixture
def judged(workspace: Path) -> Path:
    """The workspace with the datasets `pairs` and `verdicts`."""
    pairs = [{"instruction": question, "chosen": answer, "rejected": BAD} for question, answer in QUESTIONS]
    write_dataset(workspace, "pairs", list(pairs), ranking=True)
    verdicts = [
        {"instruction": question, "output": said, "good": said != BAD}
        for question, answer in QUESTIONS
        for said in (answer, BAD)
    ]
    write_dataset(workspace, "verdicts", list(verdicts), columns={"kto_tag": "good"})
    return workspace


@pytest.fixture
def learn(train: Callable[..., Any], judged: Path) -> Callable[..., Any]:
    """A function (kind, *changes, name=, **options) that trains a stage on its dataset."""

    def call(kind: str, *changes: dict[str, Any], name: str = "run", **options: Any) -> Any:
        data = {"datasets": ["verdicts" if kind == "kto" else "pairs"], "cutoff_len": 128}
        return train(name, {"stage": {"type": kind}, "data": data}, SHORT, *changes, **options)

    return call


def values(run: Any, key: str) -> list[float]:
    """The values under a key, row by row."""
    return [row[key] for row in run.rows if key in row]


# What grows while a stage learns, and what else it tells at each step.
GROWS = {kind: "margin" if kind == "reward" else "rewards/margins" for kind in KINDS}
TOLD = {
    "dpo": {"rewards/chosen", "rewards/rejected", "rewards/accuracies", "logps/chosen", "logps/rejected"},
    "kto": {"kl", "entropy"},
    "orpo": {"rewards/accuracies", "nll_loss", "log_odds_ratio"},
    "simpo": {"rewards/accuracies", "nll_loss", "logps/chosen"},
    "reward": {"accuracy", "min_reward", "mean_reward", "max_reward"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_is_the_same_run_when_it_was_stopped(learn: Callable[..., Any], kind: str) -> None:
    changes = {"data": {"validation_size": 2}, "cadence": {"eval_steps": 3, "save_steps": 0}}
    whole = learn(kind, changes, name="whole")
    assert whole.code == 0
    grown = values(whole, GROWS[kind])
    assert grown[-1] > grown[0] + 0.01
    assert TOLD[kind] | {"num_tokens", "padding_share"} <= next(row for row in whole.rows if "loss" in row).keys()
    assert len(values(whole, "eval_loss")) == 2
    assert f"eval_{GROWS[kind]}" in {key for row in whole.rows for key in row}

    assert learn(kind, changes, name="broken", stop_at=3).code == 10
    broken = learn(kind, changes, name="broken", resume_from="checkpoint-3")
    assert broken.losses == pytest.approx(whole.losses, abs=1e-4)
    assert values(broken, GROWS[kind]) == pytest.approx(grown, abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        pytest.param("kto", {}, id="kto-lora"),
        pytest.param("kto", {"method": {"type": "full"}}, id="kto-full"),
        pytest.param("dpo", {"method": {"start": "default"}}, id="lora"),
        pytest.param("dpo", {"method": {"start": "pissa"}}, id="pissa"),
        pytest.param("dpo", {"method": {"start": "olora"}}, id="olora"),
        pytest.param("dpo", {"method": {"type": "full"}}, id="full"),
        pytest.param("dpo", {"method": {"type": "freeze", "trainable_layers": 1}}, id="freeze"),
        pytest.param("dpo", {"quantization": {"type": "4bit"}}, id="nf4"),
        pytest.param("dpo", {"quantization": {"type": "8bit"}}, id="int8"),
        pytest.param("dpo", {"optimisation": {"precision": "bf16"}}, id="bf16"),
    ],
)
def test_the_reference_is_the_model_before_the_first_step(
    learn: Callable[..., Any], kind: str, changes: dict[str, Any]
) -> None:
    run = learn(kind, changes, {"optimisation": {"max_steps": 3}})
    first = next(row for row in run.rows if "loss" in row)
    rewards = [first[key] for key in ("rewards/chosen", "rewards/rejected") if key in first]
    assert rewards
    # bitsandbytes' int8 layers round a little differently with gradients and without.
    most = 1e-3 if changes.get("quantization", {}).get("type") == "8bit" else 1e-6
    assert rewards == pytest.approx([0.0] * len(rewards), abs=most)
    assert values(run, "rewards/rejected")[-1] < -0.01


def test_the_beginning_is_kept_while_the_model_moves(judged: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from studio.tasks.compared import Beginning

    ids = torch.arange(3, 40)[None]
    for start in (True, "pissa", "olora"):
        model = AutoModelForCausalLM.from_pretrained(judged / "models" / "tiny", dtype=torch.float32).eval()
        with torch.no_grad():
            base = model(ids).logits.log_softmax(-1)
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=start)).train()
        beginning = Beginning(model)
        beginning.keep()
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data += 0.1
        moved = model(input_ids=ids).logits.log_softmax(-1)
        assert torch.allclose(beginning(input_ids=ids).logits.log_softmax(-1), base, atol=1e-4)
        assert torch.equal(model(input_ids=ids).logits.log_softmax(-1), moved)
        assert (moved - base).abs().max() > 0.01
        assert list(beginning.parameters()) == []
        assert model.training


def test_a_reference_computed_beforehand_is_the_same(learn: Callable[..., Any]) -> None:
    changes = {"data": {"validation_size": 2}, "cadence": {"eval_steps": 3}}
    now = learn("dpo", changes, name="now")
    before = learn("dpo", changes, {"stage": {"precompute_reference": True}}, name="before")
    assert before.losses == pytest.approx(now.losses, abs=1e-5)
    assert values(before, "eval_loss") == pytest.approx(values(now, "eval_loss"), abs=1e-5)


def test_an_adapter_that_is_continued_is_its_own_reference(learn: Callable[..., Any]) -> None:
    first = learn("orpo", name="first")
    one = {"optimisation": {"max_steps": 1}}
    afresh = learn("dpo", one, name="afresh")
    second = learn("dpo", one, {"model": {"adapters": ["saves/first"]}}, name="second")
    assert first.code == 0
    assert values(second, "rewards/margins") == pytest.approx([0], abs=1e-6)
    assert values(second, "logps/chosen")[0] > values(afresh, "logps/chosen")[0] + 1


@pytest.mark.parametrize(
    "loss",
    "hinge ipo robust exo_pair nca_pair bco_pair sppo_hard aot aot_unpaired apo_zero apo_down discopop "
    "sigmoid_norm".split(),
)
def test_every_loss_of_dpo_trains(learn: Callable[..., Any], loss: str) -> None:
    smoothing = {"label_smoothing": 0.01} if loss in ("robust", "exo_pair") else {}
    settings = {"loss": loss, "sft_weight": 0.5, **smoothing}
    run = learn("dpo", {"stage": settings, "optimisation": {"max_steps": 3}})
    margins = values(run, "rewards/margins")
    assert margins[0] == pytest.approx(0, abs=1e-6)
    assert margins[-1] > 0


def test_the_further_loss_of_kto_needs_no_neighbours(learn: Callable[..., Any]) -> None:
    changes = {"stage": {"loss": "apo_zero_unpaired"}, "optimisation": {"per_device_train_batch_size": 1}}
    run = learn("kto", changes, {"optimisation": {"max_steps": 3}})
    assert values(run, "kl") == [0.0, 0.0, 0.0]
    assert values(run, "rewards/rejected")[-1] < 0


def test_ordinary_training_mixed_in_makes_the_chosen_answers_likelier(learn: Callable[..., Any]) -> None:
    plain, mixed = (
        learn(kind, {"stage": {"sft_weight": weight}}, name=f"{kind}-{weight}")
        for kind, weight in (("simpo", 0.0), ("simpo", 5.0))
    )
    assert values(mixed, "nll_loss")[-1] < values(plain, "nll_loss")[-1]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="lora"),
        pytest.param({"method": {"type": "full"}, "optimisation": {"learning_rate": 2e-3}}, id="full"),
        pytest.param({"quantization": {"type": "4bit"}}, id="nf4"),
    ],
)
def test_a_reward_model_is_loaded_again_and_scores(
    learn: Callable[..., Any], judged: Path, changes: dict[str, Any]
) -> None:
    from transformers import AutoTokenizer

    from studio.tasks.reward_model import load_reward_model

    run = learn("reward", {"optimisation": {"max_steps": 16}}, changes)
    tokenizer = AutoTokenizer.from_pretrained(run.folder.path)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    model = load_reward_model("saves/run", Workspace(judged), CPU)
    prompts = [[Message("user", question)] for question, _ in QUESTIONS]
    good = model.score(prompts, [answer for _, answer in QUESTIONS])
    bad = model.score(prompts, [BAD] * len(QUESTIONS))
    assert all(better > worse for better, worse in zip(good, bad, strict=True))
    # Alone or in a batch with longer rows, an answer has the same score.
    assert model.score(prompts[-1:], [QUESTIONS[-1][1]]) == pytest.approx(good[-1:], abs=1e-3)
    margin = sum(good) / len(good) - sum(bad) / len(bad)
    assert margin == pytest.approx(values(run, "margin")[-1], rel=0.5)


def test_a_reward_model_is_not_taken_for_one_that_writes(learn: Callable[..., Any], judged: Path) -> None:
    from transformers import AutoModelForCausalLM

    from studio.tasks.adapter import load

    learn("reward", {"optimisation": {"max_steps": 1}})
    words = AutoModelForCausalLM.from_pretrained(judged / "models/tiny")
    with pytest.raises(TaskError, match="gives points and writes no words"):
        load(words, judged / "saves/run")
    learn("reward", {"optimisation": {"max_steps": 1}, "method": {"type": "full"}}, name="whole")
    with pytest.raises(TaskError, match="gives points and writes no words"):
        learn("simpo", {"model": {"path": "saves/whole"}}, name="next")


def test_what_is_no_reward_model_is_refused(learn: Callable[..., Any], judged: Path) -> None:
    from studio.tasks.reward_model import load_reward_model

    learn("simpo", {"optimisation": {"max_steps": 1}})
    for path, reason in {
        "saves/run": "that run was of stage simpo",
        "models/tiny": "the model that lies there is a LlamaForCausalLM",
        "data": "neither a model nor an adapter",
    }.items():
        with pytest.raises(TaskError, match=reason):
            load_reward_model(path, Workspace(judged), CPU)


def test_an_adapter_that_writes_words_is_no_start_of_a_reward_model(learn: Callable[..., Any]) -> None:
    learn("simpo", {"optimisation": {"max_steps": 1}}, name="words")
    with pytest.raises(TaskError, match="trained to write words"):
        learn("reward", {"model": {"adapters": ["saves/words"]}})


def test_a_model_without_its_weights_is_no_base_of_a_reward_model(learn: Callable[..., Any], judged: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = judged / "models" / "tiny" / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.norm.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(TaskError, match=r"lacks 1 of the weights .* model\.norm\.weight"):
        learn("reward")
