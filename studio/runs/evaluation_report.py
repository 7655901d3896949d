"""One evaluation as a page of its own: a table, intervals as drawings, rows side by side; nothing is loaded from
elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from studio.runs.evaluation_results import ALL, Comparison, Results, Score, Together, marked, results, side_by_side

MOST_ROWS = 500
"""Rows that the page shows in full; more would make it slow to open."""

PLOT_WIDTH, LINE_HEIGHT, LABEL_WIDTH = 420, 24, 130  # pixels

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --paper: #fff; --line: #d5d9e2; --accent: #2f6fde; --good: #1a7f4b;
  --bad: #b3372f; --soft: #f3f5f9 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --paper: #14171f; --line: #353b49; --accent: #7fa8f5;
  --good: #63c795; --bad: #f08b84; --soft: #1d2230 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
td small { display: block; opacity: .7 }
.good { color: var(--good) } .bad { color: var(--bad) } .best { font-weight: 650 }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer }
.text { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); border-radius: 6px;
  padding: .5rem .7rem }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: .5rem 2rem }
.plots h3 { margin: .5rem 0 .2rem; font-size: 1rem }
.plots svg { width: 100%; height: auto }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .8rem }
ins { text-decoration: none; background: color-mix(in srgb, var(--good) 22%, transparent) }
del { opacity: .6; text-decoration-color: var(--bad) }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif } svg line { stroke: var(--accent) }
svg circle { fill: var(--accent) } svg .axis { stroke: var(--line) }
"""


def report(folder: Path, name: str) -> str:
    """The page of the evaluation in `folder`. Raises FileNotFoundError when it has no results yet."""
    found = results(folder)
    if found is None:
        raise FileNotFoundError(f"{folder} holds no results.json: the evaluation has not come to its end yet.")
    rows = side_by_side(folder)
    parts = [f"<h1>{escape(name)}</h1>", *(f"<p>{escape(notice)}</p>" for notice in found.notices)]
    parts.append(_speeds(found))
    for dataset in _sets(found):
        parts += [f"<h2>{escape(_title(dataset))}</h2>", _table(found, dataset), _verdicts(found, dataset)]
        plots = "".join(_plot(found, dataset, score) for score in found.names)
        parts.append(f"<div class=plots>{plots}</div>")
    parts += [_judge(found), _benchmarks(found), _rows(rows)]
    body = "\n".join(part for part in parts if part)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(name)}</title>'
    policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    return f"<!doctype html>\n<html lang=en>{head}{policy}<style>{_STYLE}</style><body>\n{body}\n</body></html>\n"


def _sets(found: Results) -> list[str]:
    """All rows together first, when there are several datasets."""
    return [ALL, *found.datasets] if len(found.datasets) > 1 else list(found.datasets)


def _title(dataset: str) -> str:
    return "All datasets" if dataset == ALL else dataset


def _number(value: float) -> str:
    """A figure with as many digits as help to tell it from its neighbours."""
    return "–" if value != value else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _table(found: Results, dataset: str) -> str:
    lines = [_row(["", *map(escape, found.candidates)], "th")]
    for name in found.names:
        cells = [_cell(found, found.score(candidate, dataset, name)) for candidate in found.candidates]
        better = "" if found.higher.get(name, True) else " <small>lower is better</small>"
        lines.append(_row([f"{escape(name)}{better}", *cells], "td"))
    return f"<table>{''.join(lines)}</table>"


