"""The form and the config are two views of one thing: nothing is lost on the way in either direction."""

from __future__ import annotations

from typing import Any

import pytest

from studio.config.io import check, parse
from studio.config.leaves import leaves
from studio.config.train import TrainConfig
from studio.web.shown_values import collect, fill, from_shown, number_text, to_shown

CONFIGS: list[dict[str, Any]] = [
    {"model": {"path": "models/tiny"}, "data": {"datasets": ["a"]}},
    {
        "name": "night-run",
        "model": {"path": "org/model", "adapters": ["saves/a"], "revision": "0123"},
        "quantization": {"type": "4bit", "quant_type": "fp4", "double_quantization": False},
        "data": {"datasets": ["a", "b"], "max_samples": 10, "validation_size": 0.1, "packing": True},
        "stage": {"type": "sft", "mask_history": True},
        "method": {"type": "lora", "rank": 7, "alpha": 9, "target_modules": ["q_proj"], "modules_to_save": ["x", "y"]},
        "optimisation": {
            "learning_rate": 3.3e-5,
            "lr_scheduler_kwargs": {"num_cycles": 2},
            "optimizer_arguments": {"beta2": 0.95},
            "neftune_noise_alpha": 5,
            "max_steps": 12,
            "group_by_length": False,
        },
        "cadence": {"save_total_limit": None, "load_best_model_at_end": True, "save_steps": 100, "eval_steps": 50},
        "samples": {"prompts": ["Who are you?", "Why: is it, so?"]},
        "trackers": {"report_to": []},
        "seed": 7,
        "trainer": {"adam_beta1": 0.8},
    },
    {"model": {"path": "x"}, "data": {"datasets": ["a"]}, "stage": {"type": "pretrain"}, "method": {"type": "full"}},
]


@pytest.mark.parametrize("tree", CONFIGS, ids=["defaults", "everything", "other members"])
def test_a_config_put_into_the_form_comes_back_as_itself(tree: dict[str, Any]) -> None:
    config = parse(tree)
    assert parse(collect(TrainConfig, fill(config))) == config


def test_a_form_as_drawn_means_the_defaults() -> None:
    shown = {leaf.key: to_shown(leaf, leaf.default) for leaf in leaves(TrainConfig)}
    shown |= {"model.path": "models/tiny", "data.datasets": ["a"]}
    assert parse(collect(TrainConfig, shown)) == parse(CONFIGS[0])


def test_only_settings_of_the_chosen_types_are_taken() -> None:
    shown = fill(parse(CONFIGS[1])) | {"method.type": "full", "quantization.type": "none", "model.adapters": []}
    tree = collect(TrainConfig, shown)
    assert tree["method"] == {"type": "full"} and tree["quantization"] == {"type": "none"}


@pytest.mark.parametrize(
    ("key", "shown", "path", "says"),
    [
        ("method.lora.rank", "many", "method.rank", "not a whole number"),
        ("optimisation.learning_rate", "2e", "optimisation.learning_rate", "not a number"),
        ("optimisation.lr_scheduler_kwargs", "{a: [", "optimisation.lr_scheduler_kwargs", "not a mapping"),
        ("trainer", "nonsense", "trainer", "not a mapping"),
    ],
)
def test_what_was_typed_wrong_is_a_fault_at_its_field(key: str, shown: str, path: str, says: str) -> None:
    tree = collect(TrainConfig, fill(parse(CONFIGS[0])) | {key: shown})
    _, faults = check(tree)
    assert [(fault.path, says in fault.sentence()) for fault in faults] == [(path, True)]


def test_an_emptied_box_means_the_default_or_nothing() -> None:
    rank, alpha = (
        next(leaf for leaf in leaves(TrainConfig) if leaf.path == f"method.{name}") for name in ("rank", "alpha")
    )
    assert from_shown(rank, " ") is None and from_shown(alpha, "") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2e-4, "2e-4"),
        (0.03, "0.03"),
        (3.0, "3"),
        (5e-5, "5e-5"),
        (1.5e-7, "1.5e-7"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_numbers_are_shown_short_and_read_back_exactly(value: float, text: str) -> None:
    assert number_text(value) == text
    assert float(number_text(value)) == value
