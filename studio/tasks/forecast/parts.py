"""The forecast: bytes by part, added up as they lie beside each other at the worst moment of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.tasks.arguments import Plan
from studio.tasks.forecast.blueprint import Blueprint, draw, shallow
from studio.tasks.forecast.optimizer_state import is_paged, state_bytes
from studio.tasks.forecast.rehearsal import Rehearsal, loss_of_a_gpu, rehearse

MB = 10**6

# Python with PyTorch, transformers, TRL and the tokenized rows in a worker, before any model (Linux, torch 2.13, CPU
# build: the process memory that bench/memory.py sees at the end of tokenizing).
FRAMEWORK_CPU = 600 * MB
# A CUDA context with its kernels and cuBLAS' workspace: an assumption, not measured.
FRAMEWORK_GPU = 500 * MB
# glibc's heap seldom fills the holes between tensors that stay with the next ones, as each is aligned to 64 bytes and
# small blocks (gradients of adapters, nodes of the graph) split them: the process holds more than lives. Shares of what
# a whole pass makes, also where activations are recomputed, measured on the tuned runs of bench/memory_cases.py: from
# 0.27 to 0.66 without an adapter, 0.73 to 1.35 beside one in float32, 0.52 to 0.78 in 16 bits, 1.2 beside quantized
# weights.
HEAP_HOLES = 0.3
HEAP_HOLES_BESIDE_ADAPTERS = 1.0
HEAP_HOLES_BESIDE_ADAPTERS_IN_HALF = 0.55
HEAP_HOLES_BESIDE_QUANTIZED = 1.2
# PyTorch's allocator on a GPU cuts blocks from segments and rounds them: an assumption, not measured.
GPU_ROUNDING = 0.05

OUT_OF_STEP = frozenset({"freeze", "llama-pro"})  # methods that treat layers differently
SOFT_PROMPTS = frozenset({"prompt-tuning", "prefix-tuning", "p-tuning"})  # no small gradients between the layers
PAIRS = frozenset({"dpo", "orpo", "simpo", "reward"})  # a row is two answers
PARTS = (
    "weights", "adapter", "gradients", "optimizer", "activations", "logits", "cache", "reference", "allocator",
    "framework",
)  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """What a batch is: rows at once, the length of the longest in tokens, and whether one follows another into the
    same step."""

    rows: int
    length: int
    accumulates: bool


@dataclass(frozen=True)
class Forecast:
    """Bytes by part (PARTS) at the worst moment; `moment` says which: loading, batch, or step."""

    parts: Mapping[str, int]
    moment: str
    parameters: int
    trained: int

    @property
    def total(self) -> int:
        """All parts."""
        return sum(self.parts.values())


@dataclass
class Known:
    """What forecasts have in common that differ in their batch alone: none of it is computed twice."""

    plain: Blueprint | None = None
    passes: dict[tuple[int, int, bool], Rehearsal] = field(default_factory=dict[tuple[int, int, bool], Rehearsal])

    def passed(self, batch: Batch, again: bool, take: Callable[[], Rehearsal]) -> Rehearsal:
        """The rehearsal of a batch; on a line between two others of rows of that length, where there are such."""
        key = (batch.rows, batch.length, again)
        if key not in self.passes:
            same = {rows: made for (rows, *rest), made in self.passes.items() if rest == [batch.length, again]}
            fewer = max((rows for rows in same if rows < batch.rows), default=None)
            more = min((rows for rows in same if rows > batch.rows), default=None)
            if fewer is not None and more is not None:
                return same[fewer].towards(same[more], (batch.rows - fewer) / (more - fewer))
            self.passes[key] = take()
        return self.passes[key]


def batch_of(config: TrainConfig, longest: int | None) -> Batch:
    """The heaviest batch of a run whose longest row has `longest` tokens, None where unknown: then the cutoff counts.

    TRL joins packed rows to one long row, and puts both answers of a pair into one batch.
    """
    length = min(config.data.cutoff_len, longest or config.data.cutoff_len)
    rows = config.optimisation.per_device_train_batch_size
    stage = config.stage
    if config.data.packing:
        length = config.data.cutoff_len
    if config.data.packing and stage.type == "sft":
        rows, length = 1, rows * length
    if stage.type in PAIRS:
        rows *= 2
    if stage.online:
        length += int(getattr(stage, "max_completion_length", 0))
    return Batch(rows, max(2, length), config.optimisation.gradient_accumulation_steps > 1)


def forecast(
    config: TrainConfig, todo: Plan, architecture: Any, batch: Batch, device: str, workspace: Workspace,
    known: Known | None = None,
) -> Forecast:  # fmt: skip
    """The memory of a run by its plan on `device` (cpu or cuda). `architecture` is the model's config, `known` what
    earlier forecasts of the same run with other batches have left.

    Raises TaskError and what the libraries raise for an architecture that they cannot build.
    """
    known = known or Known()
    if known.plain is None:
        known.plain = replace(draw(architecture, todo, workspace, config.stage.type == "ppo"), model=None)
    plain = known.plain

    def passed(again: bool) -> Rehearsal:
        return known.passed(
            batch, again, lambda: _rehearsed(config, todo, architecture, batch, device, workspace, again)
        )

    run = whole = passed(_recomputes(todo))
    if device == "cpu" and _recomputes(todo):
        whole = passed(False)
    optimizer = _optimizer(config, plain)
    always = {
        "weights": plain.weights,
        "adapter": plain.adapter,
        "reference": _beside(config, plain),
        "framework": FRAMEWORK_CPU if device == "cpu" else FRAMEWORK_GPU,
    }
    holes = int(_holes(config, todo) * whole.kept) if device == "cpu" else 0
    # Gradients of earlier batches lie there while the next one runs; else they come as the activations go.
    before = plain.gradients if batch.accumulates else 0
    head = {"activations": run.kept, "logits": max(0, run.early - run.kept)}
    moments = {
        "loading": {"allocator": _loading(plain, device)},
        "batch": {**head, "gradients": before, "optimizer": optimizer, "allocator": holes},
        "backward": {"activations": max(0, run.late - plain.gradients), "gradients": plain.gradients,
                     "optimizer": optimizer, "allocator": holes},
        "step": {"gradients": plain.gradients, "optimizer": optimizer, "allocator": holes},
        "answering": {"cache": _cache(config, architecture, batch, todo), "optimizer": optimizer},
    }  # fmt: skip
    moment = max(moments, key=lambda name: sum(moments[name].values()))
    parts = {**always, **moments[moment]}
    if device != "cpu":
        parts["allocator"] = int(GPU_ROUNDING * sum(size for name, size in parts.items() if name != "framework"))
    trained = sum(torch.Size(shape).numel() for shape, _ in plain.trained)
    return Forecast({name: parts.get(name, 0) for name in PARTS}, moment, plain.parameters, trained)


def _holes(config: TrainConfig, todo: Plan) -> float:
    """The share of a whole pass that the heap holds in vain."""
    if not config.method.adapter or config.method.type in SOFT_PROMPTS:
        return HEAP_HOLES
    if todo.quantization["type"] != "none":
        return HEAP_HOLES_BESIDE_QUANTIZED
    half = todo.trainer["bf16"] or todo.trainer["fp16"]
    return HEAP_HOLES_BESIDE_ADAPTERS_IN_HALF if half else HEAP_HOLES_BESIDE_ADAPTERS


def _recomputes(todo: Plan) -> bool:
    return bool(todo.trainer["gradient_checkpointing"])


def _optimizer(config: TrainConfig, plain: Blueprint) -> int:
    chosen = config.optimisation
    return 0 if is_paged(chosen.optimizer) else state_bytes(
        chosen.optimizer, plain.trained, chosen.optimizer_arguments, plain.embedding
    )  # fmt: skip


def _loading(plain: Blueprint, device: str) -> int:
    """While it is read, the file's two bytes a weight lie in main memory beside the weights; a GPU sees none of it."""
    return 2 * plain.parameters if device == "cpu" else 0


