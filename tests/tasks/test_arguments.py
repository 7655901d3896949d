"""Every setting changes what some library is told, and the library gets what the setting says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.config.leaves import Leaf, leaves, value_at
from studio.config.train import TrainConfig
from studio.config.trainer_arguments import FIELD_OF_ARGUMENT
from studio.tasks.arguments import Plan, plan
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine

CPU, GPU = Machine("cpu", bf16=True), Machine("cuda", bf16=True)

# A valid value other than the default, where one cannot be made up from the type.
OTHER: dict[str, Any] = {
    "name": "other",
    "stage.type": "pretrain",
    "method.type": "full",
    "quantization.type": "4bit",
    "stage.center_rewards": 0.01,
    "model.hub": "modelscope",
    "model.adapters": ["saves/a"],
    "model.chat_template": "chatml",
    "model.dtype": "float32",
    "model.attention": "eager",
    "model.rope_scaling": "yarn",
    "model.revision": "main",
    "quantization.quant_type": "fp4",
    "quantization.storage": "bfloat16",
    "quantization.bits": "8",
    "model.new_tokens": ["<tool>"],
    "data.datasets": ["other"],
    "data.validation_datasets": ["other"],
    "data.validation_size": 0.1,
    "data.max_samples": 5,
    "method.alpha": 99,
    "method.target_modules": ["q_proj"],
    "method.feedforward_modules": ["down_proj"],
    "method.modules_to_save": ["lm_head"],
    "method.extra_modules": ["lm_head"],
    "method.trainable_modules": ["mlp"],
    "method.bits": "1",
    "optimisation.lr_scheduler_type": "linear",
    "optimisation.max_steps": 7,
    "optimisation.optimizer": "sgd",
    "optimisation.optimizer_arguments": {"momentum": 0.9},
    "optimisation.lr_scheduler_kwargs": {"num_cycles": 2},
    "optimisation.neftune_noise_alpha": 5.0,
    "optimisation.precision": "pure_bf16",
    "optimisation.gradient_checkpointing": "on",
    "samples.prompts": ["Hi"],
    "trackers.report_to": ["mlflow"],
    "devices.use": "cuda:1",
    "trainer": {"full_determinism": True},
    "stage.rewards": ["repetition"],
    "stage.reward_model": "saves/judge",
    "stage.reward_weights": {"answer_length": 0.5},
    "stage.reward_arguments": {"answer_length": {"target": 7}},
    "stage.epsilon_high": 0.28,
    "optimisation.optimizer_target_modules": ["mlp"],
    "method.start": "gaussian",
    "method.bias": "all",
    "method.rank_pattern": {"q_proj": 4},
    "method.alpha_pattern": {"q_proj": 4},
    "method.layers": [0],
    "method.loraplus_ratio": 16.0,
}
# What must be set for a setting to have anything to act on.
NEEDS: dict[str, dict[str, Any]] = {
    "model.rope_factor": {"model": {"rope_scaling": "linear"}},
    "cadence.eval_steps": {"data": {"validation_size": 1}},
    "stage.reward_weights": {"stage": {"rewards": ["answer_length"]}},
    "stage.reward_arguments": {"stage": {"rewards": ["answer_length"]}},
    "cadence.early_stopping_threshold": {"cadence": {"early_stopping_patience": 2}},
}


def config(**sections: Any) -> TrainConfig:
    """A config without the rules across fields, which are tested elsewhere."""
    return TrainConfig.model_validate({"model": {"path": "m"}, "data": {"datasets": ["d"]}, **sections})


def with_value(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """`tree` with the value put at the dotted path."""
    head, _, rest = path.partition(".")
    return {**tree, head: with_value(tree.get(head, {}), rest, value) if rest else value}


def other_value(leaf: Leaf, old: Any) -> Any:
    """A valid value that differs from `old`."""
    if leaf.path in OTHER:
        return OTHER[leaf.path]
    if leaf.options and isinstance(old, str):
        return next(option for option in leaf.options if option != old)
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return old + 1
    if isinstance(old, float):
        return old / 2 if old else 0.25
    if isinstance(old, str):
        return f"{old}-other"
    raise AssertionError(f"say in OTHER what {leaf.path} may be instead of {old!r}")


def cases() -> list[Any]:
    """Every field of the schema, with the types of its section that make it appear."""
    found = []
    for leaf in leaves(TrainConfig):
        base: dict[str, Any] = {"model": {"path": "m"}, "data": {"datasets": ["d"]}}
        for section, type_name in needed_types(leaf).items():
            base = with_value(base, f"{section}.type", type_name)
        for section, values in NEEDS.get(leaf.path, {}).items():
            for key, value in values.items():
                base = with_value(base, f"{section}.{key}", value)
        found.append(pytest.param(leaf, base, id=f"{leaf.path}-{'-'.join(needed_types(leaf).values())}"))
    return found


def needed_types(leaf: Leaf) -> dict[str, str]:
    """The union section of a leaf and the type that carries it."""
    return {leaf.section: leaf.variant} if leaf.variant else {}


@pytest.mark.parametrize(("leaf", "base"), cases())
def test_no_setting_is_dead(leaf: Leaf, base: dict[str, Any]) -> None:
    before = TrainConfig.model_validate(base)
    changed = TrainConfig.model_validate(with_value(base, leaf.path, other_value(leaf, value_at(before, leaf))))
    assert changed != before
    assert plan(changed, CPU, Path("run")) != plan(before, CPU, Path("run"))


def planned(machine: Machine = CPU, **sections: Any) -> Plan:
    """The plan of a config."""
    return plan(config(**sections), machine, Path("saves/run"))


@pytest.mark.parametrize(
    ("sections", "weights", "bf16", "fp16"),
    [
        ({}, "bfloat16", True, False),
        ({"method": {"type": "full"}}, "float32", True, False),
        ({"optimisation": {"precision": "fp32"}}, "float32", False, False),
        ({"optimisation": {"precision": "pure_bf16"}, "method": {"type": "full"}}, "bfloat16", False, False),
        ({"model": {"path": "m", "dtype": "float32"}}, "float32", True, False),
    ],
)
def test_formats_of_weights_and_computation(sections: dict[str, Any], weights: str, bf16: bool, fp16: bool) -> None:
    result = planned(**sections)
    assert result.model["dtype"] == weights
    assert (result.trainer["bf16"], result.trainer["fp16"]) == (bf16, fp16)


def test_a_device_without_bf16_computes_in_float32() -> None:
    result = planned(Machine("cpu", bf16=False))
    assert (result.model["dtype"], result.trainer["bf16"]) == ("float32", False)


def test_half_precision_on_a_cpu_is_refused() -> None:
    with pytest.raises(TaskError, match="fp16 does not train on a CPU"):
        planned(optimisation={"precision": "fp16"})
    assert planned(GPU, optimisation={"precision": "fp16"}).trainer["fp16"]


def test_trained_weights_in_float16_are_refused() -> None:
    with pytest.raises(TaskError, match="float16 cannot be trained"):
        planned(GPU, model={"path": "m", "dtype": "float16"}, method={"type": "full"})


@pytest.mark.parametrize(("machine", "choice", "on"), [(CPU, "auto", False), (GPU, "auto", True), (CPU, "on", True)])
def test_gradient_checkpointing(machine: Machine, choice: str, on: bool) -> None:
    trainer = planned(machine, optimisation={"gradient_checkpointing": choice}).trainer
    assert trainer["gradient_checkpointing"] is trainer["activation_checkpointing"] is on
    assert trainer["activation_checkpointing_kwargs"] == {"use_reentrant": False}


def test_rows_are_never_cut_a_second_time() -> None:
    assert planned().trainer["max_length"] is None
    assert planned().trainer["dataset_kwargs"] == {"skip_prepare_dataset": True}
    packed = planned(data={"datasets": ["d"], "packing": True, "cutoff_len": 300}).trainer
    assert (packed["packing"], packed["max_length"]) == (True, 300)


def test_plain_text_is_cut_into_blocks_before_the_trainer() -> None:
    result = planned(stage={"type": "pretrain"}, data={"datasets": ["d"], "packing": True})
    assert result.tokenize["blocks"]
    assert not result.trainer["packing"]


def test_without_rows_to_evaluate_on_nothing_is_evaluated() -> None:
    assert planned().trainer["eval_strategy"] == "no"
    evaluated = planned(data={"datasets": ["d"], "validation_size": 0.1}, cadence={"eval_steps": 7}).trainer
    assert (evaluated["eval_strategy"], evaluated["eval_steps"]) == ("steps", 7)


def test_further_arguments_pass_through_last() -> None:
    assert planned(trainer={"full_determinism": True}).trainer["full_determinism"] is True


def test_losses_that_are_not_finite_are_never_hidden() -> None:
    assert planned().trainer["logging_nan_inf_filter"] is False


@pytest.mark.slow
@pytest.mark.parametrize("machine", [CPU, Machine("cpu", bf16=False)])
def test_the_trainer_takes_every_argument(machine: Machine, tmp_path: Path) -> None:
    from trl import SFTConfig

    sections = {"data": {"datasets": ["d"], "validation_size": 0.1}, "cadence": {"load_best_model_at_end": True}}
    arguments = plan(config(**sections), machine, tmp_path).trainer
    built = SFTConfig(**arguments)
    assert built.report_to == ["tensorboard"]
    assert built.gradient_checkpointing is False
    assert set(arguments) <= set(FIELD_OF_ARGUMENT) | SET_BY_STUDIO


SET_BY_STUDIO = {
    "activation_checkpointing_kwargs",
    "dataloader_pin_memory",
    "dataset_kwargs",
    "disable_tqdm",
    "eval_packing",
    "greater_is_better",
    "logging_nan_inf_filter",
    "metric_for_best_model",
    "output_dir",
    "packing_strategy",
    "prediction_loss_only",
    "shuffle_dataset",
}
