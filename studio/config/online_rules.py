"""Rules of the stages in which the model writes answers itself: rewards, and groups that fill a step."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.faults import Fault, hint
from studio.config.online_stages import Grpo, Ppo, Rloo
from studio.config.rewards import reward_faults
from studio.config.train import TrainConfig

MOST_NAMED = 6  # fitting numbers that a sentence names


def rewards_are_known(config: TrainConfig) -> Iterator[Fault]:
    """Something gives points, under names and with arguments that exist."""
    stage = config.stage
    if isinstance(stage, (Ppo, Grpo, Rloo)):
        yield from reward_faults(stage.rewards, stage.reward_model, stage.reward_weights, stage.reward_arguments)


def groups_fill_a_step(config: TrainConfig) -> Iterator[Fault]:
    """Answers to one prompt are compared with each other, so a step must hold whole groups of them."""
    stage, optimisation = config.stage, config.optimisation
    if not isinstance(stage, (Grpo, Rloo)):
        return
    batch, group = optimisation.per_device_train_batch_size, stage.num_generations
    rows = batch * optimisation.gradient_accumulation_steps
    if rows % group:
        steps = next(
            count
            for count in range(optimisation.gradient_accumulation_steps, rows * group)
            if batch * count % group == 0
        )
        fits = [number for number in range(2, rows + 1) if rows % number == 0]
        nearest = sorted(sorted(fits, key=lambda number: abs(number - group))[:MOST_NAMED])
        details = {"rows": rows, "group": group, "steps": steps, "fits": ", ".join(map(str, nearest))}
        yield Fault("stage.num_generations", "group_divides" if fits else "group_divides_steps", group, details)


def answers_are_long_enough_to_differ(config: TrainConfig) -> Iterator[Fault]:
    """A temperature near zero draws the same answer again and again, and equal answers teach nothing."""
    stage = config.stage
    if isinstance(stage, (Ppo, Grpo, Rloo)) and stage.temperature < 0.3:
        yield hint("stage.temperature", "temperature_low", f"{stage.temperature:g}")


def the_output_layer_has_no_adapter(config: TrainConfig) -> Iterator[Fault]:
    """TRL's trainers take probabilities from the output layer's own weight, past an adapter on it."""
    modules: list[str] | str = getattr(config.method, "target_modules", [])
    named = [modules] if isinstance(modules, str) else modules
    if isinstance(config.stage, (Grpo, Rloo)) and any(name.endswith("lm_head") for name in named):
        yield Fault("method.target_modules", "adapter_on_output", details={"stage": config.stage.type})


RULES = (
    rewards_are_known,
    groups_fill_a_step,
    answers_are_long_enough_to_differ,
    the_output_layer_has_no_adapter,
)
