"""What each group of layers costs and gains when it is quantized, as a bar chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.reports.figures import COLORS, drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _PER_LAYER, _AROUND = 9.0, 0.24, 1.1
_LONGEST_NAME = 60
_QUANTIZED, _KEPT = COLORS[0], COLORS[1]


def svg_from_layers(
    layers: Sequence[Mapping[str, Any]],
    *,
    damage: str = "Damage, quantized alone",
    gain: str = "Share of all multiplications",
) -> str:
    """Draw one bar a layer, for its damage and for its gain, in the order given.

    Args:
        layers: ``name``, ``gain``, ``quantized`` (whether it is in the end) and ``damage``; None where it wasn't
            measured, and no bar is drawn.
        damage: what the damage is measured in.
        gain: likewise.

    Raises:
        MissingExtraError: matplotlib isn't installed.
    """
    names = [_shortened(str(layer["name"])) for layer in layers]
    colors = [_QUANTIZED if layer["quantized"] else _KEPT for layer in layers]
    places = range(len(layers))
    with drawing("sensitivity", _WIDTH, _AROUND + _PER_LAYER * len(layers)) as drawn:
        axes = drawn.figure.subplots(1, 2, sharey=True)
        for axis, key, title in zip(axes, ("damage", "gain"), (damage, gain), strict=True):
            axis.barh(places, [layer[key] or 0.0 for layer in layers], height=0.7, color=colors)
            axis.set_title(title)
            axis.grid(visible=False, axis="y")
            axis.tick_params(axis="y", length=0)
            axis.margins(y=0.01)
        axes[1].locator_params(axis="x", nbins=5)
        if any(layer["damage"] for layer in layers):
            axes[0].set_xscale("log")  # a few layers do nearly all of it
        axes[0].set_yticks(places, names, fontsize=8)
        axes[0].invert_yaxis()
        drawn.figure.legend(
            handles=[_patch(_QUANTIZED, "quantized"), _patch(_KEPT, "kept in floating point")],
            loc="outside lower right",
            ncols=2,
        )
    return drawn.svg


def _patch(color: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=color, label=label)


def _shortened(name: str) -> str:
    """The end of a long name says most."""
    return name if len(name) <= _LONGEST_NAME else "…" + name[-_LONGEST_NAME + 1 :]
