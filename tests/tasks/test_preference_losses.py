"""The losses of ORPO and SimPO against a slow computation and against TRL's numbers; only answers give a loss."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PROMPT, CHOSEN, REJECTED = [5, 6, 7], [8, 9, 2], [10, 2]


def slow_mean_log(model: Any, prompt: list[int], answer: list[int]) -> float:
    """The mean log-probability of an answer's tokens, one token at a time."""
    import torch

    total = 0.0
    for place, token in enumerate(answer):
        logits = model(torch.tensor([prompt + answer[:place]])).logits[0, -1].double()
        total += float(logits.log_softmax(-1)[token])
    return total / len(answer)


@pytest.mark.parametrize("kind", ["orpo", "simpo"])
def test_the_trainer_computes_what_the_paper_says(tiny_model_folder: Path, tmp_path: Path, kind: str) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from studio.runs.folder import RunFolder
    from studio.tasks.pair_trainer import OrpoTrainer, PairArguments, SimpoTrainer
    from studio.tasks.status import Reporter
    from studio.tasks.trainer import Meter

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    chosen, rejected = (slow_mean_log(model, PROMPT, answer) for answer in (CHOSEN, REJECTED))
    if kind == "orpo":
        odds = [math.exp(value) / (1 - math.exp(value)) for value in (chosen, rejected)]
        expected = -chosen + 0.3 * -math.log(1 / (1 + odds[1] / odds[0]))
    else:
        expected = -math.log(1 / (1 + math.exp(-(0.3 * (chosen - rejected) - 0.5)))) + 0.25 * -chosen
    rows = Dataset.from_list([{"prompt_ids": PROMPT, "chosen_ids": CHOSEN, "rejected_ids": REJECTED}])
    arguments = PairArguments(
        str(tmp_path), use_cpu=True, beta=0.3, gamma=0.5, sft_weight=0.25, report_to="none", bf16=False
    )
    trainer = {"orpo": OrpoTrainer, "simpo": SimpoTrainer}[kind](
        reporter=Reporter(RunFolder(tmp_path)),
        meter=Meter(),
        model=model,
        args=arguments,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(tiny_model_folder),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    assert float(trainer.compute_loss(model, dict(batch))) == pytest.approx(expected, abs=1e-5)

    # Another question changes the loss, but its tokens have none of their own: no gradient comes from them alone.
    answers = batch["completion_mask"]
    assert answers.sum(1).tolist() == [len(CHOSEN), len(REJECTED)]
    assert answers[:, : len(PROMPT)].sum() == 0


def test_the_losses_are_those_of_trl() -> None:
    import torch

    cpo = pytest.importorskip("trl.experimental.cpo.cpo_trainer")
    orpo = pytest.importorskip("trl.experimental.orpo.orpo_trainer")
    from studio.tasks.pair_losses import log_odds_ratio, orpo_loss, simpo_loss

    torch.manual_seed(0)
    chosen, rejected = -torch.rand(16) * 5 - 0.01, -torch.rand(16) * 5 - 0.01
    told = SimpleNamespace(
        beta=2.0,
        simpo_gamma=0.6,
        gamma=0.6,
        loss_type="simpo",
        alpha=0.0,
        label_smoothing=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )
    theirs = cpo.CPOTrainer.cpo_loss(told, chosen, rejected)[0]
    assert torch.allclose(simpo_loss(chosen, rejected, 2.0, 0.6), theirs, atol=1e-6)
    theirs, _, _, ratio, log_odds = orpo.ORPOTrainer.odds_ratio_loss(told, chosen, rejected)
    assert torch.allclose(-2.0 * orpo_loss(chosen, rejected), theirs, atol=1e-5)
    assert float(log_odds_ratio(chosen, rejected).mean()) == pytest.approx(float(log_odds), abs=1e-5)
    assert ratio is not None


def test_certain_answers_have_finite_odds() -> None:
    import torch

    from studio.tasks.pair_losses import orpo_loss

    sure = torch.tensor([0.0, -200.0], requires_grad=True)
    loss = orpo_loss(sure[:1], sure[1:]).sum() + orpo_loss(sure[1:], sure[:1]).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(sure.grad).all()
