"""From a config to the arguments of the libraries: pure, so that it can be tested without any of them.

`plan` is the one place where the meaning of a setting is decided; the modules around it hand the dicts over.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config.model import BaseModelConfig, ModelConfig
from studio.config.quantization import EightBit, FourBit, Hqq, Quantization
from studio.config.rules import has_validation
from studio.config.stage import Pretrain, Sft
from studio.config.train import TrainConfig
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.online_arguments import reward_arguments
from studio.tasks.optimizer_arguments import optimizer_choice, trainer_arguments
from studio.tasks.preference_arguments import form_of
from studio.tasks.stage_arguments import packs, stage_arguments

Arguments = dict[str, Any]

NO_STEPS_LIMIT = -1  # how transformers spells "follow the epochs"


@dataclass(frozen=True)
class Plan:
    """Everything that the worker hands to a library, grouped by who takes it."""

    process: Arguments  # seed, cpu_threads, devices
    model: Arguments  # model.load
    quantization: Arguments  # quantized.options
    method: Arguments  # adapter.apply
    data: Arguments  # dataset.read_rows
    tokenize: Arguments  # tokenize.Settings
    trainer: Arguments  # TRL's config of the stage
    optimizer: Arguments  # optimizers.own_optimizer
    stopping: Arguments | None  # EarlyStoppingCallback
    samples: Arguments  # samples.Sampler
    rewards: list[Arguments] | None  # rewards.judging.load_judges


def plan(config: TrainConfig, machine: Machine, output: Path) -> Plan:
    """The arguments of a run on `machine` whose folder is `output`. Raises TaskError for what cannot work there."""
    numbers = compute_format(config, machine)
    return Plan(
        process={"seed": config.seed, "cpu_threads": config.devices.cpu_threads, "devices": config.devices.use},
        model=model_arguments(config.model, _weights_format(config, numbers)),
        quantization=quantization_arguments(config.quantization, numbers, trains=True),
        method=_method(config),
        data=_data(config),
        tokenize=_tokenize(config),
        trainer=_trainer(config, machine, numbers, output),
        optimizer=optimizer_choice(config),
        stopping=_stopping(config),
        samples=config.samples.model_dump(),
        rewards=reward_arguments(config),
    )


def compute_format(config: TrainConfig, machine: Machine) -> str:
    """The number format of the computation: bf16, fp16, fp32 or pure_bf16. Raises TaskError for fp16 on a CPU."""
    precision = config.optimisation.precision
    if precision == "fp16" and machine.device == "cpu":
        raise TaskError(
            "precision", "fp16 does not train on a CPU.", "Set optimisation.precision to auto, bf16 or fp32."
        )
    if precision == "auto":
        return "bf16" if machine.bf16 else "fp32"
    return precision


def _weights_format(config: TrainConfig, numbers: str) -> str:
    """The format in which the weights are held. Trained weights stay in float32 unless asked otherwise.

    Small updates vanish in bfloat16's 8 bits of mantissa, so only frozen weights are halved by themselves.
    """
    trained = not config.method.adapter
    if config.model.dtype != "auto":
        if trained and config.model.dtype == "float16":
            raise TaskError(
                "precision", "Weights in float16 cannot be trained directly.", "Set model.dtype to auto or float32."
            )
        return config.model.dtype
    if numbers == "pure_bf16":
        return "bfloat16"
    if trained:
        return "float32"
    return {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[numbers]


def inference_format(wanted: str, machine: Machine) -> str:
    """The number format of a model that only answers: `wanted` (model.dtype), or what the machine computes fastest."""
    return wanted if wanted != "auto" else "bfloat16" if machine.bf16 else "float32"


def model_arguments(chosen: BaseModelConfig, dtype: str) -> Arguments:
    """What `model.load_model` and its companions take; `dtype` is the format of the weights by torch's name."""
    return {
        "path": chosen.path,
        "hub": chosen.hub,
        "revision": chosen.revision,
        "trust_remote_code": chosen.trust_remote_code,
        "dtype": dtype,
        # None leaves the choice to transformers, which takes PyTorch's own where the model has it.
        "attention": None if chosen.attention == "auto" else chosen.attention,
        "rope": {"type": chosen.rope_scaling, "factor": chosen.rope_factor} if chosen.rope_scaling != "none" else None,
        "template": chosen.chat_template,
        "new_tokens": list(chosen.new_tokens) if isinstance(chosen, ModelConfig) else [],
        "resize": isinstance(chosen, ModelConfig) and chosen.resize_vocabulary,
    }


def quantization_arguments(bits: Quantization, numbers: str, trains: bool = False) -> Arguments:
    """What the files of tasks/quantized take; `numbers` is the computation: bf16, fp16, fp32 …, `trains` whether
    something is trained beside the weights."""
    arguments: Arguments = {"type": bits.type, "trains": trains}
    if isinstance(bits, FourBit):
        arguments["options"] = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": bits.quant_type,
            "bnb_4bit_use_double_quant": bits.double_quantization,
            "bnb_4bit_compute_dtype": {"fp16": "float16", "fp32": "float32"}.get(numbers, "bfloat16"),
            "bnb_4bit_quant_storage": bits.storage,
        }
    elif isinstance(bits, EightBit):
        arguments["options"] = {"load_in_8bit": True, "llm_int8_threshold": bits.outlier_threshold}
    elif isinstance(bits, Hqq):
        arguments |= {"bits": int(bits.bits), "group_size": bits.group_size}
    return arguments


