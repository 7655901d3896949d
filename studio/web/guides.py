"""Pages of the documentation that the board itself serves, because something in them can be tried: /guide/<name>."""

from __future__ import annotations

import html
import re

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response

from studio.web.look import STATIC
from studio.web.words import ENGLISH, languages, words

# A page by its name: its file, and the script that stands in it.
GUIDES = {"quantization": ("quantization.html", "rounding.js")}

_PLACE = re.compile(r"\[\[(\w+)\]\]")


def guide(name: str, language: str) -> str:
    """One page in a language, English where the board does not speak it. Raises KeyError for an unknown page."""
    file, script = GUIDES[name]
    spoken = language if language in languages() else ENGLISH
    texts = words(spoken)
    filled = {"language": spoken, "script": (STATIC / script).read_text(encoding="utf-8")}

    def text(place: re.Match[str]) -> str:
        return filled.get(place[1]) or html.escape(texts[f"page.guide.{name}.{place[1]}"])

    return _PLACE.sub(text, (STATIC / file).read_text(encoding="utf-8"))


def add_guides(api: FastAPI) -> None:
    """Serve them. They hold nothing of the workspace, so they stand in front of the login."""

    def answer(name: str, language: str = ENGLISH) -> Response:
        found = name in GUIDES
        return HTMLResponse(guide(name, language) if found else "There is no such page.", 200 if found else 404)

    api.add_api_route("/guide/{name}", answer, methods=["GET"])
