"""What stages share that compare answers to one prompt with each other (grpo, rloo): prompts, points, resuming."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import Sampler
from transformers import TrainerCallback

from studio.tasks.completions import COMPLETIONS, CompletionLog
from studio.tasks.ends import end_tokens
from studio.tasks.order import epoch_order
from studio.tasks.prompts import IDS, PromptSets
from studio.tasks.reference import Reference
from studio.tasks.rewards.attempt import Attempt
from studio.tasks.rewards.judging import Judge, Points, Scorer, load_judges
from studio.tasks.setup import Setup
from studio.tasks.trainer import Meter, RunTrainer, made

ANSWERS = "answers.safetensors"


class Rewards:
    """The rewards as TRL asks them, one function each; all look at the same reading of the answers."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._answers: Any = None
        self.attempts: list[Attempt] = []
        self.points: dict[str, Points] = {}

    @property
    def functions(self) -> list[Callable[..., Points]]:
        """One for each reward, named after it."""
        return [self._function(judge) for judge in self._scorer.judges.judges]

    @property
    def totals(self) -> Points:
        """What counted of the answers that were asked about last."""
        return self._scorer.judges.totals(self.points)

    def _function(self, judge: Judge) -> Callable[..., Points]:
        def ask(completion_ids: Sequence[Sequence[int]], row: Sequence[int], **_: Any) -> Points:
            if completion_ids is not self._answers:
                self._answers, self.attempts = completion_ids, self._scorer.attempts(row, completion_ids)
                self.points = {}
            points = judge.points(self.attempts)
            self.points[judge.label] = points
            return points

        ask.__name__ = judge.label
        return ask