def _method(config: TrainConfig) -> Arguments:
    """The method's own settings; its file in tasks/methods turns them into the arguments of its library."""
    return {
        "type": config.method.type,
        "settings": config.method.model_dump(exclude={"type"}),
        "adapters": list(config.model.adapters),
        # Adapters are held in float32 beside bf16 weights, unless everything shall be bf16.
        "float32": config.method.adapter and config.optimisation.precision != "pure_bf16",
        "task": "SEQ_CLS" if config.stage.type == "reward" else "CAUSAL_LM",
    }


def _data(config: TrainConfig) -> Arguments:
    data = config.data
    return {
        "datasets": list(data.datasets),
        "validation_datasets": list(data.validation_datasets),
        "validation_size": data.validation_size,
        "max_samples": data.max_samples,
        "processes": data.tokenizing_processes,
        "seed": config.seed,
        "kinds": sorted(config.stage.kinds),
        # A stage of single judged answers takes a pair as one good and one bad answer.
        "apart": form_of(config.stage) == "judged",
    }


def _tokenize(config: TrainConfig) -> Arguments:
    stage = config.stage
    chat, plain = isinstance(stage, Sft), isinstance(stage, Pretrain)
    return {
        "cutoff_len": config.data.cutoff_len,
        "plain_text": plain,
        "train_on_prompt": chat and stage.train_on_prompt,
        "mask_history": chat and stage.mask_history,
        # Conversations are packed by the trainer, which keeps them apart; plain text is cut into full blocks here.
        "blocks": plain and config.data.packing,
        "form": form_of(stage),
    }


def _stopping(config: TrainConfig) -> Arguments | None:
    cadence = config.cadence
    if not cadence.early_stopping_patience:
        return None
    return {
        "early_stopping_patience": cadence.early_stopping_patience,
        "early_stopping_threshold": cadence.early_stopping_threshold,
        # Where the model answers itself, the loss says nothing about how well it does.
        **({"metric": "eval_reward", "larger": True} if config.stage.online else {}),
    }


def _trainer(config: TrainConfig, machine: Machine, numbers: str, output: Path) -> Arguments:
    arguments = {
        "output_dir": str(output),
        "run_name": config.name or output.name,
        "seed": config.seed,
        "use_cpu": machine.device == "cpu",
        "bf16": numbers == "bf16",
        "fp16": numbers == "fp16",
        "trust_remote_code": config.model.trust_remote_code,
        "report_to": list(config.trackers.report_to) or "none",
        # A filtered NaN would be replaced by the mean of the losses before it, and nobody would see it.
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": machine.device == "cuda",
        **_optimisation(config, machine),
        **_cadence(config),
        **stage_arguments(config),
    }
    return {**arguments, **config.trainer}


def _optimisation(config: TrainConfig, machine: Machine) -> Arguments:
    chosen = config.optimisation
    by_itself = machine.device == "cuda" and config.method.recomputes
    checkpointing = {"auto": by_itself, "on": True, "off": False}[chosen.gradient_checkpointing]
    return {
        "learning_rate": chosen.learning_rate,
        "num_train_epochs": chosen.num_train_epochs,
        "max_steps": chosen.max_steps or NO_STEPS_LIMIT,
        "per_device_train_batch_size": chosen.per_device_train_batch_size,
        "gradient_accumulation_steps": chosen.gradient_accumulation_steps,
        "lr_scheduler_type": chosen.lr_scheduler_type,
        "lr_scheduler_kwargs": dict(chosen.lr_scheduler_kwargs) or None,
        "warmup_steps": chosen.warmup_steps,
        **trainer_arguments(config),
        "weight_decay": chosen.weight_decay,
        "max_grad_norm": chosen.max_grad_norm,
        "neftune_noise_alpha": chosen.neftune_noise_alpha,
        # TRL switches the old name on by itself and writes only to the old name's kwargs, so both are given.
        "gradient_checkpointing": checkpointing,
        "activation_checkpointing": checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "train_sampling_strategy": "group_by_length" if chosen.group_by_length and not packs(config) else "random",
        "torch_compile": chosen.torch_compile,
        # TRL computes the loss itself, so of Liger's kernels only those of the layers are put in.
        "use_liger_kernel": chosen.liger_kernel,
        "tf32": True if chosen.tf32 else None,
    }


def _cadence(config: TrainConfig) -> Arguments:
    cadence = config.cadence
    evaluates = has_validation(config) and cadence.eval_steps > 0
    arguments = {
        "logging_strategy": "steps",
        "logging_steps": cadence.logging_steps,
        "save_strategy": "steps" if cadence.save_steps else "no",
        "save_steps": cadence.save_steps or 500,
        "save_total_limit": cadence.save_total_limit,
        "eval_strategy": "steps" if evaluates else "no",
        "eval_steps": cadence.eval_steps if evaluates else None,
        "per_device_eval_batch_size": cadence.per_device_eval_batch_size,
        "prediction_loss_only": True,
        "load_best_model_at_end": cadence.load_best_model_at_end,
        "metric_for_best_model": "eval_loss" if evaluates else None,
        "greater_is_better": False if evaluates else None,
    }
    if cadence.load_best_model_at_end and not cadence.save_steps:
        # With no saves of its own, such a run keeps the best state alone.
        arguments["save_strategy"] = "best"
    return arguments
