"""Single tensors from safetensors files, without mapping them: what was read is all that stays in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from studio.runs.artifacts import StoredTensor
from studio.tasks.failures import TaskError

DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip

CODES: Mapping[torch.dtype, str] = {dtype: code for code, dtype in DTYPES.items()}


def read_tensor(stored: StoredTensor) -> torch.Tensor:
    """The tensor in main memory, in the format in which it is stored. Raises TaskError when the file was cut meanwhile.

    It is read, not mapped: mapped pages count as memory of the process for as long as the map lives. The system's own
    copy of the pages is given up too, or a model of many gigabytes would push everything else out of the page cache.
    """
    if stored.dtype not in DTYPES:
        raise TaskError(
            "model", f"{stored.name} in {stored.file} has the format {stored.dtype}, which is unknown here."
        )
    buffer = torch.empty(stored.nbytes, dtype=torch.uint8)
    with stored.file.open("rb", buffering=0) as stream:
        stream.seek(stored.start)
        view, done = buffer.numpy().data, 0
        while done < stored.nbytes:
            count = stream.readinto(view[done : done + (1 << 30)])
            if not count:
                raise TaskError("model", f"{stored.file} ends before {stored.name} does.", "Copy or download it again.")
            done += count
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(stream.fileno(), stored.start, stored.nbytes, os.POSIX_FADV_DONTNEED)
    return buffer.view(DTYPES[stored.dtype]).view(stored.shape)
