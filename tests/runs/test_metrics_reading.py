"""Reading metrics: only what is new, nothing half-written, nothing twice, and no non-finite number hidden."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from studio.runs.metrics import MetricsLog, append_row, open_rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_only_movement_is_reported(path: Path) -> None:
    log = MetricsLog(path)
    assert not log.poll()
    with open_rows(path) as file:
        append_row(file, {"step": 1, "loss": 2.0, "epoch": 0.1})
        assert log.poll()
        assert not log.poll()
        append_row(file, {"step": 2, "loss": 1.0})
        assert log.poll()
    assert log.points("loss") == ([1, 2], [2.0, 1.0])
    assert log.points("epoch") == ([1], [0.1])
    assert log.points("none") == ([], [])
    assert log.version == 2
    assert log.last == {"step": 2, "loss": 1.0, "epoch": 0.1}


def test_a_line_counts_once_it_is_whole_at_whatever_byte_it_was_cut(path: Path) -> None:
    lines = b'{"step": 1, "loss": 0.5, "note": "\xe2\x82\xac"}\n{"step": 2, "loss": 0.25}\n'
    for cut in range(len(lines)):
        path.write_bytes(lines[:cut])
        log = MetricsLog(path)
        log.poll()
        assert log.points("loss")[0] == [1, 2][: lines[:cut].count(b"\n")]
        with path.open("ab") as file:
            file.write(lines[cut:])
        assert log.poll()
        assert log.points("loss") == ([1, 2], [0.5, 0.25])
        assert log.corrupt == 0


def test_a_line_left_half_by_a_killed_writer_spoils_no_other(path: Path) -> None:
    path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    with open_rows(path) as file:
        append_row(file, {"step": 2, "loss": 0.5})
    log = MetricsLog(path)
    log.poll()
    assert log.points("loss") == ([1, 2], [1.0, 0.5])
    assert log.corrupt == 1


CORRUPT = ["nonsense", "[]", "3", '{"loss": 1}', '{"step": "1"}', '{"step": true}', '{"step": 1e3}', "[" * 5000, "\x00"]


@pytest.mark.parametrize("line", CORRUPT)
def test_a_corrupt_line_is_counted_and_passed_over(path: Path, line: str) -> None:
    path.write_text(f'{{"step": 1, "loss": 1.0}}\n{line}\n{{"step": 2, "loss": 0.5}}\n')
    log = MetricsLog(path)
    assert log.poll()
    assert log.points("loss") == ([1, 2], [1.0, 0.5])
    assert log.corrupt == 1


def test_values_that_are_no_numbers_make_no_points(path: Path) -> None:
    path.write_text('{"step": 1, "a": [1], "b": {"c": 1}, "d": "x", "e": null, "f": true, "g": %s}\n' % ("9" * 400))
    log = MetricsLog(path)
    log.poll()
    assert set(log.series) == set()
    assert log.rows == 1


def test_non_finite_numbers_are_events_and_no_points(path: Path) -> None:
    with open_rows(path) as file:
        append_row(file, {"step": 1, "loss": 1.0})
        append_row(file, {"step": 2, "loss": math.nan, "grad_norm": math.inf, "x": -math.inf})
        file.write('{"step": 3, "loss": NaN}\n')
    assert '"NaN"' in path.read_text()
    log = MetricsLog(path)
    log.poll()
    assert log.points("loss") == ([1], [1.0])
    assert [(event["event"], event["step"], event["key"], event["value"]) for event in log.events] == [
        ("non_finite", 2, "loss", "NaN"),
        ("non_finite", 2, "grad_norm", "Infinity"),
        ("non_finite", 2, "x", "-Infinity"),
        ("non_finite", 3, "loss", "nan"),
    ]


def test_resumed_drops_what_lies_beyond(path: Path) -> None:
    with open_rows(path) as file:
        for step in range(1, 8):
            append_row(file, {"step": step, "loss": float(step)})
        append_row(file, {"step": 6, "event": "checkpoint"})
        append_row(file, {"step": 4, "event": "resumed"})
        append_row(file, {"step": 5, "loss": 50.0})
    log = MetricsLog(path)
    log.poll()
    assert log.points("loss") == ([1, 2, 3, 4, 5], [1.0, 2.0, 3.0, 4.0, 50.0])
    assert [event["event"] for event in log.events] == ["resumed"]
    assert log.course == 1
    assert log.last == {"step": 5, "loss": 50.0}


@pytest.mark.parametrize("replace", [True, False])
def test_a_replaced_or_shortened_file_is_read_anew(path: Path, replace: bool) -> None:
    path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "loss": 2.0}\n')
    log = MetricsLog(path)
    log.poll()
    if replace:
        other = path.with_name("other")
        other.write_text('{"step": 9, "loss": 9.0}\n' * 3)
        other.replace(path)
    else:
        path.write_text('{"step": 9, "loss": 9.0}\n')
    assert log.poll()
    assert set(log.points("loss")[0]) == {9}
    path.unlink()
    assert log.poll()
    assert log.points("loss") == ([], [])
    assert not log.poll()


def test_a_hundred_thousand_rows_are_read_fast_and_a_tick_is_nothing(path: Path) -> None:
    keys = ("loss", "grad_norm", "learning_rate", "epoch", "tokens_per_second", "memory")
    with path.open("w") as file:
        for step in range(100_000):
            file.write(json.dumps({"step": step, **dict.fromkeys(keys, step * 0.001 + 0.12345678)}) + "\n")
    log = MetricsLog(path)
    began = time.perf_counter()
    log.poll()
    first = time.perf_counter() - began
    with open_rows(path) as file:
        append_row(file, {"step": 100_000, "loss": 1.0})
    began = time.perf_counter()
    assert log.poll()
    tick = time.perf_counter() - began
    assert len(log.series["loss"]) == 100_001
    assert first < 5.0  # a second on an idle core
    assert tick < 0.05
