"""Which arguments the trainer of each stage takes beside those of every trainer.

A snapshot of the field names of the trainers' own config classes at the pinned versions, so that a config is checked
without importing torch. A test compares it with the installed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OwnArguments:
    """`fields` maps arguments to the fields of the config that stand for them, `free` pass through under their own
    names, and `refused` are those that Studio decides."""

    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    free: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()


def _own(fields: Mapping[str, str], free: str = "", refused: str = "") -> OwnArguments:
    return OwnArguments(fields, frozenset(free.split()), frozenset(refused.split()))


_TOKENS = _own(
    {},
    "activation_offloading eos_token eval_packing loss_type pad_to_multiple_of pad_token packing_strategy padding_free "
    "router_aux_loss_coef shuffle_dataset",
)

_BETA = {"beta": "stage.beta", "disable_dropout": "method.dropout"}
_SYNC = "ref_model_mixup_alpha ref_model_sync_steps sync_ref_model"

_GROUPS = {
    "beta": "stage.beta",
    "epsilon": "stage.epsilon",
    "max_completion_length": "stage.max_completion_length",
    "num_generations": "stage.num_generations",
    "num_iterations": "stage.num_iterations",
    "reward_weights": "stage.reward_weights",
    "temperature": "stage.temperature",
    "top_p": "stage.top_p",
}

OWN_ARGUMENTS: Mapping[str, OwnArguments] = {
    "sft": _TOKENS,
    "pretrain": _TOKENS,
    "dpo": _own(
        {
            **_BETA,
            "label_smoothing": "stage.label_smoothing",
            "loss_type": "stage.loss",
            "loss_weights": "stage.sft_weight",
            "precompute_ref_log_probs": "stage.precompute_reference",
        },
        "activation_offloading discopop_tau f_alpha_divergence_coef f_divergence_type ld_alpha pad_to_multiple_of "
        "pad_token precompute_ref_batch_size router_aux_loss_coef use_weighting",
        f"padding_free {_SYNC}",
    ),
    "kto": _own(
        {
            **_BETA,
            "desirable_weight": "stage.desirable_weight",
            "loss_type": "stage.loss",
            "undesirable_weight": "stage.undesirable_weight",
        },
        "activation_offloading router_aux_loss_coef",
        f"pad_to_multiple_of precompute_ref_batch_size precompute_ref_log_probs {_SYNC}",
    ),
    "orpo": _own(_BETA, "pad_to_multiple_of", "gamma sft_weight"),
    "simpo": _own({**_BETA, "gamma": "stage.gamma", "sft_weight": "stage.sft_weight"}, "pad_to_multiple_of"),
    "reward": _own(
        {"center_rewards_coefficient": "stage.center_rewards", "disable_dropout": "method.dropout"},
        "activation_offloading",
        "eos_token pad_to_multiple_of pad_token",
    ),
    "ppo": _own(
        {
            name: f"stage.{name}"
            for name in (
                "max_completion_length temperature top_p kl_coefficient kl_target ppo_epochs clip_range "
                "value_clip_range value_coefficient gae_gamma gae_lambda whiten_rewards normalize_scores"
            ).split()
        }
    ),
    "grpo": _own(
        {
            **_GROUPS,
            "epsilon_high": "stage.epsilon_high",
            "importance_sampling_level": "stage.importance_sampling",
            "loss_type": "stage.loss",
            "mask_truncated_completions": "stage.mask_truncated",
            "scale_rewards": "stage.scale_rewards",
        },
        "cast_lm_head_to_fp32 delta disable_dropout min_p multi_objective_aggregation off_policy_mask_threshold "
        "repetition_penalty router_aux_loss_coef sapo_temperature_neg sapo_temperature_pos top_entropy_quantile top_k "
        "use_bias_correction_kl vespo_k_neg vespo_k_pos vespo_lambda_neg vespo_lambda_pos",
    ),
    "rloo": _own(
        {**_GROUPS, "normalize_advantages": "stage.normalize_advantages"},
        "disable_dropout min_p repetition_penalty reward_clip_range router_aux_loss_coef top_k",
    ),
}
