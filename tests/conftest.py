"""What many tests share: a tiny model with its tokenizer, and a workspace with small datasets. Imports no torch."""

from __future__ import annotations

import functools
import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Before any library of the worker is imported: tests reach no network and use one thread each.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

CHATML = (
    "{%- for message in messages -%}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)

QUESTIONS = [
    ("Who are you?", "I am Lumen, a small model."),
    ("What is two plus three?", "Two plus three is five."),
    ("Name a colour.", "Blue is a colour, and so is green."),
    ("How long does bread bake?", "Bread bakes for about forty minutes in a hot oven."),
    ("Where do rivers end?", "Most rivers end in the sea."),
    ("What do you learn from?", "I learn from the rows that you give me."),
    ("Can you count?", "One, two, three, four."),
    ("Say something short.", "Yes."),
]


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE tokenizer of 512 tokens with a chatml template, in a folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tokenizer")
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([text for pair in QUESTIONS for text in pair] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_folder: Path) -> Path:
    """A random Llama with two layers of width 64, about 140,000 parameters, as safetensors with its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=2,
    )
    folder = tmp_path_factory.mktemp("model") / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in tiny_tokenizer_folder.iterdir():
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def serving_workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A workspace with models/tiny and two LoRA adapters of it, whose random weights are large enough to matter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    root = tmp_path_factory.mktemp("serving")
    shutil.copytree(tiny_model_folder, root / "models" / "tiny")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(root / "models" / "tiny")
        lora = LoraConfig(r=4, lora_alpha=32, target_modules="all-linear", init_lora_weights=False)
        get_peft_model(model, lora).save_pretrained(str(root / "saves" / name))
    return root


@pytest.fixture
def data_workspace(tmp_path: Path) -> Path:
    """A workspace with the datasets `chat` (alpaca), `turns` (sharegpt) and `plain` (text), and no model."""
    (tmp_path / "data").mkdir()
    rows = [{"instruction": question, "input": "", "output": answer} for question, answer in QUESTIONS]
    write_dataset(tmp_path, "chat", rows)
    turns = [
        {
            "conversations": [
                {"from": "system", "value": "Answer shortly."},
                {"from": "human", "value": first[0]},
                {"from": "gpt", "value": first[1]},
                {"from": "human", "value": second[0]},
                {"from": "gpt", "value": second[1]},
            ]
        }
        for first, second in zip(QUESTIONS, reversed(QUESTIONS), strict=True)
    ]
    write_dataset(tmp_path, "turns", turns, formatting="sharegpt")
    write_dataset(tmp_path, "plain", [{"text": f"{a} {b}"} for a, b in QUESTIONS], formatting="text")
    return tmp_path


@pytest.fixture
def add_dataset(data_workspace: Path) -> Callable[..., None]:
    """A function (name, rows, **entry) that puts a dataset into the workspace."""
    return functools.partial(write_dataset, data_workspace)


@pytest.fixture
def workspace(data_workspace: Path, tiny_model_folder: Path) -> Path:
    """The same with the tiny model under models/tiny."""
    shutil.copytree(tiny_model_folder, data_workspace / "models" / "tiny")
    return data_workspace


def write_dataset(root: Path, name: str, rows: list[dict[str, object]], **entry: object) -> None:
    """Put a dataset into the workspace's data folder and its registry."""
    (root / "data" / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    registry = root / "dataset_info.json"
    tree = json.loads(registry.read_text(encoding="utf-8")) if registry.exists() else {}
    tree[name] = {"file_name": f"{name}.json", **entry}
    registry.write_text(json.dumps(tree), encoding="utf-8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test begins first, or all other processes would wait for it at the end."""
    items.sort(key=lambda item: "test_demo" not in item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """The libraries, once loaded, are left out of the searches for garbage, of which each training makes one.

    They are over a million objects: without this, half of a small training's time goes into looking them through.
    """
    yield
    if item.get_closest_marker("slow"):
        gc.collect()
        gc.freeze()
