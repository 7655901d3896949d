"""A trained reward model at work: conversations to scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.config.model import BaseModelConfig
from studio.config.quantization import NoQuantization, Quantization
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.data.examples import DataError, Example, Message
from studio.runs.configs import config_of
from studio.runs.folder import RunFolder
from studio.tasks.adapter import adapter_folder, load
from studio.tasks.arguments import inference_format, model_arguments, quantization_arguments
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.model import check_vocabulary, find_model, load_model, load_tokenizer
from studio.tasks.preference import tokenize_judged
from studio.tasks.reward_head import stay_exact
from studio.tasks.samples import undisturbed
from studio.tasks.templates import choose_template
from studio.tasks.tokenize import Settings

ROWS_AT_ONCE = 8
NUMBERS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


@dataclass(frozen=True)
class _Found:
    """Where a reward model lies and what it stands on. `adapter` is None for a whole model."""

    base: BaseModelConfig
    quantization: Quantization
    tokenizer: str
    adapter: Path | None
    cutoff: int | None


@dataclass
class RewardModel:
    """A model that gives one score to an answer: the higher, the better. `cutoff` is in tokens."""

    model: Any
    tokenizer: Any
    template: str
    cutoff: int

    def score(self, prompts: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[float]:
        """The score of each answer as the next turn of its prompt, in order. Raises TaskError for one that the chat
        template refuses."""
        examples = [
            Example("the answers to score", number, (*prompt, Message("assistant", answer)), label=True)
            for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), start=1)
        ]
        settings = Settings(self.cutoff, form="judged")
        rows: list[list[int]] = []
        for example, outcome in zip(
            examples, tokenize_judged(examples, self.tokenizer, self.template, settings), strict=True
        ):
            if isinstance(outcome, DataError):
                raise TaskError(
                    "reward", f"{example.where} cannot be scored: {outcome}", "Choose another reward model."
                )
            rows.append([*outcome.prompt_ids, *outcome.answers[0]])
        return self.score_tokens(rows)

    def score_tokens(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """The score of each row of token ids, none of them empty, read at its last token; in order.

        The rows go through the model by length, so that little is padded.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        scores = [0.0] * len(rows)
        with undisturbed(self.model):
            for start in range(0, len(order), ROWS_AT_ONCE):
                places = order[start : start + ROWS_AT_ONCE]
                ids = [torch.tensor(list(rows[place])) for place in places]
                batch = pad_sequence(ids, batch_first=True, padding_value=self.tokenizer.pad_token_id)
                real = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
                device = self.model.device
                given = self.model(input_ids=batch.to(device), attention_mask=real.to(device)).logits
                for place, value in zip(places, given.to(torch.float32).squeeze(-1).tolist(), strict=True):
                    scores[place] = value
        return scores


def load_reward_model(path: str, workspace: Workspace, machine: Machine, device_dtype: str = "auto") -> RewardModel:
    """The reward model of a finished run, of one of its checkpoints, of a folder or of a hub id, ready to score.

    `device_dtype` is the format of its weights by torch's name; auto takes the fastest that the machine has. Raises
    TaskError when there is none, or when what lies there is no reward model.
    """
    found = _find(path, workspace)
    arguments = model_arguments(found.base, inference_format(device_dtype, machine))
    quantization = quantization_arguments(found.quantization, NUMBERS[arguments["dtype"]])
    source = find_model(arguments["path"], workspace, arguments["hub"], arguments["revision"])
    tokenizer = load_tokenizer(found.tokenizer or source, arguments)
    model: Any = load_model(source, arguments, quantization, machine, "new score" if found.adapter else "score")
    check_vocabulary(tokenizer, model)
    model = stay_exact(model)
    if found.adapter is not None:
        model = load(model, found.adapter)
    template = choose_template("auto", tokenizer)
    text_config = model.config.get_text_config()
    # The head reads the last token of a row that is no padding, so both must agree; a run's tokenizer knows.
    if found.adapter is None and text_config.pad_token_id is not None:
        tokenizer.pad_token_id = text_config.pad_token_id
    text_config.pad_token_id = tokenizer.pad_token_id
    cutoff = found.cutoff or getattr(text_config, "max_position_embeddings", None) or 4096
    return RewardModel(model.eval(), tokenizer, template, cutoff)


def _find(path: str, workspace: Workspace) -> _Found:
    folder = (workspace.root / Path(path).expanduser()).resolve()
    run = next((place for place in (folder, folder.parent) if (place / "config.yaml").is_file()), None)
    config = config_of(RunFolder(run), TrainConfig) if run else None
    if config is not None and config.stage.type != "reward":
        raise _no_reward_model(path, f"that run was of stage {config.stage.type}")
    cutoff = config.data.cutoff_len if config else None
    if (folder / "adapter_config.json").is_file():
        adapter = adapter_folder(path, workspace)
        stated = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        if stated.get("task_type") != "SEQ_CLS":
            raise _no_reward_model(path, "the adapter that lies there was trained to write words")
        base: BaseModelConfig = config.model if config else BaseModelConfig(path=stated["base_model_name_or_path"])
        own = str(folder) if (folder / "tokenizer_config.json").is_file() else ""
        return _Found(base, config.quantization if config else NoQuantization(), own, adapter, cutoff)
    if (folder / "config.json").is_file():
        names = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or [""]
        if not names[0].endswith("ForSequenceClassification"):
            raise _no_reward_model(path, f"the model that lies there is a {names[0] or 'model of unknown kind'}")
    elif folder.is_dir():
        raise _no_reward_model(path, "that folder holds neither a model nor an adapter")
    whole = BaseModelConfig(path=path, trust_remote_code=config.model.trust_remote_code if config else False)
    return _Found(whole, NoQuantization(), "", None, cutoff)


def _no_reward_model(path: str, reason: str) -> TaskError:
    return TaskError(
        "reward",
        f"{path} is no reward model: {reason}.",
        "Choose a finished run of stage.type=reward, or a model for sequence classification with one label.",
    )