class Groups(Sampler[int]):
    """The rows of an epoch, each as often as it is answered, in the order of the epoch in which the trainer is.

    Prompts that are answered together are repeated for all batches that learn from the answers. The last such lot is
    filled up with the first rows of the epoch, so that no row is left out.
    """

    def __init__(self, trainer: GroupTrainer, lengths: Sequence[int] | None, count: int) -> None:
        self._trainer, self._lengths, self._count = trainer, lengths, count
        arguments = trainer.args
        self._group = arguments.num_generations
        self._lot = arguments.generation_batch_size // arguments.num_generations
        self._passes = arguments.num_iterations * arguments.steps_per_generation

    def __len__(self) -> int:
        return -(-self._count // self._lot) * self._lot * self._group * self._passes

    def __iter__(self) -> Iterator[int]:
        seed, epoch = self._trainer.order_now()
        order = epoch_order(self._count, self._lengths, self._lot, seed, epoch)
        order += [order[place % self._count] for place in range(-self._count % self._lot)]
        for start in range(0, len(order), self._lot):
            answered = [row for row in order[start : start + self._lot] for _ in range(self._group)]
            for _ in range(self._passes):
                yield from answered


class GroupTrainer(RunTrainer):
    """Stands in front of TRL's GRPOTrainer or RLOOTrainer.

    The column `prompt` holds token ids, which go to the model as they are. The reference is the model as it was before
    the training, whatever the method; TRL would load it anew, or copy the adapter and save the copy too.
    """

    length_columns = (IDS,)

    def __init__(self, *, rewards: Rewards, completions: CompletionLog, args: Any, model: Any, **options: Any) -> None:
        self._rewards, self._completions = rewards, completions
        self._aligned, self._resumed_from = False, ""
        beta, args.beta = args.beta, 0.0
        with _without_a_second_adapter(model):
            super().__init__(args=args, model=model, reward_funcs=rewards.functions, **options)
        args.beta = self.beta = beta

    def order_now(self) -> tuple[int, int]:
        """The seed of the order of rows, and the epoch in which the training is."""
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return seed, int(self.state.epoch or 0)

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        rows: Any = self.train_dataset if dataset is None else dataset
        grouped = self.args.train_sampling_strategy == "group_by_length"
        return Groups(self, self._lengths(rows) if grouped else None, len(rows))

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompts, None, {}

    def _get_per_token_logps_and_entropies(self, model: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(model, Reference):
            with model.in_place():
                return super()._get_per_token_logps_and_entropies(self.model, *rest, **options)
        return super()._get_per_token_logps_and_entropies(model, *rest, **options)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not self._aligned:
            self._align()
        return super()._prepare_inputs(generation_batch)

    def _align(self) -> None:
        """Put a resumed training where it was: TRL would count its steps from 0 and answer in the midst of a lot."""
        self._aligned = True
        self._completions.begin(self.state.global_step)
        self._step = self.state.global_step * self.args.gradient_accumulation_steps
        file = Path(self._resumed_from) / ANSWERS
        if self._resumed_from and file.is_file():
            self._buffered_inputs = _unpacked(load_file(file, device=str(self.args.device)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._resumed_from = resume_from_checkpoint
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        in_the_midst = self.state.global_step % self.num_iterations
        if output_dir not in (None, self.args.output_dir) and in_the_midst and self._buffered_inputs:
            save_file(_packed(self._buffered_inputs), Path(output_dir) / ANSWERS)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        scored = super()._generate_and_score_completions(inputs)
        if self.model.training:
            ids, masks = (
                (scored["prompt_ids"], scored["completion_ids"]),
                (scored["prompt_mask"], scored["completion_mask"]),
            )
            self._meter.add(torch.cat(ids, dim=1), torch.cat(masks, dim=1))
        return scored

    def log(self, logs: dict[str, float], *rest: Any, **options: Any) -> None:
        """As ever; answers with their points go to the run's folder beside it."""
        rewards = self._rewards
        if "loss" in logs and rewards.attempts and self.is_world_process_zero():
            self._completions.add(self.state.global_step, rewards.attempts, rewards.points, rewards.totals)
            rewards.attempts = []  # with several passes a step may learn from answers that were logged before
        super().log(logs, *rest, **options)


def build_groups(
    trainer: type[GroupTrainer],
    config: type[Any],
    setup: Setup,
    model: Any,
    prepared: PromptSets,
    callbacks: Sequence[TrainerCallback],
    meter: Meter,
) -> GroupTrainer:
    """A trainer of that class with the rewards of the run. Raises TaskError for rewards that cannot be used."""
    judges = load_judges(setup.plan.rewards or (), setup.workspace, setup.machine)
    rewards = Rewards(Scorer(judges, prepared.prompts, setup.tokenizer))
    _check_context(setup, model, prepared)
    completions = CompletionLog(Path(setup.plan.trainer["output_dir"]) / COMPLETIONS)
    with _ending(model, setup):
        ready = made(
            trainer, config, setup, model, prepared, callbacks, meter, rewards=rewards, completions=completions
        )
    if ready.beta:
        ready.ref_model = Reference(ready.model)
    return ready


@contextmanager
def _ending(model: Any, setup: Setup) -> Iterator[None]:
    """Within this block the model names all tokens that end an answer, where TRL's trainers look for them."""
    generation = model.generation_config
    before, generation.eos_token_id = (
        generation.eos_token_id,
        sorted(end_tokens(model, setup.tokenizer, setup.template)),
    )
    try:
        yield
    finally:
        generation.eos_token_id = before


@contextmanager
def _without_a_second_adapter(model: Any) -> Iterator[None]:
    """Within this block the model takes no further adapter: TRL's copy of the first one for a reference would begin
    PiSSA and its like once more, and would be saved with the result."""
    if not hasattr(model, "peft_config"):
        yield
        return
    parameter = model.get_parameter
    model.add_adapter = lambda *_, **__: None
    model.get_parameter = lambda name: parameter(name.replace(".ref.", ".default."))
    try:
        yield
    finally:
        del model.add_adapter, model.get_parameter


def _check_context(setup: Setup, model: Any, prepared: PromptSets) -> None:
    """Say it when prompts and answers together go beyond what the model was made for."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = max(len(prompt.ids) for prompt in prepared.prompts)
    answer = setup.plan.trainer["max_completion_length"]
    if positions and longest + answer > positions:
        setup.reporter.notice(
            f"The longest prompt ({longest:,} tokens) and answers of {answer:,} tokens go beyond the {positions:,} "
            "tokens that the model was made for. Lower stage.max_completion_length or data.cutoff_len."
        )


def _packed(batches: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """The answers that are still to be learnt from, as named tensors."""
    found = {f"{place}.{name}": value for place, batch in enumerate(batches) for name, value in batch.items()}
    return {name: value.detach().clone().contiguous() for name, value in found.items() if value is not None}


def _unpacked(tensors: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    places = sorted({int(name.partition(".")[0]) for name in tensors})
    return [
        {name.partition(".")[2]: value for name, value in tensors.items() if name.partition(".")[0] == str(place)}
        for place in places
    ]
