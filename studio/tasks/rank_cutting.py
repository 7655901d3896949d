"""AdaLoRA beside the trainer's steps: which directions of the matrices are kept (arXiv 2303.10512)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.tasks.failures import TaskError


class RankCutting(TrainerCallback):
    """Lets peft weigh every direction by its gradient after each step of the optimizer and cut the weakest.

    An adapter that is continued keeps the ranks that its own run has settled.
    """

    def __init__(self, model: Any, settings: Mapping[str, Any], batches_a_step: int) -> None:
        self._tuner, self._settings = model.base_model, settings
        self._config = model.peft_config[self._tuner.trainable_adapter_name]
        self._settled = self._config.rank_pattern is not None
        weight = settings["orthogonality"] / batches_a_step
        # peft adds the pull to the loss of every batch, those of an evaluation too.
        self._tuner.register_forward_pre_hook(lambda module, _: self._pull(weight if module.training else 0.0))

    def _pull(self, weight: float) -> None:
        self._config.orth_reg_weight = weight

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        settings = self._settings
        first, last = schedule(state.max_steps, settings["warmup_share"], settings["final_share"])
        self._config.total_step, self._config.tinit, self._config.tfinal = state.max_steps, first, last

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The gradients are still there. The step that is being done is counted only when it is over.
        if not self._settled:
            self._tuner.update_and_allocate(state.global_step + 1)


def schedule(steps: int, warmup_share: float, final_share: float) -> tuple[int, int]:
    """After how many steps ranks begin to be cut, and how many are left behind the last cut.

    Raises TaskError for a run that is too short to cut anything.
    """
    first, last = round(steps * warmup_share), round(steps * final_share)
    # The last cut looks at what the steps before it have shown. The first one shows nothing: with a warmup its rate is
    # zero, so every direction still weighs nothing, and all of them would be cut.
    if first >= steps - last or steps - last < 3:
        raise TaskError(
            "method",
            f"In {steps} steps there is none left on which AdaLoRA could cut ranks.",
            "Lower method.warmup_share or method.final_share, or train for more steps.",
        )
    return first, last