def _row(cells: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _cell(found: Results, score: Score | None) -> str:
    if score is None:
        return "–"
    best = " class=best" if found.best(score.dataset, score.score) == score.candidate else ""
    return f"<span{best}>{_number(score.value)}</span><small>{_number(score.low)} – {_number(score.high)}</small>"


def _verdicts(found: Results, dataset: str) -> str:
    """What the paired comparisons say, one line each."""
    own = [entry for entry in found.comparisons if entry.dataset == dataset]
    lines = [_row(("compared", "score", "difference", "95 % interval", "beyond chance"), "th")]
    lines += [_row(_compared(entry), "td") for entry in own]
    return f"<details><summary>Comparisons row by row</summary><table>{''.join(lines)}</table></details>" if own else ""


def _compared(entry: Comparison) -> Sequence[str]:
    mark = "no"
    if entry.beyond:
        kind = "good" if entry.better == entry.first else "bad"
        mark = f"<span class={kind}>{escape(entry.better)} is better</span>"
    interval = f"{_number(entry.low)} – {_number(entry.high)}"
    names = f"{escape(entry.first)} − {escape(entry.second)}"
    return names, escape(entry.score), f"{entry.difference:+.4g}", interval, mark


def _plot(found: Results, dataset: str, name: str) -> str:
    """One line a candidate: its interval, and a dot at its value."""
    scores = [score for candidate in found.candidates if (score := found.score(candidate, dataset, name))]
    if not scores:
        return ""
    low, high = min(score.low for score in scores), max(score.high for score in scores)
    margin = (high - low) * 0.05 or max(abs(high), 1) * 0.05
    low, high = max(0.0, low - margin) if low >= 0 else low - margin, high + margin
    width, height = PLOT_WIDTH - LABEL_WIDTH, LINE_HEIGHT * (len(scores) + 1)

    def across(value: float) -> float:
        return round(LABEL_WIDTH + width * (value - low) / (high - low), 1)

    parts: list[str] = []
    for place, score in enumerate(scores):
        y = LINE_HEIGHT * place + LINE_HEIGHT / 2
        label = score.candidate if len(score.candidate) <= 18 else f"…{score.candidate[-17:]}"
        parts.append(f'<text x="0" y="{y + 4}">{escape(label)}</text>')
        parts.append(f'<line x1="{across(score.low)}" x2="{across(score.high)}" y1="{y}" y2="{y}" stroke-width="3"/>')
        parts.append(
            f'<circle cx="{across(score.value)}" cy="{y}" r="5"><title>{_number(score.value)}</title></circle>'
        )
    bottom = LINE_HEIGHT * len(scores)
    parts.append(f'<line class="axis" x1="{LABEL_WIDTH}" x2="{PLOT_WIDTH}" y1="{bottom}" y2="{bottom}"/>')
    for value, anchor in ((low, "start"), ((low + high) / 2, "middle"), (high, "end")):
        text = f'<text x="{across(value)}" y="{bottom + 16}" text-anchor="{anchor}">{_number(value)}</text>'
        parts.append(text)
    size = f'width="{PLOT_WIDTH}" height="{height}" viewBox="0 0 {PLOT_WIDTH} {height}"'
    return f'<div><h3>{escape(name)}</h3><svg role="img" {size}>{"".join(parts)}</svg></div>'


def _speeds(found: Results) -> str:
    lines: list[str] = []
    for candidate, own in found.speeds.items():
        rows, tokens, seconds = (float(own.get(key) or 0) for key in ("rows", "tokens", "seconds"))
        if seconds:
            pace = f"{rows / seconds:.2f} rows and {tokens / seconds:.0f} tokens a second"
            lines.append(f"<li>{escape(candidate)}: {rows:.0f} rows in {seconds:.1f} s, {pace}</li>")
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def _judge(found: Results) -> str:
    if not found.verdicts:
        return ""
    lines = [_row(("compared", "wins", "losses", "ties", "share of wins", "not read"), "th")]
    for one in found.verdicts:
        share = f"{one.share:.1f} %<small>{one.low:.1f} – {one.high:.1f}</small>"
        names = f"{escape(one.first)} against {escape(one.second)}"
        lines.append(_row((names, str(one.wins), str(one.losses), str(one.ties), share, str(one.unread)), "td"))
    return f"<h2>Judge</h2><table>{''.join(lines)}</table>"


def _benchmarks(found: Results) -> str:
    if not found.benchmarks:
        return ""
    lines = [_row(("candidate", "task", "metric", "value", "standard error"), "th")]
    for one in found.benchmarks:
        error = one.get("error")
        figures = (_number(float(one.get("value", "nan"))), "–" if error is None else _number(float(error)))
        names = (escape(str(one.get(key, ""))) for key in ("candidate", "task", "metric"))
        lines.append(_row((*names, *figures), "td"))
    return f"<h2>Benchmarks</h2><table>{''.join(lines)}</table>"


def _rows(rows: Sequence[Together]) -> str:
    if not rows:
        return ""
    shown = [_together(row) for row in rows[:MOST_ROWS]]
    more = f"<p>{len(rows) - MOST_ROWS:,} further rows are in the csv.</p>" if len(rows) > MOST_ROWS else ""
    return f"<h2>Rows side by side</h2>{''.join(shown)}{more}"


def _together(row: Together) -> str:
    sides = "".join(_side(row, candidate) for candidate in row.sides)
    start = escape(row.prompt[:100]) + ("…" if len(row.prompt) > 100 else "")
    texts = f"<p>Prompt</p><div class=text>{escape(row.prompt)}</div><p>Reference</p>"
    texts += f"<div class=text>{escape(row.reference)}</div>"
    head = f"<summary>{escape(row.dataset)} {row.row}: {start}</summary>"
    return f"<details>{head}{texts}<div class=sides>{sides}</div></details>"


def _side(row: Together, candidate: str) -> str:
    side = row.sides[candidate]
    tags = {"same": "{}", "added": "<ins>{}</ins>", "missing": "<del>{}</del>"}
    text = "".join(tags[kind].format(escape(part)) for part, kind in marked(row.reference, side.prediction.answer))
    scores = ", ".join(f"{escape(name)} {_number(value)}" for name, value in side.scores.items())
    cut = "" if side.prediction.ended else " <small>(cut at its longest)</small>"
    return f"<div><p>{escape(candidate)}{cut}</p><div class=text>{text}</div><p><small>{scores}</small></p></div>"
