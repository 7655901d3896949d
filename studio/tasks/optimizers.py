"""Optimizers that transformers does not make by itself, and what others need beside their name.

LoRA+: arXiv 2402.12354; LoRA-FA: 2308.03303; Muon with AdamW's step length: 2502.16982; LAMB: 1904.00962;
Adam-mini: 2406.16793; BAdam: 2404.02827; schedule-free: 2405.15682.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import AdamW, Optimizer

Choice = Mapping[str, Any]
Options = dict[str, Any]


def own_optimizer(trainer: Any, choice: Choice) -> Optimizer | None:
    """The optimizer of a trainer whose model stands ready, None where transformers makes it.

    `choice` is the plan's `optimizer`: name, arguments, targets, loraplus_ratio, freeze_a.
    """
    _trust_projectors(choice["name"])
    if choice["freeze_a"]:
        return _lora_fa(trainer)
    if choice["loraplus_ratio"] is not None:
        return _lora_plus(trainer, choice)
    if choice["name"] in _MADE:
        return _MADE[choice["name"]](trainer, choice)
    return None


@contextmanager
def settled(optimizer: Any) -> Iterator[None]:
    """Within this block the weights are those to answer with: schedule-free optimizers train on others."""
    inner = getattr(optimizer, "optimizer", optimizer)
    moves = callable(getattr(inner, "eval", None)) and callable(getattr(inner, "train", None))
    training = moves and any(group.get("train_mode") for group in inner.param_groups)
    if training:
        inner.eval()
    try:
        yield
    finally:
        if training:
            inner.train()


def warm_up(optimizer: Any, steps: int) -> None:
    """Tell a schedule-free optimizer its warmup in steps: transformers hands a share of the run on as it is."""
    for group in optimizer.param_groups:
        if "warmup_steps" in group and "train_mode" in group:
            group["warmup_steps"] = steps


def _trust_projectors(name: str) -> None:
    """Let a resumed run read the matrices that GaLore and APOLLO keep in objects of their own among their state.

    They hold numbers and tensors alone; torch reads no class from a file that was not named to it.
    """
    classes: list[Any] = []
    if name.startswith("galore_"):
        from galore_torch.galore_projector import GaLoreProjector

        classes = [GaLoreProjector]
    elif name.startswith("apollo_"):
        from apollo_torch.random_projector import GradientProjector
        from apollo_torch.svd_projector import GaLoreProjector as SvdProjector

        classes = [GradientProjector, SvdProjector]
    torch.serialization.add_safe_globals(classes)


def _adam(trainer: Any) -> Options:
    """What every relative of Adam takes, from the trainer's own arguments."""
    given = trainer.args
    return {
        "lr": given.learning_rate,
        "betas": (given.adam_beta1, given.adam_beta2),
        "eps": given.adam_epsilon,
        "weight_decay": given.weight_decay,
    }


