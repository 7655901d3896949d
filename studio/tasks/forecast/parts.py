"""The forecast: bytes by part, added up as they lie beside each other at the worst moment of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
# glibc's heap seldom fills the holes between tensors that stay with the next ones, as each is aligned to 64 bytes: the
# process holds more than lives. Share of what a whole pass makes, measured on twelve runs (bench/memory.py): 0.3 to 0.7
# where the weights themselves are trained, 0.5 to 1.5 with an adapter, whose many small tensors split the holes.
HEAP_HOLES = 0.4
HEAP_HOLES_BESIDE_ADAPTERS = 0.8
# PyTorch's allocator on a GPU cuts blocks from segments and rounds them: an assumption, not measured.
GPU_ROUNDING = 0.05

OUT_OF_STEP = frozenset({"freeze", "llama-pro", "mixture-of-depths"})  # methods that treat layers differently
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
    config: TrainConfig, todo: Plan, architecture: Any, batch: Batch, device: str, workspace: Workspace
) -> Forecast:
    """The memory of a run by its plan on `device` (cpu or cuda). `architecture` is the model's config.

    Raises TaskError and what the libraries raise for an architecture that they cannot build.
    """
    plain = draw(architecture, todo, workspace)
    run = _rehearsed(config, todo, architecture, batch, device, workspace, _recomputes(todo))
    whole = run
    if device == "cpu" and _recomputes(todo):
        whole = _rehearsed(config, todo, architecture, batch, device, workspace, False)
    optimizer = _optimizer(config, plain)
    always = {
        "weights": plain.weights,
        "adapter": plain.adapter,
        "reference": _beside(config, plain),
        "framework": FRAMEWORK_CPU if device == "cpu" else FRAMEWORK_GPU,
    }
    share = HEAP_HOLES_BESIDE_ADAPTERS if config.method.adapter else HEAP_HOLES
    holes = int(share * whole.kept) if device == "cpu" else 0
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


def _recomputes(todo: Plan) -> bool:
    return bool(todo.trainer["gradient_checkpointing"])


def _optimizer(config: TrainConfig, plain: Blueprint) -> int:
    chosen = config.optimisation
    return 0 if is_paged(chosen.optimizer) else state_bytes(
        chosen.optimizer, plain.trained, chosen.optimizer_arguments
    )  # fmt: skip


def _loading(plain: Blueprint, device: str) -> int:
    """While it is read, the file's two bytes a weight lie in main memory beside the weights; a GPU sees none of it."""
    return 2 * plain.parameters if device == "cpu" else 0


def _beside(config: TrainConfig, plain: Blueprint) -> int:
    """Bytes of another model beside the trained one: a reference where the trained weights are the base's own, and a
    reward model, taken as large as the base."""
    stage, copies = config.stage, 0
    if stage.reference and not config.method.adapter and float(getattr(stage, "beta", 1.0)) > 0:
        copies += not getattr(stage, "precompute_reference", False)
    if getattr(stage, "reward_model", None):
        copies += 1
    return copies * plain.weights


def _cache(config: TrainConfig, architecture: Any, batch: Batch, todo: Plan) -> int:
    """Keys and values of the answers that an online stage writes: 2 × layers × heads × size × tokens."""
    if not config.stage.online:
        return 0
    text = architecture.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    item = torch.empty(0, dtype=getattr(torch, todo.model["dtype"])).element_size()
    return 2 * text.num_hidden_layers * heads * size * batch.rows * batch.length * item


def _rehearsed(
    config: TrainConfig, todo: Plan, architecture: Any, batch: Batch, device: str, workspace: Workspace, again: bool
) -> Rehearsal:
    """The rehearsal of the whole depth: from a shallow one and one twice as deep, since each layer adds the same."""
    depth = int(architecture.get_text_config().num_hidden_layers)
    if depth <= 4 or config.method.type in OUT_OF_STEP or getattr(config.method, "layers", None):
        return _once(todo, architecture, batch, device, workspace, again)
    less, more = (_once(todo, shallow(architecture, count), batch, device, workspace, again) for count in (2, 4))

    def at(low: int, high: int) -> int:
        return low + (high - low) * (depth - 2) // 2

    return Rehearsal(
        at(less.kept, more.kept), more.head, at(less.early, more.early), at(less.late, more.late)
    )  # fmt: skip


def _once(
    todo: Plan, architecture: Any, batch: Batch, device: str, workspace: Workspace, again: bool
) -> Rehearsal:  # fmt: skip
    model = draw(architecture, todo, workspace).model
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

    def loss(model: Any) -> torch.Tensor:
        ids = torch.zeros(batch.rows, batch.length, dtype=torch.long)
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
        if scores:
            return model(**given).logits.sum()
        return model(**given, labels=torch.zeros_like(ids), fused_lm_head=True).log_probs.sum()

    with loss_of_a_gpu(device != "cpu"):
        return rehearse(model, loss, inner.base_model, todo.trainer["bf16"] or todo.trainer["fp16"])
