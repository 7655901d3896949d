"""What a checkpoint holds beside peft's own file, so that its run goes on exactly.

peft saves what an adapter needs to answer: of P-tuning and of a projected prefix what their network has made, of
AdaLoRA the directions that are left. The training goes on with the network itself, and with every direction and its
weight.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studio.tasks.failures import TaskError

FILE = "trained_state.safetensors"
KINDS = frozenset({"ADALORA", "PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING"})
SCORES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # of the directions of AdaLoRA, as peft's RankAllocator calls them
PATTERN = "rank_pattern"


def write_state(model: Any, folder: Path) -> None:
    """Write every trained tensor of `model` as it is, where peft's file does not hold it. Raises OSError."""
    from safetensors.torch import save_file

    config = _config(model)
    if config is None:
        return
    tensors = {name: value.detach().contiguous().cpu() for name, value in _trained(model).items()}
    for kind, scores in _scores(model).items():
        tensors |= {f"{kind}/{name}": value.contiguous().cpu() for name, value in scores.items()}
    metadata = {"format": "pt", PATTERN: json.dumps(getattr(config, PATTERN, None))}
    save_file(tensors, folder / FILE, metadata=metadata)


def read_state(model: Any, folder: Path) -> bool:
    """Put the state in `folder` into `model`; False where peft's own file is all there is to load.

    Raises TaskError when it belongs to other settings.
    """
    import torch
    from safetensors import safe_open

    config = _config(model)
    if config is None:
        return False
    if not (folder / FILE).is_file():
        raise TaskError("checkpoint", f"{folder} lacks {FILE}.", "Resume from another checkpoint, or start fresh.")
    with safe_open(str(folder / FILE), framework="pt") as file:
        saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        pattern = json.loads((file.metadata() or {}).get(PATTERN, "null"))
    trained = _trained(model)
    if {name: value.shape for name, value in saved.items() if "/" not in name} != {
        name: value.shape for name, value in trained.items()
    }:
        raise TaskError(
            "checkpoint",
            f"The checkpoint {folder.name} was written under other settings of the method.",
            "Put the settings under method back as they were, or start fresh.",
        )
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(saved[name])
    for kind, scores in _scores(model).items():
        own = {name.partition("/")[2]: value for name, value in saved.items() if name.startswith(f"{kind}/")}
        scores.clear()
        scores.update({name: value.to(model.device) for name, value in own.items()})
    if hasattr(config, PATTERN):
        setattr(config, PATTERN, pattern)
    return True


def _config(model: Any) -> Any:
    """The settings of the adapter that is trained, None for one whose own file is enough."""
    config = getattr(model, "peft_config", {}).get("default")
    return config if config is not None and config.peft_type in KINDS else None


def _trained(model: Any) -> dict[str, Any]:
    # The critic of PPO is kept by its own trainer, and is not there while the model is saved.
    pairs = model.named_parameters()
    return {name: value for name, value in pairs if value.requires_grad and not name.startswith("value_head.")}


def _scores(model: Any) -> dict[str, dict[str, Any]]:
    allocator = getattr(model.base_model, "rankallocator", None)
    return {} if allocator is None else {kind: getattr(allocator, kind) for kind in SCORES}
