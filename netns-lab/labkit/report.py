"""What a drill leaves: a table on the terminal, JSON, and a picture of each run."""

import html
import json
from collections.abc import Iterable
from pathlib import Path

from labkit import topology
from labkit.drills import Result, brief
from labkit.story import Story


def table(results: list[Result]) -> str:
    """Figures of one drill, a column of min / median / max for each product."""
    summaries = [result.summary() for result in results]
    names = list(dict.fromkeys(name for summary in summaries for name in summary))
    rows = [["", *(f"{r.product} ({len(r.runs)} runs)" for r in results), "goal", ""]]
    for name in names:
        goal = results[0].goals().get(name)
        cells = [name.replace("_", " ")]
        for summary in summaries:
            found = summary.get(name)
            cells.append(
                " / ".join(brief(found[k]) for k in ("min", "median", "max")) if found else "-"
            )
        verdict = ""
        if goal:
            met = name in summaries[0] and goal.met(summaries[0][name]["median"])
            verdict = "met" if met else "MISSED"
        rows.append([*cells, str(goal or ""), verdict])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def write(results: list[Result], out: Path) -> Path:
    """JSON and picture of one drill into `out`; returns the picture's path."""
    out.mkdir(exist_ok=True)
    name = results[0].drill.name
    data = [result.as_json() for result in results]
    (out / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    page = out / f"{name}.html"
    page.write_text(_page(results))
    return page


# --- the picture --------------------------------------------------------------------------------

_WIDTH, _LEFT, _ROW = 1100, 90, 22
_STYLE = """
body { font: 14px sans-serif; margin: 2em; max-width: 1200px }
svg { background: #fafafa; border: 1px solid #ddd } svg text { font: 11px sans-serif }
.ok { stroke: #2a7 } .bad { stroke: #d22; stroke-width: 2 } .note { stroke: #888 }
.own { fill: #48c } td, th { padding: 2px 1em; text-align: right }
td:first-child { text-align: left }
"""


def _page(results: list[Result]) -> str:
    drill = results[0].drill
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{drill.name}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(drill.name)}</h1><p>{html.escape(drill.text.strip())}</p>",
        f"<pre>{html.escape(table(results))}</pre>",
        "<p>Green: an answer to the client, by server. Red: a failed request, where it began. "
        "Blue: who holds the virtual address.</p>",
    ]
    for result in results:
        for i, story in enumerate(result.stories):
            parts.append(f"<h3>{result.product}, run {i + 1}</h3>{_picture(story)}")
        parts += [f"<pre>{html.escape(error)}</pre>" for error in result.errors]
    return "\n".join(parts)


def _picture(story: Story) -> str:
    begin, end = _span(story)
    scale = (_WIDTH - _LEFT - 10) / max(0.1, end - begin)

    def x(at: float) -> str:
        return f"{_LEFT + max(0.0, at - begin) * scale:.1f}"

    lanes = [*topology.SERVERS, "failed", *topology.DIRECTORS]
    height = (len(lanes) + 1) * _ROW + 14 * len(story.notes) + 24
    top = height - len(lanes) * _ROW - 24
    row = {lane: top + i * _ROW for i, lane in enumerate(lanes)}
    marks = [f"<text x=8 y={y + 15}>{lane}</text>" for lane, y in row.items()]
    for request in (r for load in story.loads for r in load.requests):
        lane = "failed" if request.error else request.server
        at = request.start if request.error else request.end
        if lane in row:
            kind = "bad" if request.error else "ok"
            marks.append(_stroke(kind, x(at), row[lane] + 4, row[lane] + 18))
    for node, since, until in _ownership(story, end):
        marks.append(
            f"<rect class=own x={x(since)} y={row[node] + 6} height=10"
            f" width={max(1.0, (until - since) * scale):.1f} />"
        )
    for i, (at, text) in enumerate(story.notes):
        marks.append(_stroke("note", x(at), 14 * i + 4, height - 20))
        marks.append(f"<text x={float(x(at)) + 3:.1f} y={14 * i + 13}>{html.escape(text)}</text>")
    for second in range(int(end - begin) + 1):
        marks.append(f"<text x={x(begin + second)} y={height - 6}>{second} s</text>")
    return f"<svg width={_WIDTH} height={height}>{''.join(marks)}</svg>"


def _stroke(kind: str, x: str, y1: int, y2: int) -> str:
    return f"<line class={kind} x1={x} x2={x} y1={y1} y2={y2} />"


def _span(story: Story) -> tuple[float, float]:
    stamps = [at for at, _ in story.notes]
    for load in story.loads:
        stamps += [r.start for r in load.requests[:1]] + [r.end for r in load.requests]
    return min(stamps, default=0.0), max(stamps, default=1.0)


def _ownership(story: Story, end: float) -> Iterable[tuple[str, float, float]]:
    since: dict[str, float] = {}
    for at, node, held in sorted(story.owned):
        if held:
            since.setdefault(node, at)
        elif node in since:
            yield node, since.pop(node), at
    for node, at in since.items():
        yield node, at, end
