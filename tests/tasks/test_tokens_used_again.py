"""A second run takes the first one's tokens; whatever makes other tokens makes them anew."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.runs.folder import RunFolder
from studio.tasks import dataset
from studio.tasks.dataset import prepare
from studio.tasks.failures import TaskError
from studio.tasks.status import Reporter
from studio.tasks.tokenize import Settings
from tests.conftest import CHATML, QUESTIONS

pytestmark = pytest.mark.slow

ARGUMENTS = {
    "datasets": ["chat"],
    "validation_datasets": [],
    "validation_size": 0.0,
    "max_samples": None,
    "seed": 42,
    "processes": 1,
    "kinds": ["chat", "tools"],
    "apart": False,
}


class Room:
    """A workspace in which data is prepared, as a run does it."""

    def __init__(self, root: Path, tokenizer: Any) -> None:
        self.workspace, self.tokenizer, self.template = Workspace(root), tokenizer, CHATML
        self.arguments, self.settings = dict(ARGUMENTS), Settings(64)
        self.reporter = Reporter(RunFolder(root))

    def prepare(self) -> Any:
        return prepare(self.workspace, self.arguments, self.tokenizer, self.template, self.settings, self.reporter)

    @property
    def cached(self) -> bool:
        return self.reporter.status.message == "tokens from the cache"

    @property
    def entries(self) -> list[Path]:
        return sorted((self.workspace.cache / "tokens").iterdir())


@pytest.fixture
def room(data_workspace: Path, tiny_tokenizer_folder: Path) -> Room:
    """A room in which the data has been prepared once."""
    from transformers import AutoTokenizer

    made = Room(data_workspace, AutoTokenizer.from_pretrained(tiny_tokenizer_folder))
    made.prepare()
    assert not made.cached
    return made


def test_the_same_again_comes_from_the_cache_and_is_the_same(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.arguments |= {"validation_size": 0.25}
    first = room.prepare()
    assert not room.cached
    monkeypatch.delattr(dataset, "read_datasets")  # nothing is read
    room.arguments["processes"] = 2
    second = room.prepare()
    assert room.cached
    assert (second.train_account, second.validation_account) == (first.train_account, first.validation_account)
    assert second.train[:] == first.train[:] and len(first.train) == 6
    assert second.validation[:] == first.validation[:] and len(first.validation) == 2


def _rewrite(room: Room) -> None:
    file = room.workspace.data / "chat.json"
    file.write_text(file.read_text(encoding="utf-8").replace("small model", "large model"), encoding="utf-8")


def _fill(room: Room) -> None:
    entry = {"file_name": "chat.json", "columns": {"prompt": "output", "response": "instruction"}}
    room.workspace.registry.write_text(json.dumps({"chat": entry}), encoding="utf-8")


def _other_token(room: Room) -> None:
    room.tokenizer.add_tokens(["model"])


def _other_end(room: Room) -> None:
    room.tokenizer.eos_token = "<|endoftext|>"


CHANGES: dict[str, Callable[[Room], None]] = {
    "a row": _rewrite,
    "the entry": _fill,
    "a token": _other_token,
    "the end token": _other_end,
    "the template": lambda room: setattr(room, "template", CHATML + " "),
    "the cutoff": lambda room: setattr(room, "settings", Settings(63)),
    "the masking": lambda room: setattr(room, "settings", Settings(64, mask_history=True)),
    "the seed": lambda room: room.arguments.update(seed=43),
    "the number of rows": lambda room: room.arguments.update(max_samples=7),
    "the split": lambda room: room.arguments.update(validation_size=1),
    "the datasets": lambda room: room.arguments.update(datasets=["chat", "turns"]),
    "the evaluation": lambda room: room.arguments.update(validation_datasets=["turns"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_makes_tokens_anew(room: Room, change: Callable[[Room], None]) -> None:
    change(room)
    room.prepare()
    assert not room.cached and len(room.entries) == 2
    room.prepare()
    assert room.cached


def test_another_version_of_the_code_makes_tokens_anew(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.tasks.token_key._code", lambda: "another")
    room.prepare()
    assert not room.cached


def test_a_template_that_writes_the_date_holds_for_that_day(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime

    room.template = "{{ strftime_now('%d %B %Y') }}" + CHATML
    room.prepare()
    room.prepare()
    assert room.cached

    class Tomorrow(datetime.date):
        @classmethod
        def today(cls) -> Any:
            return datetime.date.today() + datetime.timedelta(days=1)

    monkeypatch.setattr("studio.tasks.token_key.date", Tomorrow)
    room.prepare()
    assert not room.cached


def test_another_process_finds_them(room: Room, tiny_tokenizer_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from transformers import AutoTokenizer\n"
        "from studio.config.workspace import Workspace\nfrom studio.tasks.token_key import token_key\n"
        "from studio.tasks.tokenize import Settings\nfrom tests.conftest import CHATML\n"
        "from tests.tasks.test_tokens_used_again import ARGUMENTS\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])\n"
        "print(token_key(Workspace(Path(sys.argv[1])), ARGUMENTS, tokenizer, CHATML, Settings(64)))"
    )
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", code, str(room.workspace.root), str(tiny_tokenizer_folder)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=root, check=False)
    assert [done.stdout.strip()] == [entry.name for entry in room.entries], done.stderr


def test_a_damaged_entry_is_made_again_with_a_notice(room: Room) -> None:
    first, (entry,) = room.prepare().train[:], room.entries
    file = entry / "train.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()  # the dataset above still reads the old one
    file.write_bytes(content)
    assert room.prepare().train[:] == first
    assert not room.cached and room.entries == [entry]
    assert "train.arrow is not as it was written" in " ".join(room.reporter.status.notices)


def test_an_entry_that_goes_while_it_is_used_is_no_loss(room: Room) -> None:
    from studio.data.cache import SECONDS_LEFT_ALONE, clean_cache

    prepared = room.prepare()
    before = prepared.train[:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studio.data.cache.SECONDS_LEFT_ALONE", -SECONDS_LEFT_ALONE)
        clean_cache(room.workspace)
    assert room.entries == []
    assert prepared.train[:] == before


def test_bad_rows_are_refused_with_their_places_and_nothing_is_kept(room: Room) -> None:
    room.template = "{% if 'bread' in messages[0].content %}{{ raise_exception('no bread') }}{% endif %}" + CHATML
    rows = [{"instruction": question, "output": answer} for question, answer in QUESTIONS]
    (room.workspace.data / "chat.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    says = r"1 rows cannot be trained on\.\nrow 4 of data/chat.json \(line 14\): the chat template refuses it: no bread"
    with pytest.raises(DataError, match=says):
        room.prepare()
    assert len(room.entries) == 1


def test_data_that_changes_while_it_is_read_is_refused(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    read = dataset.read_datasets

    def changing(*positional: Any, **options: Any) -> Any:
        reading = read(*positional, **options)
        _rewrite(room)
        return reading

    monkeypatch.setattr(dataset, "read_datasets", changing)
    room.settings = Settings(50)
    with pytest.raises(DataError, match="changed while it was read"):
        room.prepare()
    assert len(room.entries) == 1


def test_nothing_to_train_on_is_said_again_from_the_cache(room: Room) -> None:
    room.settings = Settings(4)
    for _ in range(2):
        with pytest.raises(TaskError, match="all tokens of all 8 rows are masked or cut off"):
            room.prepare()
    assert room.cached


def test_a_run_says_in_its_log_where_its_tokens_come_from(
    train: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"optimisation": {"max_steps": 2}}
    first = train("first", changes)
    assert "tokens from the cache" not in caplog.text
    with caplog.at_level("INFO"):
        second = train("second", changes)
    assert "tokenizing: tokens from the cache" in caplog.text
    assert second.losses == first.losses and second.notices == first.notices
