"""The adapter as it is, with its tokenizer, so that peft can put it on its base anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from studio.runs.atomic import write_json
from studio.runs.export_subject import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_config, held_bits
from studio.tasks.exporting.companions import copy_companions
from studio.tasks.exporting.positions import is_stretched
from studio.tasks.exporting.work import Work, Written
from studio.tasks.failures import TaskError
from studio.tasks.few_bits import quantized


def write(work: Work) -> Written:
    """Write the adapter into the draft; its base is named as the user names it, not by a path of this machine.

    Raises TaskError when there is more than one adapter, OSError.
    """
    if len(work.subject.adapters) != 1:
        raise TaskError(
            "adapter",
            f"There are {len(work.subject.adapters)} adapters in order, and only one can be exported alone.",
            "Choose format.type=merged.",
        )
    work.reporter.phase("copying", work.subject.adapters[0].name)
    source = work.subject.adapters[0]
    settings = {**adapter_config(source), "base_model_name_or_path": work.subject.base}
    if held_bits(settings):
        settings = _baked(source, work.draft, settings)
        work.reporter.notice(
            "The matrices of the BitLoRA adapter are written with the values that they show in few bits, so the export "
            "is a plain LoRA adapter which any peft loads. To train on, take the run and not this export."
        )
    else:
        shutil.copyfile(source / ADAPTER_WEIGHTS, work.draft / ADAPTER_WEIGHTS)
    write_json(work.draft / ADAPTER_CONFIG, settings, durable=False)
    copy_companions(work.subject, work.draft)
    (work.draft / "generation_config.json").unlink(missing_ok=True)
    if is_stretched(work.subject):
        work.reporter.notice(
            "The adapter was trained with stretched positions (model.rope_scaling): they must be set in the config of "
            "the base model wherever it is used. A merged export has them inside."
        )
    request = {"folder": str(work.subject.base_folder), "adapters": [str(work.draft)]}
    return Written(exact=True, request=request, facts={"rank": settings.get("r")})


def _baked(source: Path, draft: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write a BitLoRA adapter's weights as plain LoRA and return its settings as those of plain LoRA."""
    bits = held_bits(settings)
    tensors = load_file(source / ADAPTER_WEIGHTS)
    for name, tensor in tensors.items():
        if name.endswith((".lora_A.weight", ".lora_B.weight")):
            tensors[name] = quantized(tensor.float(), bits).contiguous()
    save_file(tensors, draft / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    return {**{key: value for key, value in settings.items() if key != "bitlora"}, "init_lora_weights": True}
