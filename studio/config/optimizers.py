"""The optimizers that can be asked for by name: what each is, needs and takes. Everything said of them comes from here.

Names are those of transformers' `optim` where it has the optimizer; the ones marked `own` are made by
tasks/optimizers.py. A test holds names and arguments against the installed library.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Value = float | int | bool | str


@dataclass(frozen=True)
class Optimizer:
    """One optimizer. `arguments` maps what it takes under optimizer_arguments to the default.

    `module` must be importable for it, and `install` is what pip calls the package. `exact`: a resumed run equals one
    that was never stopped. `targets`: it treats the matrices named by optimizer_target_modules apart. `layerwise`: it
    moves weights within the backward pass, so that gradients never lie together in memory. `whole`: it only makes
    sense where whole weights are trained. `plain`: one class over groups of parameters, which LoRA+ needs.
    """

    about: str
    arguments: Mapping[str, Value] = field(default_factory=dict[str, Value])
    module: str = ""
    install: str = ""
    gpu: bool = False
    exact: bool = True
    targets: bool = False
    layerwise: bool = False
    whole: bool = False
    plain: bool = True
    own: bool = False

    def installed(self) -> bool:
        """Whether its package is there; nothing is imported."""
        return not self.module or importlib.util.find_spec(self.module) is not None


# What every relative of Adam takes; these three are arguments of the trainer itself.
ADAM: Mapping[str, Value] = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
_BETAS: Mapping[str, Value] = {"beta1": 0.9, "beta2": 0.999}
_RMS: Mapping[str, Value] = {"momentum": 0.0, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0}
_MIX: Mapping[str, Value] = {**ADAM, "beta3": 0.9999, "alpha": 5.0, "t_alpha": 0, "t_beta3": 0, "eps": 1e-8}
_GALORE: Mapping[str, Value] = {"rank": 128, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std"}
_APOLLO: Mapping[str, Value] = {
    **ADAM, "rank": 128, "update_proj_gap": 200, "scale": 1.0, "proj": "random", "scale_type": "channel",
    "proj_type": "std",
}  # fmt: skip
_FREE: Mapping[str, Value] = {"r": 0.0, "weight_lr_power": 2.0}
_TORCHAO: Mapping[str, Value] = {**ADAM, "bf16_stochastic_round": False}


def _bnb(about: str, arguments: Mapping[str, Value], **facts: Any) -> Optimizer:
    return Optimizer(about, arguments, module="bitsandbytes", install="bitsandbytes", **facts)


def _galore(about: str, **facts: Any) -> Optimizer:
    facts = {"whole": True, "plain": False, "targets": True, **facts}
    return Optimizer(about, _GALORE, module="galore_torch", install="galore-torch", **facts)


def _apollo(about: str, **facts: Any) -> Optimizer:
    facts = {"whole": True, "plain": False, "targets": True, **facts}
    return Optimizer(about, _APOLLO, module="apollo_torch", install="apollo-torch", **facts)


def _free(about: str, arguments: Mapping[str, Value]) -> Optimizer:
    return Optimizer(about, {**arguments, **_FREE}, module="schedulefree", install="schedulefree", plain=False)


def _lomo(about: str) -> Optimizer:
    facts: dict[str, Any] = {"layerwise": True, "whole": True, "plain": False}
    return Optimizer(about, module="lomo_optim", install="lomo-optim", gpu=True, **facts)


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adamw_torch_fused": Optimizer("AdamW in one kernel: the usual choice.", ADAM),
    "adamw_torch": Optimizer("AdamW as PyTorch writes it out: the same numbers, slower.", ADAM),
    "adamw_8bit": _bnb("AdamW with its state in 8 bits: a quarter of the state's memory.", ADAM),
    "adamw_bnb_8bit": _bnb("Another name for adamw_8bit.", ADAM),
    "paged_adamw_32bit": _bnb("AdamW whose state moves to main memory when the GPU's is full.", ADAM),
    "paged_adamw_8bit": _bnb("AdamW in 8 bits whose state moves to main memory when the GPU's is full.", ADAM),
    "adamw_torch_8bit": Optimizer(
        "AdamW with its state in 8 bits, by torchao.", _TORCHAO, module="torchao", install="torchao"
    ),
    "adamw_torch_4bit": Optimizer(
        "AdamW with its state in 4 bits, by torchao.", _TORCHAO, module="torchao", install="torchao"
    ),
    "ademamix": _bnb("AdamW with a second, slower average of the gradients (AdEMAMix).", _MIX),
    "ademamix_8bit": _bnb("AdEMAMix with its state in 8 bits.", _MIX),
    "paged_ademamix_32bit": _bnb("AdEMAMix whose state moves to main memory when the GPU's is full.", _MIX),
    "paged_ademamix_8bit": _bnb("AdEMAMix in 8 bits whose state moves to main memory.", _MIX),
    "lion_32bit": _bnb("Only the sign of an average moves the weights (Lion); a tenth of AdamW's rate.", _BETAS),
    "lion_8bit": _bnb("Lion with its state in 8 bits.", _BETAS),
    "paged_lion_32bit": _bnb("Lion whose state moves to main memory when the GPU's is full.", _BETAS),
    "paged_lion_8bit": _bnb("Lion in 8 bits whose state moves to main memory.", _BETAS),
    "adafactor": Optimizer("Keeps row and column averages in place of a full second moment: little state."),
    "sgd": Optimizer(
        "Steps along the gradient: no state without momentum, and larger rates.",
        {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False},
    ),
    "adagrad": Optimizer(
        "Steps shrink with the sum of squared gradients.", {"lr_decay": 0.0, "weight_decay": 0.0, "eps": 1e-10}
    ),
    "rmsprop": Optimizer("Steps are divided by a running size of the gradient.", {**_RMS, "centered": False}),
    "rmsprop_bnb": _bnb("RMSprop by bitsandbytes.", _RMS),
    "rmsprop_bnb_8bit": _bnb("RMSprop with its state in 8 bits.", _RMS),
    "rmsprop_bnb_32bit": _bnb("RMSprop by bitsandbytes with its state in 32 bits.", _RMS),
    "stable_adamw": Optimizer(
        "AdamW that shortens single steps that are too long, in place of clipping (StableAdamW).",
        {**ADAM, "decouple_lr": False, "max_lr": 0.0, "kahan_sum": False},
        module="optimi",
        install="torch-optimi",
    ),
    "grokadamw": Optimizer(
        "AdamW with slow gradients amplified, meant to shorten the way to generalisation (GrokAdamW).",
        {"alpha_init": 0.98, "lamb": 2.0, "gamma": 0.1, "grokking_signal_decay_rate": 0.1, "gradient_clipping": 1.0},
        exact=False,
        module="grokadamw",
        install="grokadamw",
    ),
    "schedule_free_adamw": _free("AdamW that needs no schedule: choose lr_scheduler_type=constant.", ADAM),
    "schedule_free_radam": _free("RAdam that needs neither schedule nor warmup.", ADAM),
    "schedule_free_sgd": _free("SGD that needs no schedule.", {}),
    "galore_adamw": _galore("AdamW whose state lies in a small space of the gradients (GaLore)."),
    "galore_adamw_8bit": _galore("GaLore with the state of AdamW in 8 bits.", gpu=True),
    "galore_adafactor": _galore("GaLore with Adafactor."),
    "galore_adamw_layerwise": _galore("GaLore that moves weights layer by layer.", layerwise=True, exact=False),
    "galore_adamw_8bit_layerwise": _galore("GaLore in 8 bits, layer by layer.", layerwise=True, exact=False, gpu=True),
    "apollo_adamw": _apollo("AdamW's steps estimated from a random projection of the gradients (APOLLO)."),
    "apollo_adamw_layerwise": _apollo("APOLLO that moves weights layer by layer.", layerwise=True, exact=False),
    "lomo": _lomo("SGD fused into the backward pass: no gradients and no state in memory (LOMO)."),
    "adalomo": _lomo("LOMO with Adafactor's step sizes (AdaLomo)."),
    "muon": Optimizer(
        "Steps of matrices are made orthogonal (Muon); vectors and embeddings are moved by AdamW.",
        {**ADAM, "momentum": 0.95, "nesterov": True, "ns_steps": 5},
        plain=False,
        own=True,
    ),
    "lamb": _bnb("AdamW with steps as long as the weights of their layer, for large batches (LAMB).", ADAM, own=True),
    "lamb_8bit": _bnb("LAMB with its state in 8 bits.", ADAM, own=True),
    "adam_mini": Optimizer(
        "AdamW with one step size for each head or neuron in place of each weight (Adam-mini).",
        ADAM,
        module="adam_mini",
        install="adam-mini",
        whole=True,
        plain=False,
        own=True,
    ),
    "badam": Optimizer(
        "AdamW on one block of layers at a time (BAdam): the state of a block in memory.",
        {**ADAM, "switch_block_every": 50, "switch_mode": "descending"},
        module="badam",
        install="badam",
        exact=False,
        targets=True,
        whole=True,
        plain=False,
        own=True,
    ),
}


def optimizers_table() -> str:
    """The optimizers as a Markdown table, which docs/methods.md holds and a test compares."""
    lines = ["| name | what it is | arguments | needs |", "|---|---|---|---|"]
    for name, entry in OPTIMIZERS.items():
        arguments = ", ".join(entry.arguments) or "none"
        lines.append(f"| `{name}` | {entry.about} | {arguments} | {'; '.join(_needs(entry)) or 'nothing'} |")
    return "\n".join(lines)


def _needs(entry: Optimizer) -> list[str]:
    facts = (
        (bool(entry.install), entry.install),
        (entry.gpu, "a GPU"),
        (entry.whole, "whole weights"),
        (entry.layerwise, "no accumulation"),
        (not entry.exact, "resumes, but not exactly"),
    )
    return [words for holds, words in facts if holds]
