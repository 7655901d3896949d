"""Rules across settings, one function each: what cannot work is a fault, what is unusual is a hint."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from studio.config import (
    attention_rules,
    evaluate_rules,
    export_rules,
    generate_rules,
    lora_rules,
    method_rules,
    online_rules,
    optimizer_rules,
    preference_rules,
    serve_rules,
    vocabulary_rules,
)
from studio.config.catalogue import find
from studio.config.combinations import refused
from studio.config.evaluate import EvaluateConfig
from studio.config.export import ExportConfig
from studio.config.faults import Fault, hint
from studio.config.generate import GenerateConfig
from studio.config.jobs import JobConfig
from studio.config.method import Full, Lora
from studio.config.probe import ProbeConfig
from studio.config.quantization import EightBit, NoQuantization
from studio.config.serve import ServeConfig
from studio.config.stage import Sft
from studio.config.stage_trainer_arguments import OWN_ARGUMENTS
from studio.config.train import TrainConfig
from studio.config.trainer_arguments import FIELD_OF_ARGUMENT, FORBIDDEN_ARGUMENTS, FREE_ARGUMENTS

Rule = Callable[[TrainConfig], Iterator[Fault]]

_SECRET = re.compile(r"(token|api_key|apikey|secret|password)$", re.IGNORECASE)


def has_validation(config: TrainConfig) -> bool:
    """Whether there will be rows to evaluate on."""
    return config.data.validation_size > 0 or bool(config.data.validation_datasets)


def combination_is_possible(config: TrainConfig) -> Iterator[Fault]:
    """Stage, method and quantization go together."""
    yield from refused(config.stage, config.method, config.quantization)


def adapters_need_an_adapter_method(config: TrainConfig) -> Iterator[Fault]:
    """An adapter is continued by the method that made it."""
    if config.model.adapters and not config.method.adapter:
        yield Fault("model.adapters", "adapters_need_lora")


def datasets_are_chosen(config: TrainConfig) -> Iterator[Fault]:
    """Without data there is nothing to train on."""
    if not config.data.datasets:
        yield Fault("data.datasets", "no_datasets")


def one_source_of_validation(config: TrainConfig) -> Iterator[Fault]:
    """Held-back rows and validation datasets exclude each other."""
    if config.data.validation_size > 0 and config.data.validation_datasets:
        yield Fault("data.validation_size", "two_validation_sources")


def evaluation_is_possible(config: TrainConfig) -> Iterator[Fault]:
    """What looks at the evaluation loss needs rows to evaluate and evaluations to happen."""
    cadence, needing = config.cadence, list[str]()
    if cadence.load_best_model_at_end:
        needing.append("cadence.load_best_model_at_end")
    if cadence.early_stopping_patience:
        needing.append("cadence.early_stopping_patience")
    if config.optimisation.lr_scheduler_type == "reduce_lr_on_plateau":
        needing.append("optimisation.lr_scheduler_type")
    for key in needing:
        if not has_validation(config):
            yield Fault(key, "needs_validation", details={"key": key})
        elif cadence.eval_steps == 0:
            yield Fault(key, "needs_evaluation", details={"key": key})


def saves_meet_evaluations(config: TrainConfig) -> Iterator[Fault]:
    """The best checkpoint is known only where a save and an evaluation fall on the same step."""
    cadence = config.cadence
    if cadence.load_best_model_at_end and cadence.eval_steps and (cadence.save_steps % cadence.eval_steps):
        details = {"save": cadence.save_steps, "evaluation": cadence.eval_steps}
        yield Fault("cadence.save_steps", "save_matches_evaluation", cadence.save_steps, details)


def one_way_of_masking(config: TrainConfig) -> Iterator[Fault]:
    """Training on everything and on the last answer alone exclude each other."""
    if isinstance(config.stage, Sft) and config.stage.train_on_prompt and config.stage.mask_history:
        yield Fault("stage.mask_history", "prompt_and_history")


def compile_needs_plain_weights(config: TrainConfig) -> Iterator[Fault]:
    """transformers refuses to quantize a compiled model."""
    if config.optimisation.torch_compile and not isinstance(config.quantization, NoQuantization):
        yield Fault("optimisation.torch_compile", "compile_quantized", details={"bits": config.quantization.type})


def half_precision_needs_a_gpu(config: TrainConfig) -> Iterator[Fault]:
    """fp16 with loss scaling exists on GPUs only."""
    if config.optimisation.precision == "fp16" and config.devices.use == "cpu":
        yield Fault("optimisation.precision", "fp16_on_cpu")


def trainer_arguments_are_known(config: TrainConfig) -> Iterator[Fault]:
    """Further arguments must exist, must not contradict a field, and must not hold a secret."""
    own = OWN_ARGUMENTS[config.stage.type]
    fields, free = {**FIELD_OF_ARGUMENT, **own.fields}, FREE_ARGUMENTS | own.free
    for key in config.trainer:
        if key in fields:
            yield Fault("trainer", "trainer_reserved", details={"key": key, "field": fields[key]})
        elif _SECRET.search(key):
            yield Fault("trainer", "secret_in_config")
        elif key in FORBIDDEN_ARGUMENTS or key in own.refused:
            yield Fault("trainer", "trainer_forbidden", details={"key": key})
        elif key not in free:
            near = difflib.get_close_matches(key, sorted(free | set(fields)), n=1)
            details = {"key": key, **({"near": near[0]} if near else {})}
            yield Fault("trainer", "trainer_unknown_near" if near else "trainer_unknown", details=details)


def rope_factor_has_a_use(config: TrainConfig) -> Iterator[Fault]:
    """A factor without scaling does nothing, and a setting that does nothing must not look as if it did."""
    default = type(config.model).model_fields["rope_factor"].default
    if config.model.rope_scaling == "none" and config.model.rope_factor != default:
        yield hint("model.rope_factor", "rope_factor_unused")


def alpha_is_near_the_rank(config: TrainConfig) -> Iterator[Fault]:
    """alpha / rank scales the adapter like a second learning rate."""
    if isinstance(config.method, Lora):
        ratio = config.method.effective_alpha / config.method.rank
        if not 0.25 <= ratio <= 4:
            details = {"alpha": config.method.effective_alpha, "ratio": f"{ratio:.3g}"}
            yield Fault("method.alpha", "alpha_far", details=details, severity="hint")


def epochs_are_usual(config: TrainConfig) -> Iterator[Fault]:
    """Many passes over the same rows without a look at others hide overfitting."""
    epochs = config.optimisation.num_train_epochs
    if epochs > 10 and config.optimisation.max_steps is None and not has_validation(config):
        yield hint("optimisation.num_train_epochs", "many_epochs", f"{epochs:g}")


def full_training_warms_up(config: TrainConfig) -> Iterator[Fault]:
    """Adam's first steps are as large as the rate allows, whatever the gradient."""
    if isinstance(config.method, Full) and config.optimisation.warmup_steps == 0:
        yield hint("optimisation.warmup_steps", "no_warmup_full")


