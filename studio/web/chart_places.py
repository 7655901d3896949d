"""Which charts have a place and a name: what a stage is about comes first, what nobody has named comes last."""

from __future__ import annotations

from collections.abc import Iterable

from studio.web.words import say

NO_CHART = frozenset({"epoch", "step", "time"})
EVALUATION = "eval_"
OF_REWARDS = "rewards/"

# What says whether a stage learns stands before what says how the machine does.
FIRST = (
    "reward",
    "loss",
    "eval_loss",
    "reward_std",
    "accuracy",
    "margin",
    "mean_reward",
    "rewards/accuracies",
    "rewards/margins",
    "rewards/chosen",
    "rewards/rejected",
    "logps/chosen",
    "logps/rejected",
    "nll_loss",
    "log_odds_ratio",
    "kl",
    "completions/mean_length",
    "completions/clipped_ratio",
    "frac_reward_zero_std",
    "policy_loss",
    "value_loss",
    "explained_variance",
    "entropy",
    "mean_token_accuracy",
    "learning_rate",
    "grad_norm",
    "tokens_per_second",
    "memory_process_peak",
    "memory_gpu_allocated_peak",
)


def ordered(keys: Iterable[str]) -> list[str]:
    """The keys that get a chart, in the order in which they stand; points of single rewards follow the reward.

    Where a run has a reward, its loss says little (that of GRPO begins at 0 and stays near it) and comes last.
    """
    shown = [key for key in keys if key not in NO_CHART]
    online = "reward" in shown
    places = {key: place for place, key in enumerate(FIRST)}

    def place(key: str) -> tuple[float, bool]:
        bare = key.removeprefix(EVALUATION)
        if online and bare == "loss":
            return len(FIRST) + 1, key != bare
        if key not in places and online and _single(key):
            return 0.5, False
        return places.get(bare, len(FIRST)), key != bare

    return sorted(shown, key=place)  # those without a place keep the order in which they came


def title(language: str, key: str) -> str:
    """The name of a chart for people."""
    bare = key.removeprefix(EVALUATION)
    if key in FIRST:
        return say(language, f"page.runs.charts.{key}")
    if bare != key and bare in FIRST:
        return say(language, "page.runs.on_validation_rows", name=say(language, f"page.runs.charts.{bare}"))
    if _single(key):
        return say(language, "page.runs.of_reward", name=key.removeprefix(OF_REWARDS).removesuffix("/mean"))
    words = key.replace("_", " ").replace("/", ": ")
    return words[:1].upper() + words[1:]


def _single(key: str) -> bool:
    """Whether it is the mean of one reward of several: rewards/NAME, or rewards/NAME/mean."""
    name = key.removeprefix(OF_REWARDS).removesuffix("/mean")
    return key.startswith(OF_REWARDS) and key not in FIRST and "/" not in name
