"""A chart of bars as SVG, with nothing but text: a panel per figure, a bar per system, linear from zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Panel", "chart"]

WIDTH, LABEL, BAR, ROW, HEAD, GAP = 860, 250, 460, 20, 30, 16
COLOURS = {"flowc": "#1f6feb", "floor": "#b0b7c0"}
OTHERS = "#d08770"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The figures of a column."""

    title: str
    #: which way is good
    better: str
    #: name of a system, its figure, and the figure as text
    bars: tuple[tuple[str, float, str], ...]


def chart(panels: Sequence[Panel]) -> str:
    parts: list[str] = []
    top = GAP
    for panel in panels:
        if panel.bars:
            parts += _panel(panel, top)
            top += HEAD + ROW * len(panel.bars) + GAP
    style = "text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:14px}.n{fill:#6a737d}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">\n'
        f'<style>{style}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(panel: Panel, top: int) -> list[str]:
    largest = max(figure for _, figure, _ in panel.bars)
    parts = [
        f'<text class="t" x="{GAP}" y="{top + 16}">{escape(panel.title)} '
        f'<tspan class="n" font-weight="400" font-size="12">{escape(panel.better)}</tspan></text>'
    ]
    for row, (name, figure, said) in enumerate(panel.bars):
        y = top + HEAD + row * ROW
        width = max(BAR * figure / largest, 1.0) if largest else 1.0
        colour = COLOURS.get(name.split(":")[0].split(",")[0], OTHERS)
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{ROW - 5}" rx="2" fill="{colour}"/>',
            f'<text x="{LABEL + width + 6:.1f}" y="{y + 12}">{escape(said)}</text>',
        ]
    return parts
