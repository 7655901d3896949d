"""What a run's numbers say: each finding comes on the curve that shows it, at its step, and on no healthy one."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.runs.course import MOST_POINTS, course_of
from studio.runs.diagnosis import MESSAGES, Course, Finding, Points, diagnose
from studio.runs.metrics import MetricsLog

STEPS = 200


def curve(value: Callable[[int], float], steps: int = STEPS, every: int = 1, noise: float = 0.0) -> Points:
    """A curve from a function of the step, with noise that is the same each time."""
    draw = random.Random(7)
    at = range(every, steps + 1, every)
    return Points(list(at), [value(step) + draw.gauss(0, noise) if noise else value(step) for step in at])


def falling(step: int) -> float:
    """A loss as it should be: it falls all along."""
    return 3.0 - 2.0 * math.log1p(step) / math.log1p(STEPS)


def rate(step: int) -> float:
    """Warmup over ten steps, then cosine to a tenth."""
    return 2e-4 * min(1.0, step / 10) * (0.55 + 0.45 * math.cos(math.pi * step / STEPS))


HEALTHY = {
    "loss": curve(falling, noise=0.05),
    "eval_loss": curve(lambda step: falling(step) + 0.1, every=20),
    "grad_norm": curve(lambda step: 0.8, noise=0.1),
    "learning_rate": curve(rate),
    "padding_share": curve(lambda step: 0.1),
    "wait_share": curve(lambda step: 0.02),
}


def found(total: int = STEPS, online: bool = False, **changes: Points) -> dict[str, Finding]:
    """The findings of the healthy run with other curves, by code."""
    curves = {key: points for key, points in {**HEALTHY, **changes}.items() if len(points)}
    return {finding.code: finding for finding in diagnose(Course(curves, total=total, online=online))}


def test_a_healthy_run_gets_no_finding() -> None:
    assert found() == {}


def test_a_run_that_has_just_begun_gets_no_finding() -> None:
    assert found(loss=curve(falling, steps=5), eval_loss=Points(), learning_rate=curve(rate, steps=5)) == {}


def test_values_that_are_not_finite_come_first() -> None:
    event = {"event": "non_finite", "step": 40, "key": "grad_norm", "value": "NaN"}
    course = Course({**HEALTHY, "padding_share": curve(lambda step: 0.6)}, not_finite=[event, {**event, "step": 41}])
    findings = diagnose(course)
    assert [finding.code for finding in findings] == ["not_finite", "padding"]
    assert (findings[0].step, findings[0].chart) == (40, "grad_norm")
    assert "grad_norm became NaN at step 40" in findings[0].sentence()


@pytest.mark.parametrize(
    ("code", "step", "changes"),
    [
        ("no_gradient", 151, {"grad_norm": curve(lambda step: 0.8 if step <= 150 else 0.0)}),
        ("padding", 0, {"padding_share": curve(lambda step: 0.6)}),
        ("waiting", 0, {"wait_share": curve(lambda step: 0.4)}),
        ("rate_zero", 101, {"learning_rate": curve(lambda step: rate(step) if step <= 100 else 0.0)}),
        ("spikes", 120, {"loss": curve(lambda step: 9.0 if step == 120 else falling(step), noise=0.05)}),
        ("not_falling", 5, {"loss": curve(lambda step: 2.0, noise=0.05), "eval_loss": Points()}),
    ],
)
def test_a_finding_names_the_step_where_it_shows(code: str, step: int, changes: dict[str, Points]) -> None:
    findings = found(**changes)
    assert list(findings) == [code]
    assert findings[code].step == step


def test_diverging_is_told_from_the_lowest_point() -> None:
    findings = found(loss=curve(lambda step: falling(step) if step < 100 else 1.3 + (step - 100) * 0.05, noise=0.02))
    assert "diverging" in findings
    assert 80 <= findings["diverging"].step <= 110
    assert "not_falling" not in findings


def test_flattened_says_since_when() -> None:
    findings = found(loss=curve(lambda step: max(1.0, 3.0 - step * 0.025)), eval_loss=Points())
    assert findings["flattened"].severity == "good"
    assert 70 <= findings["flattened"].step <= 100
    assert "flattened" not in found(loss=curve(lambda step: 3.0 - step * 0.01), eval_loss=Points())


def test_overfitting_names_the_best_step() -> None:
    evaluated = curve(lambda step: 2.0 + abs(step - 80) / 100, every=20)
    findings = found(eval_loss=evaluated)
    assert findings["overfitting"].step == 80
    assert "lowest at step 80 with 2 " in findings["overfitting"].sentence()


def test_a_loss_near_zero_without_evaluation_is_learning_by_heart() -> None:
    low = curve(lambda step: falling(step) if step < 150 else 0.01)
    assert found(loss=low, eval_loss=Points())["by_heart"].step == 150
    assert "by_heart" not in found(loss=low)


def test_runs_that_write_answers_are_judged_by_their_points() -> None:
    rising = curve(lambda step: step / STEPS, noise=0.05)
    nothing = {"loss": curve(lambda step: 0.0), "eval_loss": Points(), "reward_std": curve(lambda step: 0.3)}
    assert found(online=True, reward=rising, **nothing) == {}
    level = curve(lambda step: 0.2, noise=0.05)
    assert list(found(online=True, reward=level, **nothing)) == ["not_rising"]
    same = {**nothing, "reward_std": curve(lambda step: 0.3 if step < 100 else 0.0)}
    assert found(online=True, reward=rising, **same)["same_rewards"].step == 100
    assert "answers_cut" in found(
        online=True, reward=rising, **nothing, **{"completions/clipped_ratio": curve(lambda step: 0.9)}
    )
    assert "far_from_reference" in found(online=True, reward=rising, **nothing, kl=curve(lambda step: step * 1.0))


def test_pairs_that_teach_nothing_more() -> None:
    won = curve(lambda step: 1.0 if step > 50 else 0.6)
    assert found(**{"rewards/accuracies": won})["too_easy"].step == 51


def test_every_sentence_can_be_said() -> None:
    details = dict.fromkeys(
        ("key", "value", "lowest", "now", "count", "highest", "points", "first", "share", "bound", "left"), "x"
    )
    for code in MESSAGES:
        assert Finding(code, "look", 3, details).sentence()


def test_a_long_run_is_looked_at_in_few_points_and_quickly(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    with file.open("w") as stream:
        for step in range(1, 100_001):
            loss = "NaN" if step == 90_000 else 30.0 if step == 99_000 else 3.0 - 2.0 * step / 100_000
            stream.write(json.dumps({"step": step, "loss": loss, "learning_rate": 1e-4, "grad_norm": 1.0}) + "\n")
    log = MetricsLog(file)
    log.poll()
    begun = time.process_time()
    course = course_of(log, 100_000, online=False)
    findings = {finding.code: finding for finding in diagnose(course)}
    assert time.process_time() - begun < 1.0
    assert len(course.of("loss")) < 1.2 * MOST_POINTS
    assert (findings["not_finite"].step, findings["spikes"].step) == (90_000, 99_000)
    assert set(findings) == {"not_finite", "spikes"}
