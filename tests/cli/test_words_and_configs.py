"""Words on the command line: every fault is said at once, with a way out, and a wrong word starts nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.config.io import parse, read_yaml
from studio.runs.states import State
from tests.cli.conftest import Terminal


def test_check_prints_every_fault(studio: Terminal) -> None:
    file = studio.write("bad.yaml", method={"type": "lora", "rank": 0}, optimisation={"learning_rate": "fast"})
    code, said, complained = studio("check", file, "quantization.type=3bit")
    assert (code, said) == (2, "")
    assert len(complained.splitlines()) == 3
    for text in (
        "fault: method.rank: 0 is too small: at least 1.",
        "fault: optimisation.learning_rate: 'fast' is not a number.",
        "fault: quantization.type: There is no type '3bit'. Choose one of: none, 4bit, 8bit, hqq,",
    ):
        assert text in complained


def test_check_prints_the_whole_config_when_it_is_sound(studio: Terminal) -> None:
    code, said, complained = studio("check", studio.write("good.yaml"), "method.rank=16", "optimisation.max_steps=7")
    assert (code, complained) == (0, "")
    config = parse(read_yaml(said))
    assert (config.method.rank, config.optimisation.max_steps) == (16, 7)
    assert "learning_rate" in said, "defaults are written out"


def test_check_says_hints_and_is_content(studio: Terminal) -> None:
    code, said, complained = studio("check", studio.write("hot.yaml"), "optimisation.learning_rate=0.1")
    assert code == 0 and said
    assert complained.startswith("hint: optimisation.learning_rate: 0.1 is high for lora: ")


def test_check_looks_into_the_registry(studio: Terminal) -> None:
    code, _, complained = studio("check", studio.write("run.yaml"), "data.datasets=[chad]")
    assert code == 2
    assert "There is no dataset 'chad' in dataset_info.json. Did you mean 'chat'?" in complained


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Name a config file, settings such as model.path=models/x, or both."),
        (["seed=1"], "model: This setting is needed"),
        (["nowhere.yaml"], "There is no config file nowhere.yaml."),
        (["method.rank"], "write it as section.field=value"),
        (["a.yaml", "b.yaml"], "More than one config file was named: a.yaml, b.yaml. Name one."),
        (["{root}"], "cannot be read: Is a directory"),
        (["{root}/binary"], "is not a text file in UTF-8"),
        (["{root}/list.yaml"], "A config is a mapping of settings, but this is list."),
        (["{root}/torn.yaml"], "This is not valid YAML:"),
        (["{run}", "rank=3"], "rank: There is no setting 'rank' here."),
        (["{run}", "=3"], "'=3' is not an override"),
        (["{run}", "method.rank=[1"], "method.rank: This is not valid YAML"),
        (["{run}", "method.rnak=3"], "Did you mean 'rank'?"),
        (["{run}", "data.datasets=[chad]"], "Did you mean 'chat'?"),
        (["{run}", "data.validation_datasets=[chad]"], "data.validation_datasets: There is no dataset 'chad'"),
        (["{run}", "devices.use=cuda:7"], "This machine has no cuda:7; it has cpu."),
        (["{run}", "name=../evil"], "letters, digits"),
        (["{run}", "--detahc"], "unrecognized arguments: --detahc"),
        (["{run}", "--if-exists", "overwrite"], "invalid choice: 'overwrite'"),
    ],
)
def test_train_refuses_wrong_words_and_starts_nothing(studio: Terminal, words: list[str], says: str) -> None:
    run = studio.write("run.yaml")
    (studio.root / "binary").write_bytes(b"\xd0\x00\xff")
    (studio.root / "list.yaml").write_text("- a\n- b\n", encoding="utf-8")
    (studio.root / "torn.yaml").write_text("method: {rank: 3\n", encoding="utf-8")
    code, said, complained = studio("train", *(word.format(root=studio.root, run=run) for word in words))
    assert (code, said) == (2, "")
    assert says in complained
    assert "Traceback" not in complained
    assert not studio.supervisor.jobs()


def test_a_workspace_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from studio.cli.main import main

    assert main(["jobs", "list", "--workspace", str(tmp_path / "mistyped")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert not (tmp_path / "mistyped").exists()


def test_settings_may_stand_behind_an_option(studio: Terminal) -> None:
    code, said, _ = studio("train", studio.write("run.yaml"), "name=late", "--detach", "optimisation.max_steps=4")
    assert code == 0
    assert said == f"late: {studio.root / 'saves' / 'late'}\n"
    assert studio.over("late") is State.FINISHED
    assert studio.folder("late").status().total == 4


def test_a_taken_name_is_the_users_choice(studio: Terminal) -> None:
    words = ("train", studio.write("run.yaml"), "name=same", "optimisation.max_steps=3", "--detach")
    assert studio(*words)[0] == 0
    assert studio.over("same") is State.FINISHED
    code, _, complained = studio(*words)
    assert code == 2
    assert "A run named 'same' exists already" in complained
    for choice in ("resume", "rename", "replace"):
        assert f"--if-exists {choice}" in complained
    assert studio(*words, "--if-exists", "rename")[1].startswith("same-2: ")
    assert studio.over("same-2") is State.FINISHED
    assert studio(*words, "--if-exists", "resume")[0] == 0
    assert studio.over("same") is State.FINISHED
    assert studio.supervisor.job("same").attempt == 2
    assert studio(*words, "--if-exists", "replace")[0] == 0
    assert studio.supervisor.job("same").attempt == 1
    studio.over("same")


def test_settings_prints_all_or_one_section(capsys: pytest.CaptureFixture[str]) -> None:
    from studio.cli.main import main

    assert main(["settings"]) == 0
    everything = capsys.readouterr().out
    assert main(["settings", "method"]) == 0
    section = capsys.readouterr().out
    assert "rank" in section and "learning_rate" not in section
    assert "rank" in everything and "learning_rate" in everything
    assert main(["settings", "metod"]) == 2
    assert "There is no section 'metod'. Sections: " in capsys.readouterr().err


def test_without_a_command_the_commands_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from studio.cli.main import main

    assert main([]) == 2
    said = capsys.readouterr().out
    assert all(name in said for name in ("webui", "train", "check", "jobs", "settings", "doctor", "demo"))
