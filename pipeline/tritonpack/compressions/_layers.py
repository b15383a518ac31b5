"""A model's layers: the longest list of equal blocks, and the same model with fewer of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_COUNT = "num_hidden_layers"


@dataclass(frozen=True)
class Layers:
    """A list of equal blocks.

    Args:
        path: its name inside the module.
        blocks: the ``ModuleList`` or ``Sequential``.
    """

    path: str
    blocks: Any

    def __len__(self) -> int:
        return len(self.blocks)


def find_layers(module: Any, path: str | None = None) -> Layers | None:
    """The model's layers, or None if it has none.

    Args:
        module: the task's module.
        path: where they are, as the model itself calls it, e.g. ``encoder.layer``; None: the longest
            ``ModuleList`` whose blocks are of one class and that lies in no other such list.

    Raises:
        RecipeError: nothing is at ``path``, or more than one thing.
    """
    if path is not None:
        return _at(module, path)
    found: list[Layers] = []
    for name, blocks in _lists(module):
        if not any(name.startswith(f"{outer.path}.") for outer in found):
            found.append(Layers(name, blocks))
    return max(found, key=len, default=None)


def student_layers(module: Any, teacher: Layers | None) -> Layers | None:
    """A student's layers lie where its teacher's do, though they may not be the longest list any more."""
    return None if teacher is None else Layers(teacher.path, module.get_submodule(teacher.path))


def check_own_weights(module: Any, layers: Layers) -> None:
    """Layers that share their weights take no less room when there are fewer.

    Args:
        module: the task's module.
        layers: of this module.

    Raises:
        RecipeError: they do; one object stands for several layers, or the configuration counts more than there are.
    """
    counted = max((getattr(config, _COUNT) for config in _configurations(module)), default=0)
    weights = [id(parameter) for block in layers.blocks for parameter in block.parameters()]
    if counted > len(layers) or len(set(weights)) < len(weights):
        raise RecipeError(
            f"the model's {max(counted, len(layers))} layers share their weights ({layers.path}): fewer save nothing",
            hint="Leave out distill; prune works on shared weights too.",
            field="compress.layers",
        )


def even_spread(count: int, kept: int) -> tuple[int, ...]:
    """``kept`` of ``count`` layers, as far apart as they can be: the first, the last and those between."""
    if kept == 1:
        return (0,)
    return tuple((2 * place * (count - 1) + kept - 1) // (2 * (kept - 1)) for place in range(kept))


def keep_layers(module: Any, layers: Layers, kept: Sequence[int]) -> None:
    """Drop every other layer, and tell the model's configuration and the layers that stay.

    Args:
        module: the task's module; changed in place.
        layers: of this module.
        kept: numbers of the layers that stay, ascending.

    Raises:
        RecipeError: the first layer is to go, and has a part that those after it use.
    """
    count = len(layers)
    _check_first(layers, kept)
    for number in reversed(range(count)):
        if number not in kept:
            del layers.blocks[number]
    for now, before in enumerate(kept):
        for part in layers.blocks[now].modules():
            if getattr(part, "layer_idx", None) == before:
                part.layer_idx = now
    for config in _configurations(module):
        if getattr(config, _COUNT) == count:
            _shorten(config, count, kept)


def _lists(module: Any) -> Iterator[tuple[str, Any]]:
    """Every ``ModuleList`` whose blocks are of one class, outer ones first."""
    import torch

    for name, part in module.named_modules():
        if isinstance(part, torch.nn.ModuleList) and len({type(block) for block in part}) == 1:
            yield name, part


def _at(module: Any, path: str) -> Layers:
    import torch

    parts = [(name, part) for name, part in module.named_modules() if f".{name}".endswith(f".{path}")]
    found = [(name, part) for name, part in parts if isinstance(part, torch.nn.ModuleList | torch.nn.Sequential)]
    if len(found) != 1:
        lists = ", ".join(name for name, _ in _lists(module)) or "none"
        raise RecipeError(
            f"compress.path: {len(found)} lists of layers of the model are called '{path}'",
            hint=f"Name one ModuleList or Sequential in full. The model's lists of equal layers: {lists}.",
            field="compress.path",
            value=path,
        )
    return Layers(*found[0])


def _check_first(layers: Layers, kept: Sequence[int]) -> None:
    first, *others = ({name for name, _ in block.named_parameters()} for block in layers.blocks)
    own = sorted(name for name in first if others and not any(name in names for names in others))
    if own and kept[0] != 0:
        raise RecipeError(
            f"layer 0 holds {own[0]}, which every layer after it uses, so it has to stay (layers: {list(kept)})",
            hint="Let the list of layers begin with 0.",
            field="compress.layers",
            value=list(kept),
        )


def _configurations(module: Any) -> list[Any]:
    """Every configuration object in the module that counts layers, each once."""
    found = [getattr(part, "config", None) for part in module.modules()]
    return list({id(config): config for config in found if isinstance(getattr(config, _COUNT, None), int)}.values())


def _shorten(config: Any, count: int, kept: Sequence[int]) -> None:
    setattr(config, _COUNT, len(kept))
    kinds = getattr(config, "layer_types", None)
    if isinstance(kinds, list) and len(kinds) == count:
        config.layer_types = [kinds[number] for number in kept]
