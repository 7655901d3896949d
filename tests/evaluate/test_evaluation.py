"""An evaluation from config to results on the tiny model: right numbers, resumed rows, plain words for bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.runs.evaluation_results import PREDICTIONS
from studio.runs.folder import RunFolder
from studio.tasks.status import Reporter
from tests.conftest import QUESTIONS
from tests.evaluate.conftest import Outcome, write_run

pytestmark = pytest.mark.slow

DEADLINE_SECONDS = 120


def asked(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def test_base_and_adapter_answer_like_themselves(
    evaluate: Callable[..., Outcome], adapter: Callable[..., str], workspace: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    one, two = adapter("one"), adapter("two", seed=2)
    found = evaluate("e", {"candidates": {"runs": [one, two]}, "decoding": {"batch_size": 3}})
    assert found.code == 0
    assert found.results.candidates == ("base", one, two)

    tokenizer = AutoTokenizer.from_pretrained(workspace / "models" / "tiny")
    for name in ("base", one, two):
        model: Any = AutoModelForCausalLM.from_pretrained(workspace / "models" / "tiny", dtype=torch.float32)
        model = model if name == "base" else PeftModel.from_pretrained(model, workspace / name)
        answers = found.by_row(name)
        assert sorted(answers) == list(range(1, len(QUESTIONS) + 1))
        total, tokens = 0.0, 0
        for row, (question, reference) in enumerate(QUESTIONS, start=1):
            text = tokenizer.apply_chat_template(asked(question), tokenize=False, add_generation_prompt=True)
            ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
            output = model.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
            assert tokenizer.decode(output, skip_special_tokens=True) == answers[row]
            whole = tokenizer(f"{text}{reference}<|im_end|>", return_tensors="pt", add_special_tokens=False)[
                "input_ids"
            ]
            labels = whole.clone()
            labels[:, : ids["input_ids"].shape[1]] = -100
            count = whole.shape[1] - ids["input_ids"].shape[1]
            total += float(model(input_ids=whole, labels=labels).loss) * count
            tokens += count
        score = found.results.score(name, "chat", "loss")
        assert score is not None and score.value == pytest.approx(total / tokens, rel=1e-5)
    assert found.by_row("base") != found.by_row(one) != found.by_row(two)


def test_what_a_run_leaves_behind_is_complete(evaluate: Callable[..., Outcome], adapter: Callable[..., str]) -> None:
    path = adapter("one")
    found = evaluate("e", {"candidates": {"runs": [path]}, "questions": {"datasets": ["chat", "turns", "plain"]}})
    results = found.results
    assert results.datasets == ("chat", "plain", "turns")
    rows = {(one.dataset, one.score): one.rows for one in results.scores if one.candidate == path}
    assert rows["chat", "rouge_l"] == rows["turns", "rouge_l"] == 8
    assert ("plain", "rouge_l") not in rows, "a plain text asks nothing"
    assert rows["plain", "perplexity"] == 8 and rows["*", "loss"] == 24
    assert {(one.first, one.second) for one in results.comparisons} == {(path, "base")}
    assert all(one.low <= one.value <= one.high for one in results.scores)
    assert results.speeds["base"]["rows"] == 16 and results.speeds["base"]["seconds"] > 0
    assert found.answers[0].place.startswith("row ")
    status = found.folder.status()
    assert (status.phase, status.step, status.total) == ("finished", status.total, status.total)
    assert found.folder.metrics_file.is_file()


def test_a_finished_evaluation_that_is_started_again_asks_nothing_twice(
    evaluate: Callable[..., Outcome], adapter: Callable[..., str]
) -> None:
    first = evaluate("e")
    file = first.folder.path / PREDICTIONS
    before = file.read_bytes()
    again = evaluate("e", {"candidates": {"runs": [adapter("late")]}})
    assert file.read_bytes().startswith(before)
    assert Counter(answer.candidate for answer in again.answers) == {"base": 8, "saves/late": 8}


def test_answers_under_other_settings_are_put_aside(evaluate: Callable[..., Outcome]) -> None:
    first = evaluate("e")
    losses = (first.folder.path / "losses.jsonl").read_bytes()
    again = evaluate("e", {"decoding": {"max_new_tokens": 3}})
    assert len(again.answers) == 8 and all(answer.tokens <= 3 for answer in again.answers)
    assert (first.folder.path / "predictions.1.jsonl").is_file() and "put aside" in again.notices
    assert (first.folder.path / "losses.jsonl").read_bytes() == losses, "the loss does not depend on them"


def launch(folder: RunFolder) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "studio.tasks.entry", str(folder.path)]
    with folder.log_file.open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder.path.parent.parent, env=environment)


def wait_for_lines(file: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if file.is_file() and file.read_bytes().count(b"\n") >= count:
            return
        assert process.poll() is None, "the worker ended too early"
        time.sleep(0.01)
    raise AssertionError("the rows did not come in time")


MANY: dict[str, Any] = {
    "questions": {"datasets": ["many"]},
    "decoding": {"max_new_tokens": 40, "batch_size": 8},
    "scores": {"loss": False, "names": ["rouge_1"], "resamples": 100},
}


def test_a_killed_evaluation_goes_on_at_the_row_where_it_stopped(
    workspace: Path, add_dataset: Callable[..., None], evaluate: Callable[..., Outcome]
) -> None:
    add_dataset("many", [{"instruction": f"Count to {n}.", "output": f"{n} it is."} for n in range(120)])
    folder = RunFolder(workspace / "saves" / "killed")
    write_run(folder, MANY)
    file = folder.path / PREDICTIONS
    process = launch(folder)
    wait_for_lines(file, 5, process)
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE_SECONDS)
    before = file.read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert 5 <= whole.count(b"\n") < 120
    file.write_bytes(before + b'{"candidate": "base", "dataset": "many", "ro')  # as a power cut may leave it

    found = evaluate("killed", MANY)
    assert file.read_bytes().startswith(whole)
    assert sorted(answer.row for answer in found.answers) == list(range(1, 121))
    straight = evaluate("straight", MANY)
    assert found.by_row("base") == straight.by_row("base")


class Stopping(Reporter):
    """Asks for the stop itself when three rows are done."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self._run = folder

    def progress(self, step: int, total: int, eta_seconds: float | None = None, message: str = "") -> None:
        super().progress(step, total, eta_seconds, message)
        if self.status.phase == "evaluating" and step == 3:
            self._run.write_request("stop")


