"""A reward of the user's own: a function in a Python file of the workspace, loaded and asked with care.

    def polite(answers: list[str], rows: list[dict], **arguments) -> list[float | None]:

`rows[i]` belongs to `answers[i]`: prompt (text), messages (role and content), answer (the row's own, or None), tokens
(length of the answer) and where (file and row). None means that the function has nothing to say about an answer.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from studio.config.workspace import OutsideWorkspace, Workspace
from studio.tasks.failures import TaskError
from studio.tasks.rewards.attempt import Attempt

Many = Callable[[Sequence[Attempt]], list[Any]]


def load_function(path: str, function: str, arguments: Mapping[str, Any], workspace: Workspace) -> Many:
    """The function as one that takes attempts. Raises TaskError for a file outside the workspace or an allowed folder,
    a missing one, one that cannot be imported, and a missing function."""
    try:
        file = workspace.resolve(path)
    except OutsideWorkspace as error:
        raise TaskError("reward", str(error)) from error
    if not file.is_file():
        raise TaskError("reward", f"There is no file {path} with a reward.", "Paths begin at the workspace.")
    module = _imported(file, path)
    found = getattr(module, function, None)
    if not callable(found):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        near = difflib.get_close_matches(function, known, n=1) or known[:1]
        advice = f"Did you mean {path}:{near[0]}?" if near else ""
        raise TaskError("reward", f"{path} has no function {function}.", advice)

    def ask(attempts: Sequence[Attempt]) -> list[Any]:
        return found([one.text for one in attempts], [one.as_row() for one in attempts], **arguments)

    return ask


def place_of(error: BaseException, path: str) -> str:
    """Where in the user's file it went wrong, "" when the error came from elsewhere: `mine.py, line 12`."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}, line {error.lineno}"
    name = Path(path).name
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name == name]
    return f"{path}, line {lines[-1]}" if lines and lines[-1] else ""


def _imported(file: Path, path: str) -> ModuleType:
    name = f"studio_reward_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TaskError("reward", f"{path} is no Python file.", "A reward is written path/to/file.py:function.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass in the file looks its module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        place = place_of(error, path) or path
        raise TaskError("reward", f"{place}: {type(error).__name__}: {error}", "Correct the file.") from error
    return module
