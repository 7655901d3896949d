"""HQQ: 8 to 1 bit without calibration, by its own library, because transformers 5 does not offer it (yet).

Half-quadratic quantization: https://mobiusml.github.io/hqq_blog. Linear layers are replaced after loading, one after
another, so the whole model lies once in main memory in the format in which it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine

# Groups along the rows of a matrix: with 4 bits closer to the original than along its columns (SmolLM2: a relative
# error of 7.4 % against 9.1 %), and what the library's fast kernels ask for.
ALONG_ROWS = 1


def options(arguments: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Full weights stay out of the GPU's memory until they are packed."""
    return {"device_map": {"": "cpu"}}


def finish(model: Any, arguments: Mapping[str, Any], machine: Machine) -> Any:
    """The model with HQQ's layers in the place of its linear ones but the output, on its device. Raises TaskError."""
    import torch
    from hqq.core.quantize import BaseQuantizeConfig, HQQBackend, HQQLinear

    device = "cuda:0" if machine.device == "cuda" else "cpu"
    HQQLinear.set_backend(HQQBackend.PYTORCH)
    packing = BaseQuantizeConfig(nbits=arguments["bits"], group_size=arguments["group_size"], axis=ALONG_ROWS)
    head = model.get_output_embeddings()
    chosen = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for name, module in chosen:
        if module is head or name == "score":  # the head of a reward model is trained
            continue
        if module.weight.numel() % arguments["group_size"]:
            raise TaskError(
                "quantization",
                f"{name} has {module.weight.numel():,} weights, which groups of {arguments['group_size']} do not fill.",
                "Set quantization.group_size to a power of two such as 64.",
            )
        parent, _, last = name.rpartition(".")
        layer = HQQLinear(module, packing, compute_dtype=module.weight.dtype, device=device)
        setattr(model.get_submodule(parent), last, layer)
    return model.to(device)