def _groups(trainer: Any, wanted: Callable[[str, Any], bool] = lambda name, weight: True) -> list[Options]:
    """Trained weights in two groups, of which norms and biases are not pulled towards zero; no group is empty."""
    decaying = set(trainer.get_decay_parameter_names(trainer.model))
    pairs = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad and wanted(n, p)]
    groups = [
        {"params": [p for n, p in pairs if n in decaying], "weight_decay": trainer.args.weight_decay},
        {"params": [p for n, p in pairs if n not in decaying], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _lora_fa(trainer: Any) -> Optimizer:
    from peft.optimizers import create_lorafa_optimizer

    config, adam = trainer.model.peft_config["default"], _adam(trainer)
    optimizer = create_lorafa_optimizer(
        trainer.model, r=config.r, lora_alpha=config.lora_alpha, lr=adam["lr"], weight_decay=adam["weight_decay"]
    )
    for group in optimizer.param_groups:
        group["betas"], group["eps"] = adam["betas"], adam["eps"]
    return optimizer


def _lora_plus(trainer: Any, choice: Choice) -> Optimizer:
    from peft.optimizers import create_loraplus_optimizer

    kind, options = _lamb(choice["name"]), _adam(trainer)
    if kind is None:
        kind, options = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    options = {key: value for key, value in options.items() if key not in ("lr", "weight_decay")}
    rate = trainer.args.learning_rate
    return create_loraplus_optimizer(
        trainer.model,
        kind,
        lr=rate,
        loraplus_lr_ratio=choice["loraplus_ratio"],
        loraplus_weight_decay=trainer.args.weight_decay,
        loraplus_lr_embedding=rate,
        **options,
    )


def _lamb(name: str) -> type[Optimizer] | None:
    if name not in ("lamb", "lamb_8bit"):
        return None
    from bitsandbytes.optim import LAMB, LAMB8bit

    return LAMB if name == "lamb" else LAMB8bit


def _make_lamb(trainer: Any, choice: Choice) -> Optimizer:
    kind: Any = _lamb(choice["name"])
    return kind(_groups(trainer), **_adam(trainer))


def _make_muon(trainer: Any, choice: Choice) -> Optimizer:
    """Muon for the matrices between the embeddings, AdamW for everything else; one learning rate suits both."""
    ends = {id(trainer.model.get_input_embeddings().weight)}
    head = trainer.model.get_output_embeddings()
    ends |= {id(head.weight)} if head is not None else set()

    def is_matrix(name: str, weight: Any) -> bool:
        tables = ("embed_tokens", "lm_head", "lora_embedding_", "trainable_tokens")
        return weight.ndim == 2 and id(weight) not in ends and not any(table in name for table in tables)

    adam = _adam(trainer)
    own = {"momentum": 0.95, "nesterov": True, "ns_steps": 5, **choice["arguments"]}
    own = {key: value for key, value in own.items() if key in ("momentum", "nesterov", "ns_steps")}
    matrices = _groups(trainer, is_matrix)
    others = _groups(trainer, lambda name, weight: not is_matrix(name, weight))
    parts: list[Optimizer] = []
    if matrices:
        parts.append(torch.optim.Muon(matrices, lr=adam["lr"], adjust_lr_fn="match_rms_adamw", **own))
    if others:
        parts.append(AdamW(others, **adam))
    return Together(parts)


class Together(Optimizer):
    """Several optimizers as one: each has its own weights, all follow one schedule."""

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], parts[0].defaults)
        self._share()

    def _share(self) -> None:
        # A schedule sets the rates in these very dicts, which the parts read.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of each part."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` gave. Raises ValueError when the weights are divided otherwise."""
        states = state_dict["parts"]
        if len(states) != len(self.parts):
            raise ValueError(f"the saved optimizer has {len(states)} parts and this one has {len(self.parts)}")
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
        self._share()


def _make_adam_mini(trainer: Any, choice: Choice) -> Optimizer:
    from adam_mini import Adam_mini

    config = trainer.model.config
    heads = config.num_attention_heads
    named = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]
    optimizer: Any = Adam_mini(
        named,
        **_adam(trainer),
        dim=config.hidden_size,
        n_heads=heads,
        n_kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        verbose=False,
    )
    # One step size a head: the package assumes heads that divide the width evenly, which not all models have.
    optimizer.head_numel = (getattr(config, "head_dim", None) or config.hidden_size // heads) * config.hidden_size
    return optimizer


def _make_badam(trainer: Any, choice: Choice) -> Optimizer:
    from badam import BlockOptimizer

    own = {"switch_block_every": 50, "switch_mode": "descending", **choice["arguments"]}
    named = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]
    return BlockOptimizer(
        base_optimizer=AdamW(_groups(trainer), **_adam(trainer)),
        named_parameters_list=named,
        block_prefix_list=[[name] for name in choice["targets"]] or None,
        switch_block_every=int(own["switch_block_every"]),
        switch_mode=own["switch_mode"],
        verbose=0,
    )


_MADE: Mapping[str, Callable[[Any, Choice], Optimizer]] = {
    "muon": _make_muon,
    "lamb": _make_lamb,
    "lamb_8bit": _make_lamb,
    "adam_mini": _make_adam_mini,
    "badam": _make_badam,
}
