"""Let the policy answer prompts, and keep what learning from the answers needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """Prompts on the left, padded at their left, and answers on the right, padded at their right.

    `ids` and `mask` have shape [answers, prompt + answer tokens], `answer_mask` [answers, answer tokens].
    """

    ids: Tensor
    mask: Tensor
    answer_mask: Tensor

    @property
    def width(self) -> int:
        """Places for the tokens of an answer."""
        return self.answer_mask.shape[1]

    @property
    def tokens(self) -> list[list[int]]:
        """The token ids of each answer, without padding, with the end token where it came."""
        cut = self.ids[:, -self.width :]
        return [row[kept.bool()].tolist() for row, kept in zip(cut, self.answer_mask, strict=True)]


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn. `ends` are the tokens that end one."""

    max_completion_length: int
    temperature: float
    top_p: float
    ends: frozenset[int]
    padding: int


def write_answers(model: Any, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> Answers:
    """One answer to each prompt (token ids), drawn from `seed` alone; the caller has put the model into eval mode."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), decoding.padding, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    torch.manual_seed(seed)
    whole = model.generate(
        input_ids=ids,
        attention_mask=mask,
        do_sample=True,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        top_k=0,
        max_new_tokens=decoding.max_completion_length,
        eos_token_id=sorted(decoding.ends),
        pad_token_id=decoding.padding,
        use_cache=True,
    )
    written = whole[:, width:]
    ended = torch.isin(written, torch.tensor(sorted(decoding.ends), device=written.device)).long()
    # An end token belongs to the answer, what comes behind it does not.
    answer_mask = (ended.cumsum(dim=1) - ended == 0).long()
    return Answers(whole, torch.cat([mask, answer_mask], dim=1), answer_mask)


def token_scores(
    model: Any, answers: Answers, temperature: float, critic: Any = None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Log-probability of each token of the answers, the critic's estimate before it, and the entropy there.

    All have shape [answers, tokens] and format float32. Log-probabilities are those of the distribution that was drawn
    from, so of the logits divided by the temperature.
    """
    width = answers.width
    output = model(
        input_ids=answers.ids,
        attention_mask=answers.mask,
        position_ids=(answers.mask.cumsum(dim=1) - 1).clamp(min=0),
        output_hidden_states=critic is not None,
        use_cache=False,
        logits_to_keep=width + 1,
    )
    logits = output.logits[:, :-1].float() / temperature
    log_probabilities = torch.log_softmax(logits, dim=-1)
    entropy = -(log_probabilities.detach().exp() * log_probabilities.detach()).sum(dim=-1)
    chosen = log_probabilities.gather(2, answers.ids[:, -width:].unsqueeze(2)).squeeze(2)
    if critic is None:
        return chosen, None, entropy
    hidden = output.hidden_states[-1][:, -width - 1 : -1]
    return chosen, critic(hidden.to(critic.weight.dtype)).squeeze(2).float(), entropy


@dataclass(frozen=True)
class Experience:
    """Answers with what was known when they were written; all tensors but the answers have shape [answers, tokens]."""

    answers: Answers
    log_probabilities: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """By name, as a checkpoint keeps them."""
        return {
            "ids": self.answers.ids,
            "mask": self.answers.mask,
            "answer_mask": self.answers.answer_mask,
            "log_probabilities": self.log_probabilities,
            "values": self.values,
            "advantages": self.advantages,
            "returns": self.returns,
        }

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Experience:
        """The experience whose `tensors()` these are."""
        kept = dict(tensors)
        answers = Answers(kept.pop("ids"), kept.pop("mask"), kept.pop("answer_mask"))
        return cls(answers, **kept)
