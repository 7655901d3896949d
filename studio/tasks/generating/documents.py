"""From files and folders to passages: the text of each document, cut where a paragraph or a sentence ends."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.config.generate import DOCUMENT_ENDINGS as ENDINGS
from studio.config.workspace import OutsideWorkspace, Workspace
from studio.tasks.failures import TaskError

SHORTEST = 40  # characters of a passage that is worth a request
# Where a passage may end, the best first.
_BORDERS = (re.compile(r"\n\s*\n"), re.compile(r"(?<=[.!?])\s+|[。！？]\s*"), re.compile(r"\s+"))


@dataclass(frozen=True)
class Passage:
    """A piece of a document; `number` counts from 1 in its document."""

    document: str
    number: int
    text: str

    @property
    def label(self) -> str:
        """How a person finds it."""
        return f"{self.document}, passage {self.number}"


def read_passages(
    workspace: Workspace, paths: Sequence[str], size: int, overlap: int, notice: Callable[[str], None]
) -> list[Passage]:
    """The passages of all documents under `paths`, in order. What cannot be read is named in a `notice`.

    Raises TaskError when a path is not there or lies outside the workspace, or when nothing at all can be read.
    """
    found: list[Passage] = []
    for path in dict.fromkeys(file for text in paths for file in _files(workspace, text, notice)):
        name = path.relative_to(workspace.root).as_posix() if path.is_relative_to(workspace.root) else path.name
        try:
            texts = split(_text(path), size, overlap)
        except Unreadable as error:
            notice(f"{name} was left out: {error}")
            continue
        found += [Passage(name, number, text) for number, text in enumerate(texts, 1)]
    if not found:
        raise TaskError(
            "documents",
            f"There is no text in {', '.join(paths)}.",
            f"Name files that end in {', '.join(ENDINGS)}, or folders of them. The notices and the log say what was "
            "left out and why.",
        )
    return found


class Unreadable(ValueError):
    """A document gives no text; the message says why and what to do."""


def split(text: str, size: int, overlap: int) -> list[str]:
    """`text` in passages of at most `size` characters, each with up to `overlap` of the one before at its beginning.

    A passage ends with a paragraph, else a sentence, else a word, if one ends in its second half.
    """
    text = re.sub(r"[ \t]+\n", "\n", text.replace("\r\n", "\n")).strip()
    found, start = list[str](), 0
    while start < len(text):
        end = len(text) if len(text) - start <= size else _border(text, start + size // 2, start + size)
        passage = text[start:end].strip()
        if len(passage) >= SHORTEST or not found:
            found.append(passage)
        if end >= len(text):
            break
        start = max(start + 1, _beginning(text, end - overlap, end))
    return [passage for passage in found if passage]


def _border(text: str, low: int, high: int) -> int:
    """The last good place to end a passage between `low` and `high`; `high` when there is none."""
    for border in _BORDERS:
        places = [found.end() for found in border.finditer(text, low, high)]
        if places:
            return places[-1]
    return high


def _beginning(text: str, low: int, high: int) -> int:
    """Where the next passage begins: with the first sentence that begins behind `low`, else the first word."""
    if low >= high:
        return high
    for border in _BORDERS[1:]:
        found = border.search(text, max(0, low), high)
        if found and found.end() < high:
            return found.end()
    return low


def _files(workspace: Workspace, text: str, notice: Callable[[str], None]) -> Iterator[Path]:
    """The documents that a path names: itself, or all in a folder, in the order of their names, hidden ones left out.

    A link that leads out of what was named, of the workspace and of the allowed folders is not followed.
    """
    try:
        path = workspace.resolve(text)
    except OutsideWorkspace as error:
        raise TaskError("documents", f"A document may not be read: {error}") from None
    if path.is_file():
        if path.suffix.lower() not in ENDINGS:
            raise TaskError(
                "documents", f"{text} is no text, Markdown or PDF file.", f"Its name must end in {', '.join(ENDINGS)}."
            )
        yield path
        return
    if not path.is_dir():
        raise TaskError("documents", f"There is no file or folder {text}.", "Correct source.paths.")
    for inner in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in inner.relative_to(path).parts)
        if hidden or inner.suffix.lower() not in ENDINGS or not inner.is_file():
            continue
        real = inner.resolve()
        if any(real.is_relative_to(root) for root in (path, workspace.root, *workspace.allowed)):
            yield real
        else:
            notice(f"{inner.relative_to(path)} was left out: it is a link that leads out of the workspace.")


def _text(path: Path) -> str:
    """The text of one document. Raises Unreadable."""
    try:
        text = _pdf(path) if path.suffix.lower() == ".pdf" else _plain(path)
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}.") from None
    if not text.strip():
        raise Unreadable("it is empty.")
    return text


def _plain(path: Path) -> str:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "utf-16") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("it is not UTF-8 text. Save it as UTF-8.")


def _pdf(path: Path) -> str:
    """The text of a PDF, pages apart by an empty line."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it reports every small fault that it has mended
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("it is encrypted. Save it without a password.")
        pages = [page.extract_text() for page in reader.pages]
    except Unreadable:
        raise
    except DependencyError:  # newer kinds of encryption need a package that is not worth it for this
        raise Unreadable("it is encrypted. Save it without a password.") from None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotImplementedError) as error:
        raise Unreadable(f"it is no PDF that can be read ({type(error).__name__}: {error}). Save it anew.") from None
    if not pages:
        raise Unreadable("it has no pages.")
    if not any(page.strip() for page in pages):
        raise Unreadable(
            f"its {len(pages)} pages hold no text: they are pictures, as scanners make them. Run OCR first."
        )
    return "\n\n".join(pages)
