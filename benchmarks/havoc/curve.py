"""Growth: whether a curve rises, and the curve as SVG, drawn without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 200, 70, 20, 34, 30
INK, LINE = "#6e7781", ("#0969da", "#bf8700")


class Point(NamedTuple):
    """A size after so many sessions."""

    sessions: int
    size: float


def trend(points: Sequence[Point]) -> float:
    """Return the growth in 1,000 sessions over the last half of them: the median of the slopes between all pairs of points.

    So a few points that are far off, as after a collection, change little (Theil and Sen's estimator).
    """
    half = points[-1].sessions / 2
    late = [point for point in points if point.sessions >= half]
    slopes = [(b.size - a.size) / (b.sessions - a.sessions) * 1000 for a, b in combinations(late, 2)]
    return median(slopes) if slopes else 0.0


def rise(points: Sequence[Point]) -> float:
    """Return what it grows by in the last half of the sessions if it follows its trend."""
    return trend(points) * points[-1].sessions / 2 / 1000


class Panel(NamedTuple):
    """A curve with its title."""

    title: str
    points: Sequence[Point]
    unit: float = 1.0


def drawn(panels: Sequence[Panel], caption: str) -> str:
    """Return curves of the same sessions, one below the other, as SVG."""
    height = HEIGHT * len(panels) + BOTTOM
    parts = [_panel(panel, LINE[n % len(LINE)], HEIGHT * n) for n, panel in enumerate(panels)]
    parts.append(_text(WIDTH / 2, height - 8, caption, "middle"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, *parts, "</svg>\n"])


def _panel(panel: Panel, colour: str, top: float) -> str:
    most_sessions = panel.points[-1].sessions
    most = max(point.size for point in panel.points) * 1.15 / panel.unit or 1.0
    bottom, high = top + HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP

    def at(point: Point) -> str:
        x = LEFT + point.sessions / most_sessions * (WIDTH - LEFT - RIGHT)
        return f"{x:.1f},{bottom - point.size / panel.unit / most * high:.1f}"

    line = " ".join(map(at, panel.points))
    return "\n".join(
        [
            _text(LEFT, top + 18, panel.title, "start"),
            *(_grid(bottom - share * high, f"{most * share:,.0f}") for share in (0, 0.5, 1)),
            *(_text(LEFT + s * (WIDTH - LEFT - RIGHT), bottom + 16, f"{most_sessions * s:,.0f}") for s in (0, 0.5, 1)),
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
        ]
    )


def _grid(y: float, label: str) -> str:
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{INK}" stroke-opacity="0.3"/>'
    return line + _text(LEFT - 6, y + 4, label, "end")


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}">{text}</text>'
