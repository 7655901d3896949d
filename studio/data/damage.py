"""Signs in a text that it went through a wrong encoding, and the script that it is mostly written in."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# What the second and third bytes of a character in UTF-8 become when they are read as Windows-1252.
_REST = r"[\u0080-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u2122]"
# UTF-8 read as Windows-1252: é becomes Ã©, ’ becomes â€™, ệ becomes á»‡, Cyrillic a row of Ð and Ñ, Chinese one of
# ä to é; and, the last, Cyrillic read as Windows-1251, a row of Р and С.
_MOJIBAKE = re.compile(
    rf"[ÃÂ][\u0080-\u00bf]|â€{_REST}|á[º»]{_REST}|(?:[ÐÑ]{_REST}){{2}}|(?:[ã-é]{_REST}{{2}}){{2}}"
    r"|(?:[РС][\u0080-\u00bf\u0402-\u040f\u0452-\u045f\u2013-\u2122\u0490\u0491]){3}"
)
SAMPLE = 200  # characters that tell the script
_SCRIPTS = (
    ("Latin", re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")),
    ("Chinese", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")),
    ("Japanese", re.compile(r"[\u3040-\u30ff]")),
    ("Korean", re.compile(r"[\uac00-\ud7af]")),
    ("Cyrillic", re.compile(r"[\u0400-\u052f]")),
    ("Arabic", re.compile(r"[\u0600-\u06ff]")),
    ("Devanagari", re.compile(r"[\u0900-\u097f]")),
    ("Thai", re.compile(r"[\u0e00-\u0e7f]")),
    ("Greek", re.compile(r"[\u0370-\u03ff]")),
    ("Hebrew", re.compile(r"[\u0590-\u05ff]")),
)


def damage(text: str) -> str | None:
    """What looks broken in `text`, as a sentence; None for nothing. A guess from known patterns, not a proof."""
    if not text.isascii():
        at = text.find("\ufffd")
        if at >= 0:
            return f"character {at + 1} is U+FFFD: a character was lost when the text was read."
        match = _MOJIBAKE.search(text)
        if match:
            around = text[max(0, match.start() - 5) : match.end() + 5]
            return f"{around!r} looks like UTF-8 that was read in another encoding."
    match = _CONTROL.search(text)
    if match:
        return f"character {match.start() + 1} is the control character U+{ord(match.group()):04X}."
    return None


def script(text: str) -> str:
    """The script of most letters at the beginning of `text`: Latin, Chinese, … or `none`."""
    if text.isascii():
        return "Latin" if text and not text.isspace() else "none"
    sample = text[:SAMPLE]
    counts = {name: len(letters.findall(sample)) for name, letters in _SCRIPTS}
    # Japanese text has more Chinese characters than its own; a few of its own decide.
    if counts["Japanese"] * 4 > counts["Chinese"] > 0:
        counts["Japanese"] += counts["Chinese"]
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else "none"
