"""What is wrong with a training run, seen in its numbers: pure functions from curves to findings.

Each finding says the step where it shows and the figures behind it, so that a reader can look at the place.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["bad", "look", "good"]

MESSAGES: dict[str, str] = {
    "not_finite": "{key} became {value} at step {step}: from there on nothing is learnt. Lower the learning rate to "
    "a third, warm up longer, or compute in bf16 or fp32 instead of fp16.",
    "no_gradient": "The gradient is zero since step {step}: nothing is learnt. Look at the labels in the Tokens "
    "view: perhaps no token is trained on.",
    "diverging": "The loss rose from {lowest} at step {step} to {now}. Lower the learning rate to a third, or resume "
    "from the checkpoint before it.",
    "spikes": "Spikes of the loss: {count}, the highest {highest} at step {step}. A few do no harm; many ask for a "
    "lower learning rate or a shorter longest gradient, or for a look at the rows.",
    "not_falling": "{key} has not fallen in {points} points: {first} then, {now} now. Raise the learning rate (try "
    "three times as much), or look whether the data holds what shall be learnt.",
    "not_rising": "{key} has not risen in {points} points: {first} then, {now} now. Raise the learning rate (try "
    "three times as much), or look whether the data holds what shall be learnt.",
    "flattened": "{key} has moved by less than {share} since step {step}. The run may be stopped; more data or a "
    "higher rank would teach more than further steps.",
    "overfitting": "The evaluation loss was lowest at step {step} with {lowest} and is {now} now, while the training "
    "loss still falls: the rows are learnt by heart. Take the checkpoint nearest to step {step}, or train fewer "
    "epochs.",
    "by_heart": "The training loss is below {bound} since step {step}: the rows are known by heart. Hold back some "
    "for evaluation, and train fewer epochs.",
    "rate_zero": "The learning rate is zero since step {step}, {left} steps before the end: these steps change "
    "nothing. Look at the schedule and its arguments.",
    "waiting": "{share} of the time the device waits for data. Raise dataloader_num_workers under the further "
    "trainer arguments, or the batch size.",
    "padding": "{share} of the computed places is padding. Switch on group_by_length or packing.",
    "same_rewards": "The answers to a prompt get the same points in most steps since step {step}: nothing can be "
    "learnt from them. Raise the temperature or the answers a prompt, or choose rewards that differ.",
    "answers_cut": "{share} of the answers are cut off at their longest length. Raise stage.max_completion_length, "
    "or reward short answers.",
    "far_from_reference": "The model is {now} nats an answer away from where it began, at step {step}: it may be "
    "fooling the reward. Raise the KL coefficient, and read the answers.",
    "too_easy": "Every chosen answer wins since step {step}: the pairs teach nothing more. Stop, or take pairs that "
    "are closer to each other.",
}

FEWEST_POINTS = 20
FLAT_SHARE = 0.01
"""A curve that moves by less than this share over a stretch counts as flat there."""
FLAT_STRETCH = 0.3
"""The share of a run that must be flat before it is said."""
OVERFIT_SHARE = 0.02
DIVERGED_RATIO = 1.3
KNOWN_BY_HEART = 0.05
WAITING_SHARE, PADDING_SHARE, CUT_SHARE = 0.2, 0.35, 0.5
FAR_NATS = 50.0
SPIKE_WINDOW, SPIKE_DEVIATIONS, SPIKE_RATIO = 20, 6.0, 1.3


@dataclass(frozen=True)
class Points:
    """One logged key: steps, rising, and finite values."""

    steps: Sequence[int] = ()
    values: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class Course:
    """What is known of a run: its curves by key, values that were not finite, its length, and whether points count.

    `recent` holds the newest points of a curve as they are, where the others are medians of neighbours.
    """

    curves: Mapping[str, Points]
    recent: Mapping[str, Points] = field(default_factory=dict[str, Points])
    not_finite: Sequence[Mapping[str, Any]] = ()
    total: int = 0
    online: bool = False

    def of(self, key: str) -> Points:
        """The curve of a key, empty when it was never logged."""
        return self.curves.get(key, Points())

    @property
    def goal(self) -> tuple[str, float]:
        """The key that a run moves and which way: -1 down, 1 up."""
        return ("reward", 1.0) if self.online else ("loss", -1.0)


@dataclass(frozen=True)
class Finding:
    """One thing to say: `code` of MESSAGES, the step where it shows (0: all along), and the figures of its sentence, as
    text. `chart` is the key in whose curve it shows."""

    code: str
    severity: Severity
    step: int
    details: Mapping[str, str] = field(default_factory=dict[str, str])
    chart: str = "loss"

    def sentence(self, messages: Mapping[str, str] = MESSAGES) -> str:
        """The sentence in English, or from another language's `messages`."""
        return messages[self.code].format(step=self.step, **self.details)