def remote_code_is_meant(config: TrainConfig) -> Iterator[Fault]:
    """Running somebody's code is said aloud."""
    if config.model.trust_remote_code:
        yield hint("model.trust_remote_code", "trust_remote_code")


def base_models_need_a_template(config: TrainConfig) -> Iterator[Fault]:
    """A base model's tokenizer has most often no chat template; the catalogue says which one suits it."""
    known = find(config.model.path)
    if known and known.template and config.stage.type != "pretrain" and config.model.chat_template == "auto":
        yield hint("model.chat_template", "base_model_template", known.name, template=known.template)


def eight_bit_has_a_gpu(config: TrainConfig) -> Iterator[Fault]:
    """bitsandbytes' 8-bit path on CPUs is slower than its 4-bit path."""
    if isinstance(config.quantization, EightBit) and config.devices.use == "cpu":
        yield hint("quantization.type", "eight_bit_cpu")


RULES: tuple[Rule, ...] = (
    combination_is_possible,
    adapters_need_an_adapter_method,
    datasets_are_chosen,
    one_source_of_validation,
    evaluation_is_possible,
    saves_meet_evaluations,
    one_way_of_masking,
    compile_needs_plain_weights,
    half_precision_needs_a_gpu,
    trainer_arguments_are_known,
    rope_factor_has_a_use,
    alpha_is_near_the_rank,
    epochs_are_usual,
    full_training_warms_up,
    remote_code_is_meant,
    base_models_need_a_template,
    eight_bit_has_a_gpu,
    *lora_rules.RULES,
    *optimizer_rules.RULES,
    *method_rules.RULES,
    *online_rules.RULES,
    *preference_rules.RULES,
    *attention_rules.RULES,
    *vocabulary_rules.RULES,
)


_RULES_OF: Mapping[type[JobConfig], Sequence[Callable[[Any], Iterator[Fault]]]] = {
    TrainConfig: RULES,
    ProbeConfig: RULES,
    GenerateConfig: generate_rules.RULES,
    EvaluateConfig: evaluate_rules.RULES,
    ExportConfig: export_rules.RULES,
    ServeConfig: serve_rules.RULES,
}


def examine(config: JobConfig) -> Iterator[Fault]:
    """Every fault and hint that the rules of its kind find in `config`."""
    for rule in _RULES_OF.get(type(config), ()):
        yield from rule(config)
