"""Run by the interpreter of the engine gptq: quantize a model, or load a quantized one and measure it.

`python -P gptq_engine.py REQUEST RESULT`. It imports nothing of Studio but the file beside it, by its path: this
environment has none of Studio's packages.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Request = Mapping[str, Any]


def main(asked: Path, answered: Path) -> int:
    """Do what the request says, write what came out or why not, and return the exit code."""
    request = json.loads(asked.read_text(encoding="utf-8"))
    try:
        result = quantize(request) if request["do"] == "quantize" else measure(request)
    except Exception as error:
        logging.exception("the engine failed")
        text = " ".join(str(error).split())[:600]
        failure = {
            "kind": "gptq",
            "cause": f"gptqmodel failed: {type(error).__name__}: {text}",
            "advice": request["advice"],
        }
        answered.write_text(json.dumps({"failure": failure}), encoding="utf-8")
        return 1
    answered.write_text(json.dumps(result), encoding="utf-8")
    return 0


def quantize(request: Request) -> dict[str, Any]:
    """Quantize the model in `folder` with the token ids in `rows` and save it into `target`."""
    from gptqmodel import GPTQModel, QuantizeConfig

    config = QuantizeConfig(bits=request["bits"], group_size=request["group_size"], desc_act=request["act_order"])
    begun = time.perf_counter()
    model = GPTQModel.load(request["folder"], config, device=request["device"])
    rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in request["rows"]]
    model.quantize(rows, batch_size=1)
    quantized = time.perf_counter() - begun
    model.save(request["target"])
    return {"quantize_seconds": round(quantized, 1), "calibration_rows": len(rows)}


def measure(request: Request) -> dict[str, Any]:
    """Load the quantized model in `folder` and measure it as every other model is."""
    from gptqmodel import GPTQModel

    spec = importlib.util.spec_from_file_location("probing", Path(__file__).with_name("probing.py"))
    assert spec is not None and spec.loader is not None
    probing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(probing)
    model = GPTQModel.load(request["folder"], device=request["device"])
    return probing.probe(model.model, request["tokens"], Path(request["logits"]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