def _beside(config: TrainConfig, plain: Blueprint) -> int:
    """Bytes of what lies beside the trained model: the reference, which is a copy of what is trained
    (tasks/reference.py), and a reward model, taken as large as the base."""
    stage, found = config.stage, 0
    compares = stage.type == "ppo" or float(getattr(stage, "beta", 1.0)) > 0
    if stage.reference and compares and not getattr(stage, "precompute_reference", False):
        found += plain.gradients
    if getattr(stage, "reward_model", None):
        found += plain.weights
    return found


def _cache(config: TrainConfig, architecture: Any, batch: Batch, todo: Plan) -> int:
    """Keys and values of the answers that an online stage writes: 2 × layers × heads × size × tokens.

    PPO answers batch by batch, groups are written for a whole step at once (TRL's steps_per_generation).
    """
    if not config.stage.online:
        return 0
    text = architecture.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    item = torch.empty(0, dtype=getattr(torch, todo.model["dtype"])).element_size()
    rows = batch.rows * (1 if config.stage.type == "ppo" else config.optimisation.gradient_accumulation_steps)
    return 2 * text.num_hidden_layers * heads * size * rows * batch.length * item


def _rehearsed(
    config: TrainConfig, todo: Plan, architecture: Any, batch: Batch, device: str, workspace: Workspace, again: bool
) -> Rehearsal:
    """The rehearsal of the whole depth: from a shallow one and one twice as deep, since each layer adds the same."""
    depth = int(architecture.get_text_config().num_hidden_layers)
    if depth <= 4 or config.method.type in OUT_OF_STEP or getattr(config.method, "layers", None):
        return _once(config, todo, architecture, batch, device, workspace, again)
    less, more = (
        _once(config, todo, shallow(architecture, count), batch, device, workspace, again) for count in (2, 4)
    )

    def at(low: int, high: int) -> int:
        return low + (high - low) * (depth - 2) // 2

    return Rehearsal(
        at(less.kept, more.kept), more.head, at(less.early, more.early), at(less.late, more.late)
    )  # fmt: skip


