"""Trainers of pairs that need no reference, on transformers' trainer: ORPO and SimPO."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import TrainingArguments
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head, disable_dropout_in_model

from studio.tasks.pair_losses import log_odds_ratio, orpo_loss, simpo_loss
from studio.tasks.trainer import RunTrainer


@dataclass
class PairArguments(TrainingArguments):
    """The stages' settings under their own names; config/preference_stages.py explains them."""

    trust_remote_code: bool = False
    beta: float = 0.1
    gamma: float = 0.5
    sft_weight: float = 0.0
    disable_dropout: bool = True
    pad_to_multiple_of: int | None = None


@dataclass(frozen=True)
class Pairs:
    """What the model makes of a batch: of each answer the mean log-probability of its tokens, shape [pairs], and of the
    chosen ones the loss of ordinary training, the mean over all their tokens."""

    chosen: Tensor
    rejected: Tensor
    chosen_nll: Tensor


class PairTrainer(RunTrainer):
    """Rows are prompt_ids, chosen_ids and rejected_ids; in a batch the chosen answers come first."""

    loss_is_scaled_for_ga = False  # each batch's loss is a mean
    length_columns = ("prompt_ids", "chosen_ids", "rejected_ids")

    args: PairArguments

    def __init__(self, *, model: Any, args: PairArguments, processing_class: Any, **options: Any) -> None:
        collator = DataCollatorForPreference(processing_class.pad_token_id, pad_to_multiple_of=args.pad_to_multiple_of)
        super().__init__(model=model, args=args, processing_class=processing_class, data_collator=collator, **options)
        if args.disable_dropout:
            disable_dropout_in_model(model)
        # Log-probabilities of the answers' tokens alone, so that no logits of whole rows are held.
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
        self._told: dict[str, dict[str, list[float]]] = {"train": defaultdict(list), "eval": defaultdict(list)}
        self._tokens = 0

    @abstractmethod
    def pair_loss(self, pairs: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and what else shall be told of it."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        ids, real, answers = inputs["input_ids"], inputs["attention_mask"], inputs["completion_mask"]
        labels = ids.masked_fill(answers == 0, -100)
        outputs = model(input_ids=ids, attention_mask=real, labels=labels, fused_lm_head=True)
        mask = answers[:, 1:]
        # Methods with vectors in front of a row have places for them here; the row's own are the last ones.
        by_token = outputs.log_probs[:, -mask.shape[1] :]
        sums, lengths = by_token.sum(1), mask.sum(1)
        chosen, rejected = (sums / lengths.clamp(min=1)).chunk(2)
        pairs = Pairs(chosen, rejected, -sums.chunk(2)[0].sum() / lengths.chunk(2)[0].sum().clamp(min=1))
        loss, told = self.pair_loss(pairs)
        self._tell(pairs, told, outputs, mask, int(real.sum()))
        return (loss, outputs) if return_outputs else loss

    def _tell(self, pairs: Pairs, told: dict[str, Tensor], outputs: Any, mask: Tensor, tokens: int) -> None:
        mode = "train" if self.model.training else "eval"
        beta = self.args.beta
        with torch.no_grad():
            top = outputs.is_top1[:, -mask.shape[1] :].chunk(2)[0] & mask.chunk(2)[0].bool()
            entropy = (outputs.entropy[:, -mask.shape[1] :] * mask).sum() / mask.sum().clamp(min=1)
            found = {
                "rewards/chosen": beta * pairs.chosen,
                "rewards/rejected": beta * pairs.rejected,
                "rewards/accuracies": (pairs.chosen > pairs.rejected).float(),
                "rewards/margins": beta * (pairs.chosen - pairs.rejected),
                "logps/chosen": pairs.chosen,
                "logps/rejected": pairs.rejected,
                "nll_loss": pairs.chosen_nll,
                "entropy": entropy,
                "mean_token_accuracy": top.sum() / mask.chunk(2)[0].sum().clamp(min=1),
                **told,
            }
        for name, value in found.items():
            self._told[mode][name].append(value.mean().item())
        if mode == "train":
            self._tokens += tokens
        self._told[mode]["num_tokens"] = [float(self._tokens)]

    def log(self, logs: dict[str, float], *positional: Any, **options: Any) -> None:
        """What was told since the last log goes with it, as means."""
        mode = "train" if self.model.training else "eval"
        prefix = "" if mode == "train" else "eval_"
        means = {f"{prefix}{name}": sum(values) / len(values) for name, values in self._told[mode].items()}
        self._told[mode].clear()
        super().log({**logs, **means}, *positional, **options)

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor, None, None]:
        with torch.no_grad():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(self.length_columns)


class OrpoTrainer(PairTrainer):
    """Ordinary training on the chosen answer, plus `beta` times the odds ratio loss (equation 6 of ORPO)."""

    def pair_loss(self, pairs: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        """See PairTrainer."""
        preference = orpo_loss(pairs.chosen, pairs.rejected).mean()
        told = {"log_odds_ratio": log_odds_ratio(pairs.chosen, pairs.rejected).detach()}
        return pairs.chosen_nll + self.args.beta * preference, told


class SimpoTrainer(PairTrainer):
    """SimPO, with `sft_weight` times ordinary training on the chosen answer."""

    def pair_loss(self, pairs: Pairs) -> tuple[Tensor, dict[str, Tensor]]:
        """See PairTrainer."""
        loss = simpo_loss(pairs.chosen, pairs.rejected, self.args.beta, self.args.gamma).mean()
        return loss + self.args.sft_weight * pairs.chosen_nll, {}
