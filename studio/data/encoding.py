"""Which encoding a file that is not UTF-8 probably has, and where its first broken byte lies."""

from __future__ import annotations

import codecs
import re
from typing import IO

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# Letters that make up this share of what is not ASCII when the guess is right. The order and the shares come from
# where the frequent letters of each encoding lie: Chinese bytes also read as Cyrillic, but mostly as capitals.
_GUESSES = (
    ("cp1251", "Windows-1251 (Cyrillic)", re.compile(r"[а-яё]"), 0.6),
    ("koi8_r", "KOI8-R (Cyrillic)", re.compile(r"[а-яё]"), 0.75),
    ("shift_jis", "Shift-JIS (Japanese)", re.compile(r"[\u3040-\u30ff]"), 0.4),
    ("euc_kr", "EUC-KR (Korean)", re.compile(r"[\uac00-\ud7a3]"), 0.85),
    ("gb18030", "GBK (Chinese)", re.compile(r"[\u4e00-\u9fa5\u3001\u3002\uff00-\uff5e]"), 0.6),
)
_SHORTEST_RUN = 3  # Western words hold single foreign letters, others whole words of them


def name_of_mark(head: bytes) -> str | None:
    """The encoding that a file's first bytes announce, None for UTF-8 and for no mark."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def guess_encoding(raw: bytes) -> str:
    """A name such as `Windows-1251 (Cyrillic)` for bytes that are not UTF-8. A guess from letters, not a proof."""
    if raw.count(0) > len(raw) // 5:
        return "UTF-16, or no text at all"
    runs = re.findall(rb"[\x80-\xff][\x20-\xff]?[\x80-\xff]", raw)
    if runs:
        for codec, name, letters, share in _GUESSES:
            text = raw.decode(codec, errors="replace")
            foreign = [letter for letter in text if not letter.isascii()]
            if foreign and len(letters.findall(text)) / len(foreign) > share and _has_run(text):
                return name
    return "Windows-1252 or Latin-1 (Western)"


def broken_byte(stream: IO[bytes]) -> tuple[int, int, str]:
    """Line and column (in bytes, from 1) of the first byte that is not UTF-8, and the guessed encoding."""
    for number, line in enumerate(stream, start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            return number, error.start + 1, guess_encoding(line + stream.read(4096))
    return 0, 0, "unknown"


def _has_run(text: str) -> bool:
    return re.search(rf"[^\x00-\x7f]{{{_SHORTEST_RUN},}}", text) is not None
