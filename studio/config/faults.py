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
    "vllm_needs_a_gpu": "vLLM needs a GPU. Choose engine.type=transformers on a CPU.",
    # the workspace
    "outside_workspace": "{value!r} lies outside the workspace. Move it there, or start Studio with --allow and its "
    "folder.",
    "no_such_dataset": "There is no dataset {value!r} in dataset_info.json. Add an entry of that name.",
    "no_such_dataset_near": "There is no dataset {value!r} in dataset_info.json. Did you mean {near!r}?",
    "broken_registry": "dataset_info.json cannot be read: {reason}",
    "broken_dataset": "The entry {value!r} in dataset_info.json cannot be used: {reason}",
    # rules across fields: hints
    "placeholder_unknown": "{value} is no placeholder here and stays as it is.",
    "key_unencrypted": "The key goes to {value} unencrypted. Use https, or a tunnel.",
    "key_not_set": "{value} is not set where Studio was started. Set it there first, or the job ends at once.",
    "rope_factor_unused": "model.rope_factor does nothing while model.rope_scaling is none.",
    "rate_high_lora": "{value} is high for LoRA: 1e-4 to 5e-4 is usual.",
    "rate_high_full": "{value} is high for training {method} weights: 1e-6 to 5e-5 is usual.",
    "alpha_far": "alpha {alpha} is {ratio}× the rank: 1× to 2× is usual.",
    "many_epochs": "{value} epochs often teach the data by heart. Hold back validation rows to see it.",
    "no_warmup_full": "Full training without warmup can diverge in the first steps: 0.03 is usual.",
    "trust_remote_code": "Code from the model's repository will be run on this machine with your rights.",
    "base_model_template": "{value} is a base model and may bring no chat template: then choose {template}.",
    "sampling_unused": "{key} does nothing while decoding.do_sample is off.",
    "few_bits": "At {value} bits small models answer badly. The job measures the loss; 4 bits is the usual choice.",
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