def test_a_request_to_stop_ends_the_job_soon_and_it_can_go_on(
    evaluate: Callable[..., Outcome], add_dataset: Callable[..., None]
) -> None:
    add_dataset("many", [{"instruction": f"Count to {n}.", "output": f"{n} it is."} for n in range(400)])
    stopped = evaluate("e", MANY, reporter=Stopping)
    assert stopped.code == 10 and stopped.folder.status().phase == "stopped"
    assert 3 <= len(stopped.answers) < 400
    assert not (stopped.folder.path / "results.json").exists()
    stopped.folder.request_file.unlink()
    assert evaluate("e", MANY).code == 0


def test_rows_that_are_too_long_are_counted_and_never_cut(
    evaluate: Callable[..., Outcome], add_dataset: Callable[..., None]
) -> None:
    long = "sea " * 80
    add_dataset("long", [{"instruction": "Short?", "output": "Yes."}, {"instruction": "Long?", "output": long}])
    found = evaluate("e", {"questions": {"datasets": ["long"], "context": 80}, "decoding": {"max_new_tokens": 500}})
    assert "1 of 2 rows are longer than 80 tokens" in found.notices and "row 2 of data/long.json" in found.notices
    (answer,) = found.answers
    assert answer.reference == "Yes." and answer.prompt_tokens + answer.tokens <= 80


def test_a_whole_model_stands_beside_the_base(evaluate: Callable[..., Outcome], workspace: Path) -> None:
    shutil.copytree(workspace / "models" / "tiny", workspace / "saves" / "full")
    found = evaluate("e", {"candidates": {"runs": ["saves/full"]}})
    assert found.by_row("base") == found.by_row("saves/full")
    assert not any(one.beyond for one in found.results.comparisons)


def refused(evaluate: Callable[..., Outcome], *changes: dict[str, Any]) -> str:
    from studio.data.examples import DataError
    from studio.tasks.failures import TaskError

    with pytest.raises((TaskError, DataError)) as caught:
        evaluate("bad", *changes)
    return str(caught.value)


