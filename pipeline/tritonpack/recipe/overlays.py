"""Overlays: small files that are laid over a recipe, such as `tritonpack tune` writes.

    target: cpu                          # becomes the recipe's first, which is built by default
    targets: {cpu: {precision: fp32}}    # anything else is a part of a recipe
    serving: {max_batch: 32, instances: 2, threads: 1}
    evidence: {slo: p99<=25ms}           # why; read by people alone

Mappings are merged key by key; any other value, null too, takes the place of the recipe's. A target's precision takes
the place of its ``fallback`` and ``quantization`` as well, which were chosen for the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import RecipeError
from tritonpack.core.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

_TARGET, _EVIDENCE = "target", "evidence"
_OF_PRECISION = ("fallback", "quantization")


def document_with_overlay(document: Mapping[str, Any], overlay: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Lay an overlay over a recipe's document; neither is changed, and nothing is validated but ``target``.

    Raises:
        RecipeError: ``target`` isn't one of the targets.
    """
    change = {key: value for key, value in overlay.items() if key not in {_TARGET, _EVIDENCE}}
    result = _merged(_without_replaced(document, change), change)
    if _TARGET in overlay:
        result["targets"] = _with_first(result.get("targets"), overlay[_TARGET], origin)
    return result


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in change.items():
        old = base.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _without_replaced(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """The document without what goes with a precision, in targets that get another one."""
    targets, changed = document.get("targets"), change.get("targets")
    if not isinstance(targets, dict) or not isinstance(changed, dict):
        return dict(document)
    kept = {
        name: {key: value for key, value in target.items() if key not in _OF_PRECISION}
        if isinstance(target, dict) and isinstance(changed.get(name), dict) and "precision" in changed[name]
        else target
        for name, target in targets.items()
    }
    return {**document, "targets": kept}


def _with_first(targets: Any, name: Any, origin: str) -> dict[str, Any]:
    known = targets if isinstance(targets, dict) else {}
    if not isinstance(name, str) or name not in known:
        raise RecipeError(
            f"{origin}: target is {name!r}, which the recipe doesn't have; it has: {', '.join(known) or 'none'}",
            hint=did_you_mean(str(name), list(known)) or "target names one of the recipe's targets",
            field=_TARGET,
        )
    return {name: known[name], **known}
