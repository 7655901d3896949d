"""A process that loads a model in 4 or 8 bits of bitsandbytes and saves it: its memory comes back when it ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from studio.tasks.exporting import children


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Quantize `folder` into `target`."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if request["bits"] == "4":
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=request["quant_type"],
            bnb_4bit_use_double_quant=request["double_quantization"],
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    else:
        config = BitsAndBytesConfig(load_in_8bit=True)
    place = {"": 0 if request["device"] == "cuda" else "cpu"}
    model: Any = AutoModelForCausalLM.from_pretrained(
        request["folder"], quantization_config=config, device_map=place, use_safetensors=True, dtype="auto"
    )
    model.save_pretrained(request["target"], max_shard_size="5GB")
    return {"memory": model.get_memory_footprint()}


if __name__ == "__main__":
    sys.exit(children.main(run))
