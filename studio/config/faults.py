"""Faults and hints of a config: what is wrong where, and the English sentence for each kind.

A fault blocks, a hint advises. A sentence is looked up by its code, so that a page can say it in another language.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MESSAGES: dict[str, str] = {
    # shape of the file
    "not_yaml": "This is not valid YAML: {reason}.",
    "not_mapping": "A config is a mapping of settings, but this is {kind}.",
    "bad_override": "{value!r} is not an override. Write it as section.field=value, for example method.rank=16.",
    "unknown_key": "There is no setting {key!r} here.",
    "unknown_key_near": "There is no setting {key!r} here. Did you mean {near!r}?",
    "other_member": "{key} belongs to {owner}, which is not chosen here. Choose it, or remove {key}.",
    "unknown_type": "There is no type {value!r}. Choose one of: {choices}.",
    "missing": "This setting is needed and has no default.",
    # one value
    "at_least": "{value} is too small: at least {limit}.",
    "above": "{value} is too small: it must be above {limit}.",
    "at_most": "{value} is too large: at most {limit}.",
    "below": "{value} is too large: it must be below {limit}.",
    "whole_number": "{value!r} is not a whole number.",
    "number": "{value!r} is not a number.",
    "yes_or_no": "{value!r} is neither true nor false.",
    "text": "{value!r} is not text. If it is meant as text, put it in quotes.",
    "a_list": "{value!r} is not a list. Write [a, b].",
    "a_mapping": "{value!r} is not a mapping. Write {{key: value}}.",
    "not_empty": "At least one entry is needed.",
    "empty_text": "This must not be empty.",
    "one_of": "{value!r} is not one of: {choices}.",
    "pattern": "{value!r} is not allowed here. {expected}",
    "other": "{value!r} is not allowed: {reason}.",
    # rules across fields: faults
    "quantized_needs_adapter": "Weights in {bits} cannot be trained directly. Choose method.type=lora, or "
    "quantization.type=none.",
    "online_soft_prompt": "{stage} cannot find the places of an answer behind the vectors of {method}. Choose "
    "method.type=lora, or another stage.",
    "quantized_needs_lora": "{method} does not train beside weights in {bits}. Choose quantization.type=none, or "
    "method.type=lora.",
    "adapters_need_lora": "Adapters are continued by a method that trains them, such as method.type=lora. Choose it, "
    "or empty model.adapters.",
    "no_datasets": "Choose at least one dataset to train on.",
    "two_validation_sources": "Rows are held back by data.validation_size and taken from data.validation_datasets. "
    "Keep one of them.",
    "needs_validation": "{key} needs rows to evaluate on. Set data.validation_size or data.validation_datasets.",
    "needs_evaluation": "{key} needs evaluations while training. Set cadence.eval_steps above 0.",
    "save_matches_evaluation": "The best checkpoint can only be kept when every save is an evaluation too: "
    "cadence.save_steps={save} is not a multiple of cadence.eval_steps={evaluation}.",
    "prompt_and_history": "train_on_prompt trains on every token and mask_history on the last answer alone. Keep one.",
    "checkpointing_refused": "{method} does not work with gradient checkpointing, because what it trains lies in the "
    "cache. Choose optimisation.gradient_checkpointing=auto or off.",
    "soft_prompt_packing": "The vectors of {method} stand once in front of a row, so with packing only the first of "
    "its conversations would see them. Switch data.packing off.",
    "soft_prompt_continued": "{method} cannot go on with an adapter, and none can be merged under it. Empty "
    "model.adapters; a run that was stopped can be resumed.",
    "target_rank_above": "Ranks are cut, not raised: {value} is more than the initial rank of {initial}.",
    "no_share_left": "No step is left on which ranks are cut: {value} and method.warmup_share={warmup} must be less "
    "than 1 together.",
    "layers_not_even": "{value} new layers cannot be spread evenly over the {layers} layers of this model. Choose one "
    "of {fits}.",
    "layers_too_many": "The model has {layers} layers, so {value} of them cannot be trained. Choose {layers} at most.",
    "longlora_stage": "While LongLoRA trains, a token sees its own group alone, so the model that {stage} scores or "
    "compares would not be the one that answers. Choose stage.type=sft or pretrain, or method.type=lora.",
    "longlora_packing": "LongLoRA cuts a row into groups by its length, so packed conversations would see each other. "
    "Switch data.packing off.",
    "routed_stage": "While a Mixture-of-Depths model trains, its layers choose tokens with the whole row before them, "
    "so the model that {stage} scores or compares would not be the one that answers. Choose stage.type=sft or "
    "pretrain, or another method.type.",
    "routed_packing": "Mixture-of-Depths chooses the best tokens of a row, so packed conversations would compete and "
    "see each other. Switch data.packing off.",
    "routed_attention": "Routed layers hide tokens by a mask, which {value} does not take. Choose "
    "model.attention=auto, sdpa or eager.",
    "longlora_attention": "LongLoRA brings an attention of its own, made of sdpa. Choose model.attention=auto, not "
    "{value}.",
    "compile_quantized": "torch.compile does not work on weights in {bits}. Switch one of the two off.",
    "trainer_unknown": "The trainer has no argument {key!r}.",
    "trainer_unknown_near": "The trainer has no argument {key!r}. Did you mean {near!r}?",
    "trainer_reserved": "The trainer's {key!r} is set by the field {field}. Set it there.",
    "trainer_forbidden": "Studio sets {key!r} itself, because runs depend on it. Remove it.",
    "secret_in_config": "A config must not hold secrets. Set the key in the environment and remove it here.",
    "fp16_on_cpu": "fp16 does not train on a CPU. Choose optimisation.precision=auto or bf16.",
    "no_candidates": "Choose who is evaluated: runs, checkpoints, or the base model.",
    "no_questions": "Choose at least one dataset to evaluate on, or a benchmark.",
    "nothing_measured": "Neither answers nor a loss are asked for. Switch one of them on.",
    "no_pattern": "The score regex needs a regular expression in scores.pattern.",
    "bad_pattern": "{value!r} is no regular expression: {reason}.",
    "judge_without_model": "Name the model that judges, as its server knows it.",
    "judge_without_pair": "A judge compares answers of two models: choose a second one, and let them write answers.",
    "nothing_to_export": "Choose what to export: a run, or a model in subject.base.",
    "run_and_model": "The run brings its own model. Empty subject.run or subject.base.",
    "one_adapter": "An adapter alone can be exported when there is exactly one, but there are {count}. Choose "
    "format.type=merged to merge them in order.",
    "no_rewards": "Nothing gives points. Choose functions in stage.rewards, or a reward model in stage.reward_model.",
    "reward_twice": "{value!r} is chosen twice. Remove one; stage.reward_weights makes a reward count more.",
    "reward_unknown": "There is no reward {value!r}. Choose one of: {choices}. A function of your own is written "
    "path/to/file.py:function.",
    "reward_unknown_near": "There is no reward {value!r}. Did you mean {near!r}?",
    "reward_not_chosen": "{value!r} is not among the chosen rewards ({choices}). Choose it in stage.rewards, or remove "
    "it here.",
    "reward_not_chosen_near": "{value!r} is not among the chosen rewards. Did you mean {near!r}?",
    "reward_weight": "The weight of {name} must be a number, not {value!r}.",
    "reward_arguments_mapping": "The arguments of {name} must be a mapping such as {{key: value}}, not {value!r}.",
    "reward_argument_unknown": "{name} has no argument {value!r}. It takes: {choices}.",
    "reward_argument_unknown_near": "{name} has no argument {value!r}. Did you mean {near!r}?",
    "reward_argument": "{name} does not take {key}={value!r}. Allowed: {expected}.",
    "reward_argument_missing": "{name} needs {key}. Write {{{name}: {{{key}: …}}}} ({expected}).",
    "adapter_on_output": "Stage {stage} computes past an adapter on lm_head, which would never learn. Remove it here, "
    "or put lm_head into method.modules_to_save.",
    "group_divides": "A step has {rows} answers (batch size × accumulation), which {group} answers a prompt do not "
    "divide. Set stage.num_generations to one of {fits}, or optimisation.gradient_accumulation_steps to {steps}.",
    "group_divides_steps": "A step has {rows} answer (batch size × accumulation), and {group} answers to a prompt are "
    "compared. Set optimisation.gradient_accumulation_steps to {steps}.",
    "placeholder_missing": "The prompt needs {name}, which is replaced in each request. Put it back.",
    "no_seeds": "Choose a dataset of seed tasks, or name a file in source.file.",
    "two_seeds": "Seed tasks come from a dataset and from a file. Keep one of them.",
    "overlap_too_large": "{value} is more than half of a passage: at most {limit}.",
    "argument_reserved": "The argument {key!r} is set by the field {field}. Set it there.",
    "argument_forbidden": "{key!r} would change how answers are read. Remove it.",
    "no_such_path": "There is no file or folder {value!r} in the workspace.",
    "engine_without_quantization": "{engine} loads whole models: it cannot quantize on loading. Choose "
    "quantization.type=none, or export the model quantized and serve that.",
    "gguf_needed": "llama.cpp reads a GGUF file, and {value!r} is none. Export the model as GGUF, or choose another "
    "engine.",
    "gguf_given": "A GGUF file is read by llama.cpp alone, not by {value}. Choose engine.type=llama-cpp.",
    "gguf_without_adapters": "Adapters cannot be put beside a GGUF file. Export the merged model as GGUF instead.",
    "merged_needs_transformers": "{engine} cannot merge adapters before it serves. Choose engine.type=transformers, or "
    "export the merged model and serve that.",
    "vllm_needs_a_gpu": "vLLM needs a GPU. Choose engine.type=transformers on a CPU.",
    "new_token_empty": "A new token must hold more than spaces. Remove it.",
    "new_token_twice": "{value!r} is named twice. Remove one.",
    "new_tokens_method": "{method} trains no embeddings, so new tokens would all say the same. Choose method.type=lora "
    "or full.",
    "new_tokens_frozen": "The embeddings are frozen, so new tokens would all say the same. Put embed_tokens into "
    "method.extra_modules, or choose method.type=lora.",
    # the weights and this machine
    "quantization_package": "{kind} needs {packages}, which is not installed where Studio runs. Install it: {install}. "
    "Or choose another quantization.type.",
    "quantization_gpu": "{kind} needs an NVIDIA GPU, and this run gets none. Choose quantization.type=4bit or hqq, "
    "which also work on a CPU.",
    "checkpoint_quantized": "The weights of {value!r} are quantized already ({method}). Choose "
    "quantization.type=checkpoint, or the full-precision model that they were made from.",
    "checkpoint_not_quantized": "The weights of {value!r} are not quantized: its config.json has no "
    "quantization_config. Choose another quantization.type.",
    "checkpoint_unknown": "The weights of {value!r} are quantized as {method}, beside which nothing can be trained "
    "here. Known are {known}. Choose the full-precision model that they were made from.",
    # optimizers, schedules and variants of LoRA
    "name_unknown": "There is no {owner} {value!r}. Choose one of: {choices}.",
    "name_unknown_near": "There is no {owner} {value!r}. Did you mean {near!r}?",
    "argument_unknown": "{owner} takes no argument {value!r}. It takes: {choices}.",
    "argument_unknown_near": "{owner} takes no argument {value!r}. Did you mean {near!r}?",
    "argument_kind": "{value!r} is no value for {key}: give {kind}.",
    "schedule_needs_one": "The schedule {name} needs {names}, one of them. For example {example}.",
    "optimizer_for_whole_weights": "{name} is made for whole weights and does nothing good for adapters. Choose "
    "method.type=full or freeze, or another optimizer.",
    "optimizer_targets_unused": "{name} treats all matrices alike. Empty optimisation.optimizer_target_modules, or "
    "choose one of: {names}.",
    "optimizer_gpu": "{value} runs on an NVIDIA GPU only, and this run gets none. Choose another optimizer.",
    "loraplus_optimizer": "LoRA+ gives A and B rates of their own, which {name} cannot. Choose "
    "optimisation.optimizer=adamw_torch_fused, or empty method.loraplus_ratio.",
    "loraplus_frozen": "LoRA+ sets the rates of A and B apart, and method.freeze_a trains B alone. Keep one of them.",
    "freeze_a_optimizer": "LoRA-FA is an AdamW of its own. Choose optimisation.optimizer=adamw_torch_fused, or switch "
    "method.freeze_a off; you chose {name}.",
    "freeze_a_dora": "LoRA-FA corrects the gradient of B for plain LoRA alone. Switch method.dora or method.freeze_a "
    "off.",
    "layerwise_accumulation": "{name} moves the weights within each backward pass, so gradients cannot be added up "
    "over batches. Set optimisation.gradient_accumulation_steps=1.",
    "layerwise_fp16": "{name} moves the weights before the scale of fp16's loss is taken out. Choose "
    "optimisation.precision=bf16.",
    "tf32_on_cpu": "TF32 is a format of NVIDIA GPUs. Switch optimisation.tf32 off.",
    "package_missing": "{value} needs a package that is not installed where Studio runs: {install}.",
    "attention_gpu": "{value} runs on NVIDIA GPUs only, and this run gets none. Choose model.attention=auto.",
    "liger_gpu": "Liger's kernels run on GPUs only, and this run gets none. Switch optimisation.liger_kernel off.",
    "pattern_alone": "{value!r} is a regular expression and must stand alone. Join the names with | in one expression.",
    "pattern_value": "{key} has the value {value!r}: a whole number from 1 to {limit} is needed.",
    "layer_negative": "There is no layer {value}: layers are counted from 0.",
    "layers_in_pattern": "A regular expression for whole names says itself which layers it means. Write the numbers "
    "into it, or give plain names in method.target_modules.",
    "start_needs_whole_weights": "{value} is computed from whole weights, which are not there in {bits}. "
    "Choose method.start=default, or quantization.type=none.",
    "loftq_needs_4bit": "loftq makes up for what 4-bit weights lose. Choose quantization.type=4bit, or another start.",
    "eva_stage": "eva looks at rows of plain training, which stage.type={stage} has not. Choose another method.start.",
    "orthogonal_odd": "An orthogonal start needs an even rank, and {value} is odd.",
    "merge_into_quantized": "Adapters cannot be merged into weights in {bits} without rounding them once more. Choose "
    "quantization.type=none, or merge them into a model first (studio export) and choose that one.",
    "dora_quantized": "DoRA cannot measure weights in {bits}. Switch method.dora off, or choose "
    "quantization.type=4bit.",
    "bias_reference": "Biases are trained in place, so the reference that {stage} compares with would move along. Set "
    "method.bias=none.",
    # the workspace
    "outside_workspace": "{value!r} lies outside the workspace. Move it there, or start Studio with --allow and its "
    "folder.",
    "no_such_dataset": "There is no dataset {value!r} in dataset_info.json. Add an entry of that name.",
    "no_such_dataset_near": "There is no dataset {value!r} in dataset_info.json. Did you mean {near!r}?",
    "broken_registry": "dataset_info.json cannot be read: {reason}",
    "broken_dataset": "The entry {value!r} in dataset_info.json cannot be used: {reason}",
    "wrong_rows": "The rows of {value!r} are of kind {kinds}, and stage {stage} learns from {wanted}. Choose another "
    "dataset, or a stage that learns from such rows: {stages}.",
    # judged answers
    "packing_stage": "Rows of stage {stage} cannot be packed: only sft and pretrain join rows. Switch data.packing "
    "off.",
    "exo_needs_smoothing": "The loss exo_pair needs a share of wrong pairs above 0. Set stage.label_smoothing, 0.001 "
    "is usual.",
    "smoothing_unused": "stage.label_smoothing does nothing with the loss {loss}: robust and exo_pair use it.",
    "reward_writes_nothing": "A reward model gives scores and answers no questions. Empty samples.prompts.",
    "kto_single_rows": "KTO compares the rows of a batch with each other, so a batch needs at least 2. Raise "
    "optimisation.per_device_train_batch_size, or choose stage.loss=apo_zero_unpaired.",
    # rules across fields: hints
    "placeholder_unknown": "{value} is no placeholder here and stays as it is.",
    "key_unencrypted": "The key goes to {value} unencrypted. Use https, or a tunnel.",
    "key_not_set": "{value} is not set where Studio was started. Set it there first, or the job ends at once.",
    "rope_factor_unused": "model.rope_factor does nothing while model.rope_scaling is none.",
    "rate_high": "{value} is high for {method}: {low} to {high} is usual.",
    "rate_low": "{value} is far too low for {method}, which would hardly learn: {low} to {high} is usual.",
    "alpha_far": "alpha {alpha} is {ratio}× the rank: 1× to 2× is usual.",
    "many_epochs": "{value} epochs often teach the data by heart. Hold back validation rows to see it.",
    "no_warmup_full": "Full training without warmup can diverge in the first steps: 0.03 is usual.",
    "trust_remote_code": "Code from the model's repository will be run on this machine with your rights.",
    "base_model_template": "{value} is a base model and may bring no chat template: then choose {template}.",
    "sampling_unused": "{key} does nothing while decoding.do_sample is off.",
    "few_bits": "At {value} bits small models answer badly. The job measures the loss; 4 bits is the usual choice.",
    "temperature_low": "At a temperature of {value} answers hardly differ, and equal answers teach nothing: 0.7 to 1 "
    "is usual.",
    "optimizer_not_exact": "A run with {name} can be resumed, but not exactly: the optimizer starts anew.",
    "start_unused": "method.start={value} does nothing for an adapter that is continued: it has begun already.",
    "new_adapter_unused": "method.create_new_adapter does nothing without adapters under model.adapters.",
    "eight_bit_cpu": "8-bit weights are slow on a CPU: nf4 takes less memory and less time there.",
}


@dataclass(frozen=True)
class Fault:
    """One thing to say about a config: `path` is the dotted field ("" for the whole), `severity` fault or hint."""

    path: str
    code: str
    value: Any = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    severity: Literal["fault", "hint"] = "fault"

    def sentence(self, messages: Mapping[str, str] = MESSAGES) -> str:
        """The sentence in English, or from another language's `messages`."""
        return messages[self.code].format(value=self.value, **self.details)

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence()}" if self.path else self.sentence()


def hint(path: str, code: str, value: Any = None, **details: Any) -> Fault:
    """A piece of advice: it does not block."""
    return Fault(path, code, value, details, severity="hint")


class ConfigError(ValueError):
    """A config is refused. `faults` holds everything that is wrong with it, not only the first."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))
