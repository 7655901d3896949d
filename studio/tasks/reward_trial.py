"""Try the rewards of a stage before the start: the points of right answers, of wrong ones, and what looks amiss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.config.rewards import ENTRIES, REWARD_MODEL
from studio.tasks.desk import Desk, Seen
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.prompts import Prompt, prompts_of
from studio.tasks.rewards.attempt import Attempt
from studio.tasks.rewards.judging import Judge, Judges, Points, attempt_of, load_judges

if TYPE_CHECKING:
    from torch import Tensor

Answer = dict[str, Any]
Body = Mapping[str, Any]

MOST_ROWS = 200  # that are tried at once
OWN, OTHER, MODEL = "own", "other", "model"
"""Where an answer comes from: the row itself, another row (so it is most likely wrong here), the model."""


@dataclass(frozen=True)
class Tried:
    """One answer and where it comes from."""

    attempt: Attempt
    source: str


@dataclass
class Trial:
    """Points by label; a reward that failed has none, and its reason stands in `errors`."""

    tried: list[Tried]
    judges: Judges
    points: dict[str, Points] = field(default_factory=dict[str, Points])
    errors: dict[str, str] = field(default_factory=dict[str, str])

    def of(self, label: str, *sources: str) -> list[float]:
        """What a reward gave to answers of these sources, without those about which it said nothing."""
        given = zip(self.tried, self.points.get(label, ()), strict=False)
        return [value for tried, value in given if value is not None and tried.source in sources]


def ask(desk: Desk, body: Body) -> Answer:
    """The question `rewards.try`: `config` is a run's tree, `rows` how many rows are tried. A reward model is left out,
    because the helper process holds no models. Raises ConfigError, DataError and TaskError."""
    seen = desk.seen(body["config"])
    rewards = [reward for reward in seen.plan.rewards or () if reward["name"] != REWARD_MODEL]
    prompts = first_prompts(desk, seen, min(int(body.get("rows", 10)), MOST_ROWS))
    judges = load_judges(rewards, desk.workspace, Machine("cpu", bf16=False))
    report = report_of(try_rewards(judges, prompts, seen.tokenizer))
    if len(rewards) < len(seen.plan.rewards or ()):
        report["warnings"].append({"code": "model_left_out", "label": REWARD_MODEL})
    return report


def first_prompts(desk: Desk, seen: Seen, count: int) -> list[Prompt]:
    """The first `count` prompts, evenly from all chosen datasets. Raises DataError and TaskError."""
    if seen.plan.rewards is None:
        raise TaskError("reward", f"stage.type={seen.config.stage.type} learns from no rewards.", "Choose grpo or ppo.")
    each = math.ceil(count / max(1, len(seen.config.data.datasets)))
    most = min(each, seen.config.data.max_samples or each)
    data = {**seen.plan.data, "max_samples": most, "validation_size": 0, "validation_datasets": []}
    made, _ = prompts_of(desk.workspace, data, seen.tokenizer, seen.template, seen.config.data.cutoff_len)
    return made.prompts[:count]


def try_rewards(
    judges: Judges, prompts: Sequence[Prompt], tokenizer: Any, written: Sequence[Sequence[str]] = ()
) -> Trial:
    """Every reward asked about the rows' own answers, about those of other rows in their place, and about `written`:
    for each prompt the answers of a model."""
    tried = [Tried(_attempt(prompt, prompt.answer, tokenizer), OWN) for prompt in prompts if prompt.answer is not None]
    tried += [Tried(_attempt(*pair, tokenizer), OTHER) for pair in _exchanged(prompts)]
    for prompt, answers in zip(prompts, written, strict=False):
        tried += [Tried(_attempt(prompt, text, tokenizer), MODEL) for text in answers]
    trial = Trial(tried, judges)
    for judge in judges.judges:
        try:
            trial.points[judge.label] = judge.points([one.attempt for one in tried]) if tried else []
        except TaskError as error:
            trial.errors[judge.label] = str(error)
    return trial


def _exchanged(prompts: Sequence[Prompt]) -> Iterator[tuple[Prompt, str]]:
    """Each prompt with the answer of the next row that answers something else."""
    answered = [prompt for prompt in prompts if prompt.answer is not None]
    for place, prompt in enumerate(answered):
        others = (other.answer for other in (*answered[place + 1 :], *answered[:place]))
        other = next((answer for answer in others if answer != prompt.answer), None)
        if other is not None:
            yield prompt, other


def _attempt(prompt: Prompt, text: str, tokenizer: Any) -> Attempt:
    return attempt_of(prompt, text, len(tokenizer(text, add_special_tokens=False)["input_ids"]))


def report_of(trial: Trial) -> Answer:
    """What is shown: means of each reward, every answer with its points, and warnings by their codes."""
    known = [judge for judge in trial.judges.judges if judge.label in trial.points]
    totals = Judges(tuple(known)).totals(trial.points) if known and trial.tried else [None] * len(trial.tried)
    return {
        "rewards": [
            {
                "label": judge.label,
                "weight": judge.weight,
                "error": trial.errors.get(judge.label, ""),
                **{source: _mean(trial.of(judge.label, source)) for source in (OWN, OTHER, MODEL)},
            }
            for judge in trial.judges.judges
        ],
        "rows": [
            {
                "source": one.source,
                "where": one.attempt.where,
                "prompt": one.attempt.prompt,
                "answer": one.attempt.text,
                "reference": one.attempt.reference,
                "tokens": one.attempt.tokens,
                "points": {judge.label: trial.points[judge.label][place] for judge in known},
                "total": totals[place],
            }
            for place, one in enumerate(trial.tried)
        ],
        "warnings": list(_warnings(trial, totals)),
    }


def _warnings(trial: Trial, totals: Points) -> Iterator[Answer]:
    if not any(one.source == OWN for one in trial.tried):
        yield {"code": "no_answers"}
    for judge in trial.judges.judges:
        if judge.label in trial.points and trial.tried:
            yield from _amiss(trial, judge)
    written: dict[str, set[float | None]] = {}
    for one, total in zip(trial.tried, totals, strict=True):
        if one.source == MODEL:
            written.setdefault(one.attempt.where, set()).add(total)
    if written and all(len(found) == 1 for found in written.values()):
        yield {"code": "flat"}


def _amiss(trial: Trial, judge: Judge) -> Iterator[Answer]:
    """What looks wrong with one reward, the gravest alone."""
    entry = ENTRIES.get(judge.name)
    given, own = trial.of(judge.label, OWN, OTHER, MODEL), trial.of(judge.label, OWN)
    if not given:
        yield {"code": "silent", "label": judge.label}
    elif entry and own and max(own) < entry.best:
        yield {"code": "unreached", "label": judge.label, "most": max(own), "best": entry.best}
    elif len(given) > 1 and len(set(given)) == 1 and not _content(judge, given[0]):
        yield {"code": "constant", "label": judge.label, "value": given[0]}


def _content(judge: Judge, value: float) -> bool:
    """Whether it is no wonder that good answers all get this: the most of a reward that asks for no result."""
    entry = ENTRIES.get(judge.name)
    return entry is not None and not entry.needs_answer and value == entry.best


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def write_answers(desk: Desk, seen: Seen, prompts: Sequence[Prompt], count: int, machine: Machine) -> list[list[str]]:
    """`count` answers of the base model to each prompt, drawn as the stage draws them; a short batch a prompt.

    Raises TaskError for a model that cannot be loaded.
    """
    import torch

    from studio.tasks.arguments import plan
    from studio.tasks.ends import end_tokens
    from studio.tasks.model import load_model

    stage, todo = seen.config.stage, plan(seen.config, machine, desk.workspace.root)
    model = load_model(seen.opened.source, todo.model, todo.quantization, machine).eval()
    ends, tokenizer = sorted(end_tokens(model, seen.tokenizer, seen.template)), seen.tokenizer
    torch.manual_seed(seen.config.seed)
    found: list[list[str]] = []
    for prompt in prompts:
        ids: Tensor = torch.tensor([prompt.ids], device=model.device)
        with torch.no_grad():
            written = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=stage.temperature,
                top_p=stage.top_p,
                top_k=0,
                max_new_tokens=stage.max_completion_length,
                num_return_sequences=count,
                eos_token_id=ends,
                pad_token_id=tokenizer.pad_token_id,
            )
        found.append(tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True))
    return found