def test_an_adapter_of_another_model_is_refused(
    evaluate: Callable[..., Outcome], adapter: Callable[..., str], workspace: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(workspace / "models" / "tiny")
    config.hidden_size, config.head_dim = 32, 8
    narrow = adapter("narrow", model=AutoModelForCausalLM.from_config(config))
    assert "does not fit this base model" in refused(evaluate, {"candidates": {"runs": [narrow]}})
    config = AutoConfig.from_pretrained(workspace / "models" / "tiny")
    config.num_hidden_layers = 3
    config.layer_types = None
    deep = adapter("deep", model=AutoModelForCausalLM.from_config(config))
    assert "have no place in it" in refused(evaluate, {"candidates": {"runs": [deep]}})


def test_missing_things_are_named(
    evaluate: Callable[..., Outcome], adapter: Callable[..., str], add_dataset: Callable[..., None], workspace: Path
) -> None:
    assert "neither an adapter nor a model in saves/none" in refused(evaluate, {"candidates": {"runs": ["saves/none"]}})
    assert "no model folder models/none" in refused(evaluate, {"model": {"path": "models/none"}})
    weights = workspace / adapter("cut") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "is damaged" in refused(evaluate, {"candidates": {"runs": ["saves/cut"]}})
    add_dataset("open", [{"messages": [{"role": "user", "content": "Well?"}]}], formatting="sharegpt",
                columns={"messages": "messages"}, tags={"role_tag": "role", "content_tag": "content",
                "user_tag": "user", "assistant_tag": "assistant"})  # fmt: skip
    assert "answer" in refused(evaluate, {"questions": {"datasets": ["open"]}})
    for file in (workspace / "models" / "tiny").glob("*token*"):
        file.unlink()
    assert "tokenizer" in refused(evaluate)


def test_each_run_is_asked_in_the_form_that_it_was_trained_in(
    evaluate: Callable[..., Outcome], adapter: Callable[..., str], workspace: Path
) -> None:
    path = adapter("own")
    template = "{% for m in messages %}Now the {{ m['role'] }} says: {{ m['content'] }}<|im_end|>{% endfor %}"
    template += "{% if add_generation_prompt %}Now the assistant says: {% endif %}"
    (workspace / path / "chat_template.jinja").write_text(template, encoding="utf-8")
    lengths = {one.candidate: one.prompt_tokens for one in evaluate("e", {"candidates": {"runs": [path]}}).answers
               if one.row == 1}  # fmt: skip
    assert lengths["base"] != lengths[path]
    for file in (workspace / "models" / "tiny").glob("chat_template.jinja"):
        file.unlink()
    found = evaluate("bare", {"candidates": {"runs": [path]}})
    assert {one.prompt_tokens for one in found.answers if one.row == 1} == {lengths[path]}
    assert "no chat template" in refused(evaluate)


def test_a_run_on_merged_adapters_asks_for_them(
    evaluate: Callable[..., Outcome], adapter: Callable[..., str], workspace: Path
) -> None:
    first, second = adapter("first"), adapter("second", seed=2)
    config = {"model": {"path": "models/tiny", "adapters": [first, second]}}
    (workspace / second / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    assert "candidates.merged=[saves/first]" in refused(evaluate, {"candidates": {"runs": [second]}})
    found = evaluate("e", {"candidates": {"runs": [second], "merged": [first]}})
    assert found.by_row("base") != evaluate("plain").by_row("base"), "the first one is merged into the base"


def test_benchmarks_without_their_package_say_what_to_install(
    evaluate: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert "studio[benchmarks]" in refused(evaluate, {"benchmarks": {"tasks": ["arc_easy"]}})


TASK = """
task: colours
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1}
"""


def test_a_task_of_ones_own_runs_through_lm_eval(
    evaluate: Callable[..., Outcome], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(workspace / "cache"))
    (workspace / "tasks").mkdir()
    rows = [{"question": "Which is a colour?", "choices": ["blue", "bread"], "label": n % 2} for n in range(6)]
    (workspace / "tasks" / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    task = TASK.replace("FILE", str(workspace / "tasks" / "rows.json"))
    (workspace / "tasks" / "colours.yaml").write_text(task, encoding="utf-8")
    settings = {"tasks": ["colours"], "include": "tasks"}
    found = evaluate("e", {"questions": {"datasets": []}, "benchmarks": settings})
    (row,) = found.results.benchmarks
    assert (row["candidate"], row["task"], row["metric"], row["value"], row["rows"]) == (
        "base",
        "colours",
        "acc",
        0.5,
        6,
    )
    assert "no task 'none'" in refused(evaluate, {"questions": {"datasets": []}, "benchmarks": {"tasks": ["none"]}})
