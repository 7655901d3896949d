"""Proximal policy optimization on transformers' trainer: answers written and scored, then some passes over them."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler
from transformers.trainer_utils import EvalLoopOutput

from studio.runs.atomic import write_text
from studio.tasks.completions import CompletionLog
from studio.tasks.ppo.advantages import advantages_of, explained_variance, masked_mean, whitened
from studio.tasks.ppo.arguments import PpoArguments
from studio.tasks.ppo.kl import Deviation, KlPrice
from studio.tasks.ppo.objective import Clipping, losses
from studio.tasks.ppo.rollout import Answers, Decoding, Experience, token_scores, write_answers
from studio.tasks.prompts import IDS
from studio.tasks.reference import Reference
from studio.tasks.rewards.attempt import Attempt
from studio.tasks.rewards.judging import Points, Scorer
from studio.tasks.samples import undisturbed
from studio.tasks.trainer import RunTrainer

VALUE_HEAD, EXPERIENCE, PRICES = "value_head.safetensors", "experience.safetensors", "ppo.json"

Row = Mapping[str, Any]
Scored = tuple[Sequence[Row], Sequence[Sequence[int]], Mapping[str, Points]]
"""Rows of the data, token ids of the answers to them, and their points by the name of each reward; "reward" is the sum
that counts. None is no opinion, which is worth nothing."""


class Repeated(Sampler[int]):
    """The rows of a step, then the same rows again for each further pass, then those of the next step.

    An incomplete step at the end of an epoch is left out, as its rows come with others in the next epoch.
    """

    def __init__(self, order: Sampler[int], rows: int, passes: int) -> None:
        self._order, self._rows, self._passes = order, min(rows, len(order)), passes  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._order) // self._rows * self._rows * self._passes  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[int]:
        order = list(self._order)
        for start in range(0, len(order) - self._rows + 1, self._rows):
            for _ in range(self._passes):
                yield from order[start : start + self._rows]


class PpoTrainer(RunTrainer):
    """One step of the optimizer is one pass over the answers; after `ppo_epochs` such steps new ones are written."""

    loss_is_scaled_for_ga = True  # each batch is weighed by its share of the step's tokens
    length_columns = (IDS,)

    args: PpoArguments

    def __init__(
        self, *, args: PpoArguments, ends: frozenset[int], scorer: Scorer, completions: CompletionLog, **options: Any
    ) -> None:
        super().__init__(args=args, data_collator=list, **options)
        padding = self.processing_class.pad_token_id
        self._decoding = Decoding(args.max_completion_length, args.temperature, args.top_p, ends, padding)
        self._clipping = Clipping(args.clip_range, args.value_clip_range, args.value_coefficient)
        self._price, self._scorer = KlPrice(args.kl_coefficient, args.kl_target), scorer
        self._deviation = Deviation()
        self._completions, self._begun, self._newest = completions, False, list[Scored]()
        self._experience: list[Experience] = []
        self._told: dict[str, list[float]] = defaultdict(list)
        self._reference = Reference(self.model)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return Repeated(super()._get_train_sampler(train_dataset), rows, self.args.ppo_epochs)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler[int]:
        return SequentialSampler(eval_dataset)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list[Any], None]:
        """The experience of a step in place of its prompts; written anew where the passes over the old one are done."""
        if not self._begun:
            self._begun = True
            self._completions.begin(self.state.global_step)
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.state.global_step % self.args.ppo_epochs == 0:
            self._experience = []  # let go of the old one before the new one is made
            self._experience = self._written(batches)
        total = float(sum(item.answers.answer_mask.sum() for item in self._experience))
        shares = [float(item.answers.answer_mask.sum()) / max(total, 1.0) for item in self._experience]
        return [
            {"experience": item, "share": share} for item, share in zip(self._experience, shares, strict=True)
        ], None

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Tensor:
        self._meter.add(inputs["experience"].answers.ids, inputs["experience"].answers.mask)
        return super().training_step(model, inputs, *rest, **options)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        kept: Experience = inputs["experience"]
        log_probabilities, values, entropy = token_scores(
            model, kept.answers, self._decoding.temperature, _critic(self.model)
        )
        mask = kept.answers.answer_mask
        assert values is not None
        found = losses(
            log_probabilities,
            values,
            kept.log_probabilities,
            kept.values,
            kept.advantages,
            kept.returns,
            mask,
            self._clipping,
        )
        self._tell(
            policy_loss=found.policy,
            value_loss=found.value,
            clip_fraction=found.clipped,
            policy_moved=found.moved,
            entropy=masked_mean(entropy, mask),
        )
        return found.total * inputs["share"]

    def log(self, logs: dict[str, float], *positional: Any, **options: Any) -> None:
        """What was told since the last log goes with it, as means."""
        if "loss" in logs:
            logs = {**logs, **{name: sum(values) / len(values) for name, values in self._told.items()}}
            self._told.clear()
            self._show_answers()
        super().log(logs, *positional, **options)

    def _show_answers(self) -> None:
        """The newest answers with their points go to the run's folder, once."""
        attempts, points = list[Attempt](), defaultdict[str, Points](list)
        for rows, answers, given in self._newest if self.is_world_process_zero() else ():
            attempts += self._scorer.attempts([row["row"] for row in rows], answers)
            for name, column in given.items():
                points[name] += column
        self._newest = []
        if attempts:
            totals = points.pop("reward")
            self._completions.add(self.state.global_step, attempts, points, totals)

    def evaluation_loop(
        self, dataloader: Any, description: str, *positional: Any, metric_key_prefix: str = "eval", **options: Any
    ) -> EvalLoopOutput:
        """Points of answers to the validation prompts, drawn from the same seed at every evaluation."""
        rewards: list[float] = []
        for number, rows in enumerate(dataloader):
            answers = self._answers(rows, self.args.seed + number)
            rewards += [score or 0.0 for score in self._scorer(rows, answers.tokens)["reward"]]
        metrics = {f"{metric_key_prefix}_reward": sum(rewards) / max(len(rewards), 1)}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=metrics, num_samples=len(rewards))  # type: ignore[arg-type]

    # ---- answers and what they are worth

    def _answers(self, rows: Sequence[Row], seed: int) -> Answers:
        model = self.accelerator.unwrap_model(self.model)
        with undisturbed(model), self.compute_loss_context_manager():
            return write_answers(model, [row[IDS] for row in rows], self._decoding, seed)

    def _written(self, batches: Sequence[Sequence[Row]]) -> list[Experience]:
        """The experience of a whole step: advantages are scaled over all of its batches."""
        self._reporter.phase("training", "writing answers")
        self._newest = []
        # From the seed and the step alone, so that a resumed run writes the same.
        seed = self.args.seed * 1_000_003 + self.state.global_step
        found = [self._estimated(rows, seed + 7919 * number) for number, rows in enumerate(batches)]
        width = max(item.answers.width for item in found)
        mask = torch.cat([_wide(item.answers.answer_mask, width) for item in found]).float()
        advantages = whitened(torch.cat([_wide(item.advantages, width) for item in found]), mask)
        sizes = [len(item.advantages) for item in found]
        parts = advantages.split(sizes)
        values, returns = (
            torch.cat([_wide(getattr(item, name), width) for item in found]) for name in ("values", "returns")
        )
        self._tell(explained_variance=explained_variance(values, returns, mask))
        self._reporter.phase("training")
        return [
            Experience(item.answers, item.log_probabilities, item.values, part[:, : item.answers.width], item.returns)
            for item, part in zip(found, parts, strict=True)
        ]

    def _estimated(self, rows: Sequence[Row], seed: int) -> Experience:
        answers = self._answers(rows, seed)
        mask = answers.answer_mask.float()
        model = self.accelerator.unwrap_model(self.model)
        with undisturbed(model), self.compute_loss_context_manager():
            critic = _critic(self.model)
            log_probabilities, values, _ = token_scores(model, answers, self._decoding.temperature, critic)
            with self._reference.in_place():
                reference, _, _ = token_scores(model, answers, self._decoding.temperature)
        assert values is not None
        divergence = (log_probabilities - reference) * mask
        scores = self._scored(rows, answers)
        rewards = -self._price.coefficient * divergence
        last = mask.sum(dim=1).long() - 1
        rewards[torch.arange(len(rows), device=rewards.device), last] += scores.to(rewards)
        if self.args.whiten_rewards:
            rewards = whitened(rewards, mask, centre=False)
        values = values * mask
        advantages, returns = advantages_of(rewards, values, mask, self.args.gae_gamma, self.args.gae_lambda)
        distance = float(divergence.sum(dim=1).mean())
        self._tell(kl=distance, kl_coefficient=self._price.coefficient)
        self._price.adapt(distance, len(rows))
        return Experience(answers, log_probabilities, values, advantages, returns)

    def _scored(self, rows: Sequence[Row], answers: Answers) -> Tensor:
        points = self._scorer(rows, answers.tokens)
        self._newest.append((rows, answers.tokens, points))
        scores = [score or 0.0 for score in points["reward"]]
        given = {name: [value for value in of if value is not None] for name, of in points.items() if name != "reward"}
        self._tell(
            reward=statistics.fmean(scores),
            reward_std=statistics.pstdev(scores),
            **{f"rewards/{name}": statistics.fmean(values) for name, values in given.items() if values},
            **{
                "completions/mean_length": float(answers.answer_mask.sum(dim=1).float().mean()),
                "completions/clipped_ratio": self._clipped(answers),
            },
        )
        if self.args.normalize_scores:
            self._deviation.add(scores)
            scores = [score / self._deviation.value for score in scores]
        return torch.tensor(scores, dtype=torch.float32)

    def _clipped(self, answers: Answers) -> float:
        """Share of answers without an end token."""
        return sum(tokens[-1] not in self._decoding.ends for tokens in answers.tokens) / len(answers.tokens)

    def _tell(self, **figures: float | Tensor) -> None:
        for name, value in figures.items():
            self._told[name].append(float(value))

    # ---- what a checkpoint keeps beside the model

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """The model without the critic, which is kept in a file of its own."""
        critic = self.model.value_head
        del self.model.value_head
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.model.value_head = critic

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        folder = Path(output_dir)
        save_file(_plain(self.model.value_head.state_dict()), folder / VALUE_HEAD)
        tensors = {
            f"{number}.{name}": tensor
            for number, item in enumerate(self._experience)
            for name, tensor in item.tensors().items()
        }
        save_file(_plain(tensors), folder / EXPERIENCE)
        write_text(folder / PRICES, json.dumps({"price": asdict(self._price), "deviation": asdict(self._deviation)}))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        self.model.value_head.load_state_dict(load_file(folder / VALUE_HEAD))
        kept = json.loads((folder / PRICES).read_text(encoding="utf-8"))
        self._price, self._deviation = KlPrice(**kept["price"]), Deviation(**kept["deviation"])
        parts: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for key, tensor in load_file(folder / EXPERIENCE, device=str(self.args.device)).items():
            number, _, name = key.partition(".")
            parts[int(number)][name] = tensor
        self._experience = [Experience.of(parts[number]) for number in sorted(parts)]


def with_critic(model: Any) -> Any:
    """The model with a value head, which starts by foreseeing nothing."""
    from torch.nn import Linear

    size = model.config.get_text_config().hidden_size
    head = Linear(size, 1, dtype=torch.float32, device=model.device)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    model.value_head = head
    return model


def _critic(model: Any) -> Any:
    return model.value_head


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _wide(values: Tensor, width: int) -> Tensor:
    """Zeros added at the right of every row."""
    return torch.nn.functional.pad(values, (0, width - values.shape[1]))
