"""matplotlib's figures as inline SVG in the house's look."""

from __future__ import annotations

from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator

COLORS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#db2777", "#0891b2", "#ca8a04", "#475569")
INK, SOFT, LINE = "#334155", "#64748b", "#e2e8f0"
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#94a3b8",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": LINE,
    "legend.frameon": False,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


class Drawing:
    """A figure while it is drawn, and its SVG afterwards.

    Args:
        figure: matplotlib's.
    """

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        self.svg = ""


@contextmanager
def drawing(name: str, width: float, height: float) -> Iterator[Drawing]:
    """Draw inside the context; after it ``svg`` holds the picture, the same each time.

    Args:
        name: of this picture on its page; ids of two pictures on one page must not meet.
        width: in inches.
        height: in inches.

    Raises:
        MissingExtraError: matplotlib isn't installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "the report's plots need matplotlib", hint="pip install 'tritonpack[evaluation]'", package="matplotlib"
        ) from error
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        drawn = Drawing(Figure(figsize=(width, height), layout="constrained"))
        yield drawn
        buffer = StringIO()
        drawn.figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    drawn.svg = text[text.index("<svg") :]
