"""LLaMA-Factory's preprocessing, timed in its own environment: `PYTHON tokenizing_rival.py FOLDER MODEL WORKERS…`.

FOLDER holds dataset_info.json with the dataset `bench`. The last line printed is JSON: for each number of workers (0 is
its default, none) the seconds and the processor's seconds of the whole and of the tokenizing alone, rows and tokens.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer, loader  # pyright: ignore
from llamafactory.hparams import get_train_args  # pyright: ignore
from llamafactory.model import load_tokenizer  # pyright: ignore


def main(folder: str, model: str, workers: list[int]) -> None:
    """Measure each number of workers once."""
    spent = [0.0, 0.0]  # seconds of the last tokenizing, and of the processor
    tokenize = loader._get_preprocessed_dataset

    def timed(*positional: Any, **options: Any) -> Any:
        begun, cpu = time.perf_counter(), processor()
        made = tokenize(*positional, **options)
        spent[:] = time.perf_counter() - begun, processor() - cpu
        return made

    loader._get_preprocessed_dataset = timed
    results = []
    for count in workers:
        arguments = {
            "model_name_or_path": model,
            "stage": "sft",
            "do_train": True,
            "template": "smollm2",
            "dataset": "bench",
            "dataset_dir": folder,
            "cutoff_len": 1024,
            "overwrite_cache": True,
            "output_dir": f"{folder}/out",
            "report_to": "none",
            "use_cpu": True,
            **({"preprocessing_num_workers": count} if count else {}),
        }
        model_arguments, data_arguments, training_arguments, *_ = get_train_args(arguments)
        tools = load_tokenizer(model_arguments)
        template = get_template_and_fix_tokenizer(tools["tokenizer"], data_arguments)
        begun, cpu = time.perf_counter(), processor()
        made = get_dataset(template, model_arguments, data_arguments, training_arguments, stage="sft", **tools)
        whole = [time.perf_counter() - begun, processor() - cpu]
        ids = made["train_dataset"].data.column("input_ids")
        tokens = sum(len(chunk.flatten()) for chunk in ids.chunks)
        results.append({"whole": whole, "tokenizing": list(spent), "rows": len(ids), "tokens": tokens})
    print(json.dumps({"version": version("llamafactory"), "results": results}))


def processor() -> float:
    """Seconds that this process and its children had a core."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(word) for word in sys.argv[3:]])
