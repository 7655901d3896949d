"""Exports measured by their own runtimes: `python -m bench.engines [RUN [WORKSPACE]]`.

A finished run goes through `studio export` in every format whose runtime is an engine of its own: GGUF is measured by
llama.cpp, GPTQ by gptqmodel. It needs `studio engines install llama-cpp` and `studio engines install gptq`, which
compile for minutes, so it is no part of `make bench`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.report import ROOT, write_result

# name, settings
FORMATS = (
    ("GGUF f16", ("format.type=gguf", "format.quantization=f16")),
    ("GGUF q8_0", ("format.type=gguf", "format.quantization=q8_0")),
    ("GGUF q4_0", ("format.type=gguf", "format.quantization=q4_0")),
    ("GGUF q4_k_m", ("format.type=gguf", "format.quantization=q4_k_m")),
    ("GPTQ 8 bits", ("format.type=gptq", "format.bits=8")),
    ("GPTQ 4 bits", ("format.type=gptq", "format.bits=4")),
    ("GPTQ 3 bits", ("format.type=gptq", "format.bits=3")),
    ("GPTQ 2 bits", ("format.type=gptq", "format.bits=2")),
)
GPTQ = ("format.group_size=64", "format.rows=20", "format.length=128")


def main(run: str, workspace: Path) -> None:
    """Export in every format and write the table."""
    rows = [
        ("format", "MB", "perplexity", "same token", "same answers", "tokens/s", "seconds", "verdict", "made in (s)")
    ]
    for title, settings in FORMATS:
        further = GPTQ if title.startswith("GPTQ") else ()
        found, seconds = export(run, workspace, title, (*settings, *further))
        rows.append(row(title, found, seconds))
    write_result(
        "engines",
        "make engines",
        f"The run {Path(run).name} exported by `studio export`, each export measured in a fresh process by the runtime "
        "that it is for (GGUF by llama.cpp, GPTQ by gptqmodel) and compared with the tuned model in transformers: the "
        "base with its adapter beside it. CPU.",
        rows,
        [
            "perplexity: tuned model -> export, over the answers of the same rows; for GPTQ rows held back from "
            "calibration. same token: places where both find the same token most likely. seconds: the whole job with "
            "both measurements.",
            "GPTQ was calibrated on few short rows, for the sake of minutes: real exports use more.",
        ],
    )


def export(run: str, workspace: Path, title: str, settings: tuple[str, ...]) -> tuple[dict[str, Any], float]:
    """The results of one export and the seconds it took."""
    name = f"bench-{title.lower().replace(' ', '-')}"
    begun = time.perf_counter()
    words = [sys.executable, "-m", "studio", "export", "--workspace", str(workspace), "--if-exists", "replace"]
    words += [f"subject.run={run}", f"name={name}", "destination.overwrite=true", "verification.rows=8", *settings]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    found = json.loads((workspace / "saves" / name / "results.json").read_text(encoding="utf-8"))
    shutil.rmtree(workspace / "exports" / name)
    return found, seconds


def row(title: str, found: dict[str, Any], seconds: float) -> tuple[str, ...]:
    """One line of the table."""
    one = found["comparison"]
    speeds = f"{one['tokens_per_second_before']:.0f} -> {one['tokens_per_second_after']:.0f}"
    after = one["perplexity_after"]
    return (
        title,
        f"{found['size_bytes'] / 1e6:.0f}",
        f"{one['perplexity_before']:.4g} -> {'not finite' if after is None else f'{after:.4g}'}",
        f"{100 * one['same_tokens']:.0f} %",
        f"{one['same_answers']} of {one['answers']}",
        speeds,
        f"{seconds:.0f}",
        found["verdict"],
        str(found.get("quantize_seconds", "")),
    )


def newest_run(workspace: Path) -> str:
    """The run whose adapter is newest. Exits with a sentence when there is none."""
    found = sorted(workspace.glob("saves/*/adapter_config.json"), key=lambda file: file.stat().st_mtime)
    if not found:
        sys.exit("There is no finished run with an adapter yet: run `make demo` first.")
    return f"saves/{found[-1].parent.name}"


if __name__ == "__main__":
    place = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT)
    main(sys.argv[1] if len(sys.argv) > 1 else newest_run(place), place)
