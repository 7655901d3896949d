"""A bad config is told all its faults at once, each at its field, with a way out."""

from __future__ import annotations

from typing import Any

import pytest

from studio.config.faults import MESSAGES, ConfigError
from studio.config.io import check, override, parse, read_yaml
from studio.config.rules import RULES

GOOD: dict[str, Any] = {"model": {"path": "models/tiny"}, "data": {"datasets": ["identity"]}}


def faults_of(tree: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(tree)
    return {fault.path: fault.sentence() for fault in caught.value.faults}


def merged(extra: dict[str, Any]) -> dict[str, Any]:
    return {
        **GOOD,
        **{key: {**GOOD.get(key, {}), **value} if isinstance(value, dict) else value for key, value in extra.items()},
    }


def test_every_fault_is_reported_at_once_and_at_its_field() -> None:
    found = faults_of(
        merged(
            {
                "method": {"type": "lora", "rank": 0, "dropout": 1.0},
                "data": {"cutoff_len": "long", "datasets": "identity"},
                "quantization": {"type": "3bit"},
                "optimisation": {"learning_rate": -1},
            }
        )
    )
    assert set(found) == {
        "method.rank",
        "method.dropout",
        "data.cutoff_len",
        "data.datasets",
        "quantization.type",
        "optimisation.learning_rate",
    }
    assert found["method.rank"] == "0 is too small: at least 1."
    assert found["quantization.type"].startswith("There is no type '3bit'. Choose one of: none, 4bit, 8bit, hqq, ")


@pytest.mark.parametrize(
    ("tree", "path", "says"),
    [
        ({"modle": {"path": "x"}}, "modle", "Did you mean 'model'?"),
        ({"optimisation": {"lerning_rate": 1}}, "optimisation.lerning_rate", "Did you mean 'learning_rate'?"),
        ({"method": {"type": "full", "rank": 8}}, "method.rank", "belongs to method.type=lora"),
        ({"model": {}}, "model.path", "needed"),
        ({"trackers": {"report_to": ["tensorbord"]}}, "trackers.report_to[0]", "not one of: tensorboard"),
        ({"name": "../evil"}, "name", "letters, digits"),
        ({"devices": {"use": "gpu"}}, "devices.use", "cuda:0"),
        ({"seed": 1.5}, "seed", "not a whole number"),
        ({"optimisation": {"learning_rate": float("nan")}}, "optimisation.learning_rate", "not a number"),
        ({"optimisation": {"group_by_length": "perhaps"}}, "optimisation.group_by_length", "neither true nor false"),
        ({"optimisation": 5}, "optimisation", "not a mapping"),
        ({"data": {"datasets": []}}, "data.datasets", "at least one dataset"),
        ({"trainer": {"optim": "sgd"}}, "trainer", "set by the field optimisation.optimizer"),
        ({"trainer": {"adam_beta3": 0.9}}, "trainer", "Did you mean 'adam_beta"),
        ({"trainer": {"output_dir": "x"}}, "trainer", "Studio sets 'output_dir' itself"),
        ({"trainer": {"hub_token": "hf_x"}}, "trainer", "must not hold secrets"),
    ],
)
def test_a_fault_names_the_field_and_the_way_out(tree: dict[str, Any], path: str, says: str) -> None:
    given = tree if "modle" in tree or tree.get("model") == {} else merged(tree)
    found = faults_of(given)
    assert says in found[path]


def test_yaml_that_is_none_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match="line 2"):
        read_yaml("model: {path: x}\ndata: [")
    with pytest.raises(ConfigError, match="mapping"):
        read_yaml("- a\n- b")
    assert read_yaml("") == {}


def test_a_bad_override_says_how_one_is_written() -> None:
    with pytest.raises(ConfigError, match=r"method\.rank=16"):
        override({}, ["method.rank:16"])


