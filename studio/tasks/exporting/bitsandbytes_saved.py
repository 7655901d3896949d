"""bitsandbytes: the merged model loaded in 4 or 8 bits and saved as it then lies in memory."""

from __future__ import annotations

import shutil
from typing import Any

from studio.config.export import Bitsandbytes
from studio.tasks.exporting.children import call_part
from studio.tasks.exporting.companions import copy_companions
from studio.tasks.exporting.merged import merged_folder
from studio.tasks.exporting.work import Work, Written


def write(work: Work) -> Written:
    """Write the quantized model into the draft. Raises TaskError, OSError."""
    target = work.config.format
    assert isinstance(target, Bitsandbytes)
    folder = merged_folder(work)
    work.reporter.phase("quantizing", f"{target.bits} bits")
    request: dict[str, Any] = {
        "folder": str(folder),
        "target": str(work.draft),
        "bits": target.bits,
        "quant_type": target.quant_type,
        "double_quantization": target.double_quantization,
        "device": work.machine.device,
    }
    call_part("studio.tasks.exporting.bitsandbytes_part", request, work.scratch)
    shutil.rmtree(folder)
    copy_companions(work.subject, work.draft)
    return Written(exact=False, request={"folder": str(work.draft), "quantized": True})