def diagnose(course: Course) -> list[Finding]:
    """Everything to say about a run, the worst first."""
    found = [finding for rule in _RULES for finding in rule(course)]
    broken = {finding.code for finding in found} & {"not_finite", "diverging", "no_gradient"}
    if broken:  # then these say nothing more
        found = [finding for finding in found if finding.code not in ("not_falling", "not_rising", "flattened")]
    order: dict[Severity, int] = {"bad": 0, "look": 1, "good": 2}
    return sorted(found, key=lambda finding: (order[finding.severity], finding.step))


def _not_finite(course: Course) -> Iterator[Finding]:
    first: dict[str, Mapping[str, Any]] = {}
    for event in course.not_finite:
        first.setdefault(str(event["key"]), event)
    for key, event in first.items():
        if key in ("loss", "grad_norm", "eval_loss"):
            yield Finding("not_finite", "bad", int(event["step"]), {"key": key, "value": str(event["value"])}, key)


def _no_gradient(course: Course) -> Iterator[Finding]:
    gradients = course.of("grad_norm")
    zeros = _trailing(gradients.values, lambda value: value == 0)
    if zeros >= 3:
        yield Finding("no_gradient", "bad", gradients.steps[-zeros], chart="grad_norm")


def _diverging(course: Course) -> Iterator[Finding]:
    loss = course.of("loss")
    if course.online or len(loss) < FEWEST_POINTS:
        return
    smooth = _medians(loss.values, max(3, len(loss) // 10))
    lowest = min(smooth)
    place = smooth.index(lowest)
    if smooth[-1] > DIVERGED_RATIO * lowest + 0.1 and place < 0.9 * len(smooth):
        yield Finding("diverging", "bad", loss.steps[place], {"lowest": _short(lowest), "now": _short(smooth[-1])})


def _spikes(course: Course) -> Iterator[Finding]:
    loss = course.recent.get("loss", course.of("loss"))
    if course.online:
        return
    places = [place for place in range(SPIKE_WINDOW, len(loss)) if _is_spike(loss.values, place)]
    if places:
        highest = max(places, key=lambda place: loss.values[place])
        details = {"count": str(len(places)), "highest": _short(loss.values[highest])}
        yield Finding("spikes", "look", loss.steps[highest], details)


def _is_spike(values: Sequence[float], place: int) -> bool:
    """A point far above the median of those before it, in median absolute deviations scaled as for a normal curve."""
    window = values[place - SPIKE_WINDOW : place]
    middle = statistics.median(window)
    spread = 1.4826 * statistics.median(abs(value - middle) for value in window)
    return values[place] > middle + SPIKE_DEVIATIONS * spread and values[place] > SPIKE_RATIO * middle


def _not_learning(course: Course) -> Iterator[Finding]:
    key, way = course.goal
    points = _warm(course, key)
    if len(points) < FEWEST_POINTS:
        return
    third = len(points) // 3
    first, now = points.values[:third], points.values[-third:]
    gain = way * (statistics.fmean(now) - statistics.fmean(first))
    noise = math.sqrt(_variance(first) / third + _variance(now) / third)
    if gain < 2 * noise or gain < FLAT_SHARE * abs(statistics.fmean(first)):
        details = {
            "key": key,
            "points": str(len(points)),
            "first": _short(statistics.fmean(first)),
            "now": _short(statistics.fmean(now)),
        }
        yield Finding("not_rising" if way > 0 else "not_falling", "bad", points.steps[0], details, key)


def _flattened(course: Course) -> Iterator[Finding]:
    key, way = course.goal
    evaluated = course.of("eval_loss")
    if not course.online and len(evaluated) >= 6:
        key, points = "eval_loss", evaluated
    else:
        points = _warm(course, key)
        if len(points) < 2 * FEWEST_POINTS:
            return
    smooth = _medians(points.values, max(1, len(points) // 12))
    reach = max(smooth) - min(smooth)
    if not reach or way * (smooth[-1] - smooth[0]) < 0.2 * reach:
        return  # it never moved, or it went back: other findings
    bound = max(FLAT_SHARE * abs(smooth[-1]), 0.02 * reach)
    flat = _trailing(smooth, lambda value: abs(value - smooth[-1]) <= bound)
    if flat >= FLAT_STRETCH * len(smooth):
        yield Finding("flattened", "good", points.steps[-flat], {"key": key, "share": _percent(FLAT_SHARE)}, key)


def _overfitting(course: Course) -> Iterator[Finding]:
    evaluated, loss = course.of("eval_loss"), course.of("loss")
    if len(evaluated) < 3 or len(loss) < 3:
        return
    lowest = min(evaluated.values)
    place = list(evaluated.values).index(lowest)
    step = evaluated.steps[place]
    later = [value for at, value in zip(loss.steps, loss.values, strict=True) if at > step]
    before = [value for at, value in zip(loss.steps, loss.values, strict=True) if at <= step]
    risen = evaluated.values[-1] > lowest * (1 + OVERFIT_SHARE) and len(evaluated) - place > 2
    if risen and later and before and statistics.median(later) < statistics.median(before[-len(later) :]):
        details = {"lowest": _short(lowest), "now": _short(evaluated.values[-1])}
        yield Finding("overfitting", "bad", step, details, "eval_loss")


def _by_heart(course: Course) -> Iterator[Finding]:
    loss = course.of("loss")
    low = _trailing(loss.values, lambda value: value < KNOWN_BY_HEART)
    if not course.online and not len(course.of("eval_loss")) and low >= 5 and "rewards/margins" not in course.curves:
        yield Finding("by_heart", "look", loss.steps[-low], {"bound": _short(KNOWN_BY_HEART)})


def _rate_zero(course: Course) -> Iterator[Finding]:
    rates = course.of("learning_rate")
    zeros = _trailing(rates.values, lambda value: value <= 0)
    left = course.total - rates.steps[-zeros] if zeros else 0
    if zeros >= 2 and left > 0.05 * course.total:
        yield Finding("rate_zero", "bad", rates.steps[-zeros], {"left": str(left)}, "learning_rate")


def _waiting(course: Course) -> Iterator[Finding]:
    yield from _mean_above(course, "wait_share", WAITING_SHARE, "waiting")


def _padding(course: Course) -> Iterator[Finding]:
    yield from _mean_above(course, "padding_share", PADDING_SHARE, "padding")


def _answers_cut(course: Course) -> Iterator[Finding]:
    yield from _mean_above(course, "completions/clipped_ratio", CUT_SHARE, "answers_cut")


def _same_rewards(course: Course) -> Iterator[Finding]:
    spread = course.of("reward_std")
    none = _trailing(spread.values, lambda value: value < 1e-6)
    if none >= 5:
        yield Finding("same_rewards", "bad", spread.steps[-none], chart="reward_std")


def _far_from_reference(course: Course) -> Iterator[Finding]:
    distance = course.of("kl")
    if course.online and len(distance) and distance.values[-1] > FAR_NATS:
        yield Finding("far_from_reference", "bad", distance.steps[-1], {"now": _short(distance.values[-1])}, "kl")


def _too_easy(course: Course) -> Iterator[Finding]:
    won = course.of("rewards/accuracies")
    all_won = _trailing(won.values, lambda value: value >= 1)
    if all_won >= 10 and all_won >= FLAT_STRETCH * len(won):
        yield Finding("too_easy", "good", won.steps[-all_won], chart="rewards/accuracies")


_RULES: tuple[Callable[[Course], Iterator[Finding]], ...] = (
    _not_finite,
    _no_gradient,
    _diverging,
    _spikes,
    _not_learning,
    _flattened,
    _overfitting,
    _by_heart,
    _rate_zero,
    _waiting,
    _padding,
    _same_rewards,
    _answers_cut,
    _far_from_reference,
    _too_easy,
)


def _mean_above(course: Course, key: str, bound: float, code: str) -> Iterator[Finding]:
    points = course.of(key)
    if len(points) >= 5 and statistics.fmean(points.values) > bound:
        yield Finding(code, "look", 0, {"share": _percent(statistics.fmean(points.values))}, key)


def _warm(course: Course, key: str) -> Points:
    """The curve without the steps before the learning rate had risen to half of its highest."""
    points, rates = course.of(key), course.of("learning_rate")
    highest = max(rates.values, default=0.0)
    begun = next((step for step, rate in zip(rates.steps, rates.values, strict=True) if rate >= highest / 2), 0)
    kept = [(step, value) for step, value in zip(points.steps, points.values, strict=True) if step >= begun]
    return Points([step for step, _ in kept], [value for _, value in kept])


def _trailing(values: Sequence[float], holds: Callable[[float], bool]) -> int:
    """How many values at the end are all such."""
    count = 0
    for value in reversed(values):
        if not holds(value):
            break
        count += 1
    return count


def _medians(values: Sequence[float], width: int) -> list[float]:
    """The median of each value and up to `width` before it."""
    return [statistics.median(values[max(0, place - width + 1) : place + 1]) for place in range(len(values))]


def _variance(values: Sequence[float]) -> float:
    return statistics.variance(values) if len(values) > 1 else 0.0


def _short(value: float) -> str:
    return f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