# For each rule a config that breaks it; a rule without one fails the test below.
BREAKS: dict[str, dict[str, Any]] = {
    "combination_is_possible": {"quantization": {"type": "4bit"}, "method": {"type": "full"}},
    "adapters_need_an_adapter_method": {"model": {"adapters": ["saves/a"]}, "method": {"type": "freeze"}},
    "datasets_are_chosen": {"data": {"datasets": []}},
    "one_source_of_validation": {"data": {"validation_size": 0.1, "validation_datasets": ["b"]}},
    "evaluation_is_possible": {"cadence": {"early_stopping_patience": 2}},
    "saves_meet_evaluations": {
        "data": {"validation_size": 0.1},
        "cadence": {"load_best_model_at_end": True, "save_steps": 100, "eval_steps": 30},
    },
    "one_way_of_masking": {"stage": {"train_on_prompt": True, "mask_history": True}},
    "compile_needs_plain_weights": {"quantization": {"type": "8bit"}, "optimisation": {"torch_compile": True}},
    "half_precision_needs_a_gpu": {"optimisation": {"precision": "fp16"}, "devices": {"use": "cpu"}},
    "trainer_arguments_are_known": {"trainer": {"nonsense": 1}},
    "only_whole_rows_are_packed": {"stage": {"type": "dpo"}, "data": {"packing": True}},
    "smoothing_suits_the_loss": {"stage": {"type": "dpo", "loss": "exo_pair"}},
    "kto_has_rows_to_compare": {
        "stage": {"type": "kto"},
        "optimisation": {"per_device_train_batch_size": 1},
    },
    "a_reward_model_writes_nothing": {"stage": {"type": "reward"}, "samples": {"prompts": ["Who are you?"]}},
    "rope_factor_has_a_use": {"model": {"rope_factor": 4.0}},
    "learning_rate_is_usual": {"optimisation": {"learning_rate": 0.01}},
    "activations_are_computed_once": {
        "method": {"type": "prefix-tuning"},
        "optimisation": {"gradient_checkpointing": "on"},
    },
    "soft_prompts_stand_before_each_row": {"method": {"type": "prompt-tuning"}, "data": {"packing": True}},
    "soft_prompts_are_not_continued": {"method": {"type": "p-tuning"}, "model": {"adapters": ["saves/a"]}},
    "ranks_can_be_cut": {"method": {"type": "adalora", "target_rank": 20, "warmup_share": 0.7}},
    "alpha_is_near_the_rank": {"method": {"rank": 8, "alpha": 256}},
    "epochs_are_usual": {"optimisation": {"num_train_epochs": 50}},
    "full_training_warms_up": {"method": {"type": "full"}, "optimisation": {"warmup_steps": 0}},
    "remote_code_is_meant": {"model": {"trust_remote_code": True}},
    "base_models_need_a_template": {"model": {"path": "HuggingFaceTB/SmolLM2-135M"}},
    "target_patterns_are_sound": {"method": {"target_modules": ["q_proj", ".*v_proj"]}},
    "rank_patterns_are_whole_numbers": {"method": {"rank_pattern": {"q_proj": 1.5}}},
    "layers_are_numbers_of_layers": {"method": {"layers": [-1]}},
    "start_is_possible": {"method": {"start": "pissa"}, "quantization": {"type": "4bit"}},
    "start_has_a_use": {"method": {"start": "olora"}, "model": {"adapters": ["saves/a"]}},
    "new_adapter_has_whole_weights": {
        "method": {"create_new_adapter": True},
        "model": {"adapters": ["saves/a"]},
        "quantization": {"type": "8bit"},
    },
    "dora_is_possible": {"method": {"dora": True}, "quantization": {"type": "torchao"}},
    "biases_leave_the_reference_alone": {"method": {"bias": "all"}, "stage": {"type": "dpo"}},
    "groups_stand_for_one_row": {"method": {"type": "longlora"}, "data": {"packing": True}},
    "groups_are_attended_by_sdpa": {"method": {"type": "longlora"}, "model": {"attention": "eager"}},
    "routed_rows_stand_alone": {"method": {"type": "mixture-of-depths"}, "data": {"packing": True}},
    "routed_layers_have_masks": {
        "method": {"type": "mixture-of-depths"},
        "model": {"attention": "flash_attention_2"},
    },
    "optimizer_is_known": {"optimisation": {"optimizer": "adamw_torch_fuse"}},
    "schedule_has_its_arguments": {"optimisation": {"lr_scheduler_type": "warmup_stable_decay"}},
    "optimizer_fits_the_method": {"optimisation": {"optimizer": "galore_adamw"}},
    "layerwise_moves_at_once": {
        "method": {"type": "full"},
        "optimisation": {"optimizer": "galore_adamw_layerwise", "gradient_accumulation_steps": 2},
    },
    "target_modules_have_a_use": {"optimisation": {"optimizer_target_modules": ["mlp"]}},
    "resume_is_exact": {"method": {"type": "full"}, "optimisation": {"optimizer": "badam"}},
    "tf32_is_meant_for_float32": {"optimisation": {"tf32": True}, "devices": {"use": "cpu"}},
    "new_tokens_are_words": {"model": {"new_tokens": ["<a>", " "]}},
    "new_tokens_are_trained": {"model": {"new_tokens": ["<a>"]}, "method": {"type": "freeze"}},
    "eight_bit_has_a_gpu": {"quantization": {"type": "8bit"}, "devices": {"use": "cpu"}},
    "rewards_are_known": {"stage": {"type": "grpo", "rewards": ["exact_anser"]}},
    "groups_fill_a_step": {"stage": {"type": "grpo", "rewards": ["repetition"], "num_generations": 3}},
    "the_output_layer_has_no_adapter": {
        "stage": {"type": "grpo", "rewards": ["repetition"]},
        "method": {"target_modules": ["q_proj", "lm_head"]},
    },
    "answers_are_long_enough_to_differ": {"stage": {"type": "rloo", "rewards": ["repetition"], "temperature": 0.1}},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_speaks_when_broken_and_is_silent_otherwise(rule: Any) -> None:
    sound, none = check(GOOD)
    assert sound is not None and list(rule(sound)) == [] and none == []
    broken, _ = check(merged(BREAKS[rule.__name__]))
    assert broken is not None
    found = list(rule(broken))
    assert found and all(fault.code in MESSAGES and fault.sentence() for fault in found)


def test_hints_do_not_block() -> None:
    config = parse(merged(BREAKS["learning_rate_is_usual"]))
    assert config.optimisation.learning_rate == 0.01
