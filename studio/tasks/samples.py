"""Ask the model the same questions before, during and after the training, without moving the training by it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.data.examples import Message
from studio.tasks.ends import end_tokens
from studio.tasks.spans import Conversation


class Sampler(TrainerCallback):
    """Writes one row {step, prompt, answer} a question to samples.jsonl; answers are greedy, so they compare."""

    def __init__(self, file: Path, tokenizer: Any, template: str, prompts: Sequence[str], max_new_tokens: int) -> None:
        self._file, self._tokenizer, self._template = file, tokenizer, template
        self._prompts, self._max_new_tokens = prompts, max_new_tokens
        self._answered = -1

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.global_step:
            self.answer(kwargs["model"], state)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.answer(kwargs["model"], state)

    def answer(self, model: Any, state: TrainerState) -> None:
        """Answer every question at this step, once; on the first process only."""
        if not self._prompts or not state.is_world_process_zero or state.global_step == self._answered:
            return
        self._answered = state.global_step
        with undisturbed(model):
            rows = [self._row(model, state.global_step, prompt) for prompt in self._prompts]
        with self._file.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def _row(self, model: Any, step: int, prompt: str) -> dict[str, Any]:
        inputs = self._tokenizer(self._text(prompt), add_special_tokens=not self._template, return_tensors="pt")
        inputs = inputs.to(model.device)
        tokens = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=self._max_new_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            use_cache=True,
            eos_token_id=sorted(end_tokens(model, self._tokenizer, self._template)),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        answer = self._tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return {"step": step, "prompt": prompt, "answer": answer.strip()}

    def _text(self, prompt: str) -> str:
        if not self._template:
            return prompt
        return Conversation([Message("user", prompt)], self._tokenizer, self._template).render(
            [Message("user", prompt)], prompt=True
        )


@contextmanager
def kept_random() -> Iterator[None]:
    """torch's random generators, of the CPU and of this process's GPU, are as before afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Evaluate without a trace: random generators and the training mode of every module are put back."""
    training = [module for module in model.modules() if module.training]
    with kept_random(), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True
