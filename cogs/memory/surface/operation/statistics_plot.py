"""A picture of the memory's last day. Drawing takes a good second: never on the event loop."""

from __future__ import annotations

import asyncio
import io
import math
import warnings
from typing import TYPE_CHECKING, Any, Final

from cogs.memory.exceptions import MemoryCogError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .samples import Sample

INCHES: Final = (8.0, 6.0)
DPI: Final = 110
_BLUE, _ORANGE, _GREY, _GREEN = "#5865f2", "#e67e22", "#80848e", "#3ba55d"


async def draw(samples: Sequence[Sample]) -> bytes:
    """Return a PNG of recall times, recalls, ingest rate and queue over the samples.

    Raises:
        MemoryCogError: matplotlib is not installed.
    """
    return await asyncio.to_thread(render, list(samples))


def render(samples: Sequence[Sample]) -> bytes:
    """Draw in the calling thread; see `draw`."""
    try:
        # Figure and canvas without pyplot: that keeps global state and picks a backend of its own.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MemoryCogError("The plot needs matplotlib: pip install -r requirements.txt brings it.") from error
    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    times = [sample.at for sample in samples]
    panels = figure.subplots(3, 1, sharex=True)
    _recall_times(panels[0], times, samples)
    _recalls(panels[1], times, samples)
    _ingest(panels[2], times, samples)
    for panel in panels:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    locator: Any = AutoDateLocator()  # type: ignore[no-untyped-call] # matplotlib types only a part of itself
    panels[-1].xaxis.set_major_locator(locator)
    panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    panels[-1].set_xlabel("time (UTC)")
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layouts that are tight: the picture is there all the same
        figure.savefig(picture, format="png")
    return picture.getvalue()


def _recall_times(panel: Any, times: Sequence[datetime], samples: Sequence[Sample]) -> None:
    p50 = [_or_gap(sample.recall_p50_ms) for sample in samples]
    p95 = [_or_gap(sample.recall_p95_ms) for sample in samples]
    panel.plot(times, p95, ".", color=_ORANGE, markersize=3, label="p95")
    panel.plot(times, p50, ".", color=_BLUE, markersize=3, label="p50")
    panel.set_ylabel("recall, ms")
    panel.set_ylim(bottom=0)
    _legend_above(panel)


def _recalls(panel: Any, times: Sequence[datetime], samples: Sequence[Sample]) -> None:
    panel.fill_between(times, [sample.recalls for sample in samples], color=_GREEN, alpha=0.6, step="mid")
    panel.set_ylabel("recalls a minute")
    panel.set_ylim(bottom=0)


def _ingest(panel: Any, times: Sequence[datetime], samples: Sequence[Sample]) -> None:
    panel.plot(times, [sample.ingest_rate for sample in samples], color=_BLUE, linewidth=1, label="embedded per second")
    panel.plot(times, [sample.waiting for sample in samples], color=_GREY, linewidth=1, label="events waiting")
    panel.set_ylabel("ingest")
    panel.set_ylim(bottom=0)
    _legend_above(panel)


def _legend_above(panel: Any) -> None:
    """Where it hides nothing of the drawing."""
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), frameon=False, ncols=2, borderaxespad=0.0)


def _or_gap(value: float | None) -> float:
    """Nothing is drawn where nothing was measured."""
    return math.nan if value is None else value