def _once(
    config: TrainConfig, todo: Plan, architecture: Any, batch: Batch, device: str, workspace: Workspace, again: bool
) -> Rehearsal:
    model = draw(architecture, todo, workspace, config.stage.type == "ppo").model
    model.train()
    if again:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        if hasattr(model, "enable_input_require_grads"):
            model.enable_input_require_grads()
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    scores = todo.method["task"] == "SEQ_CLS"
    if not scores:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(inner, outputs=("log_probs", "entropy", "is_top1"))

    with loss_of_a_gpu(device != "cpu"):
        half = todo.trainer["bf16"] or todo.trainer["fp16"]
        return rehearse(model, lambda model: _loss(model, config, batch, scores), inner.base_model, half)


def _loss(model: Any, config: TrainConfig, batch: Batch, scores: bool) -> torch.Tensor:
    """The loss of a batch as the stage's trainer computes it, as far as its tensors go."""
    stage = config.stage
    ids = torch.zeros(batch.rows, batch.length, dtype=torch.long)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
    if config.data.packing and stage.type == "sft" and not str(config.model.attention).startswith("flash"):
        # Each token of a packed row sees its own row alone: a mask of length times length.
        given["attention_mask"] = torch.ones(batch.rows, 1, batch.length, batch.length, dtype=torch.bool)
    if scores:
        return model(**given).logits.sum()
    if stage.type == "ppo":
        from studio.tasks.ppo.rollout import Answers, token_scores

        answer = torch.ones(batch.rows, stage.max_completion_length, dtype=torch.long)
        answers = Answers(ids, torch.ones_like(ids), answer)
        chosen, values, _ = token_scores(model, answers, stage.temperature, model.value_head)
        assert values is not None
        return chosen.sum() + values.sum()
    labels = torch.zeros_like(ids)
    made = model(**given, labels=labels, fused_lm_head=True).log_probs
    if stage.reference and not stage.online and not getattr(stage, "precompute_reference", False):
        with torch.no_grad():  # the reference answers while the activations of the model are held
            beside = model(**given, labels=labels, fused_lm_head=True).log_probs
        made = made - beside
    return made.sum()
