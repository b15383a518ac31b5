"""What is searched: settings of a recipe, each a value out of a short list that holds the recipe's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from tritonpack.inputs import INPUTS
from tritonpack.precisions import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tritonpack.recipe import Recipe

_BATCHES = (4, 8, 16, 32, 64, 128, 256)
_DELAYS_US = (0, 200, 500, 1000, 2000, 5000)
NEVER = 1e9
"""A cost of one more call at which a batch is never cut."""
_CALL_COSTS = (None, 32.0, 256.0, NEVER)
_OVERSUBSCRIBED = 2
"""How many threads a core may have at most."""


@dataclass(frozen=True)
class Settings:
    """One way to serve a recipe.

    Attributes:
        target: of the recipe.
        precision: that the target is built in.
        threads: of one instance; None for every core.
        call_cost: how a batch is cut into calls (the recipe's ``serving.call_cost``).
    """

    target: str
    precision: str
    max_batch: int
    queue_delay_us: int
    instances: int
    threads: int | None
    call_cost: float | None = None

    @property
    def variant(self) -> str:
        """Target and precision, for people."""
        return self.target if self.target == self.precision else f"{self.target} ({self.precision})"

    @property
    def label(self) -> str:
        """For people, short."""
        threads = "all" if self.threads is None else self.threads
        layout = f"{self.instances} x {threads} threads"
        return f"{self.variant}, batch {self.max_batch} cut {self.cut}, delay {self.queue_delay_us} us, {layout}"

    @property
    def cut(self) -> str:
        """How a batch is cut, for people."""
        if self.call_cost is None:
            return "as measured"
        return "never" if self.call_cost >= NEVER else f"at {self.call_cost:g}"

    def overlay(self, recipe: Recipe) -> dict[str, Any]:
        """What has to be laid over the recipe for it to be served so."""
        spec = recipe.targets[self.target]
        changed: dict[str, Any] = {}
        if self.precision != spec.precision:
            changed = {"precision": self.precision}
            if "quantization" in spec.model_fields_set and PRECISIONS.get(self.precision).searchable:
                changed["quantization"] = spec.quantization.model_dump(mode="json", exclude_unset=True)
        return {
            "target": self.target,
            **({"targets": {self.target: changed}} if changed else {}),
            "serving": {
                "max_batch": self.max_batch,
                "queue_delay_us": self.queue_delay_us,
                "instances": self.instances,
                "threads": self.threads,
                "call_cost": self.call_cost,
            },
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def own_settings(recipe: Recipe, target: str, precision: str) -> Settings:
    """How the recipe itself serves a target."""
    serving = recipe.serving
    return Settings(
        target,
        precision,
        serving.max_batch,
        serving.queue_delay_us,
        serving.instances,
        serving.threads,
        serving.call_cost,
    )


@dataclass(frozen=True)
class Space:
    """The lists that settings are put together from.

    Attributes:
        variants: target and precision.
        layouts: instances and the threads of each.
    """

    variants: tuple[tuple[str, str], ...]
    batches: tuple[int, ...]
    delays_us: tuple[int, ...]
    layouts: tuple[tuple[int, int | None], ...]
    call_costs: tuple[float | None, ...]

    @classmethod
    def of_recipe(cls, recipe: Recipe, variants: Iterable[tuple[str, str]], cores: int) -> Self:
        """Everything that makes sense for a recipe.

        Args:
            recipe: its own values are in every list.
            variants: target and precision, as many as can be built and served.
            cores: of the machine that serves.
        """
        serving = recipe.serving
        rows = INPUTS.get(recipe.given.kind).rows_per_request(recipe.given)
        most = min(target.profile.max_batch for target in recipe.targets.values())
        batches = {size for size in _BATCHES if rows <= size <= most} | {serving.max_batch}
        return cls(
            tuple(variants),
            tuple(sorted(batches)),
            tuple(sorted({*_DELAYS_US, serving.queue_delay_us})),
            _layouts(cores, (serving.instances, serving.threads)),
            tuple(dict.fromkeys([serving.call_cost, *_CALL_COSTS])),
        )

    @property
    def lists(self) -> dict[str, tuple[Any, ...]]:
        """The lists by the name of their parameter."""
        return {
            "variant": self.variants,
            "max_batch": self.batches,
            "queue_delay": self.delays_us,
            "layout": self.layouts,
            "call_cost": self.call_costs,
        }

    def settings(self, places: Mapping[str, int]) -> Settings:
        """The settings at a place of every list."""
        target, precision = self.variants[places["variant"]]
        instances, threads = self.layouts[places["layout"]]
        max_batch, delay_us = self.batches[places["max_batch"]], self.delays_us[places["queue_delay"]]
        call_cost = self.call_costs[places["call_cost"]]
        return Settings(target, precision, max_batch, delay_us, instances, threads, call_cost)

    def places(self, settings: Settings) -> dict[str, int]:
        """Where settings stand in the lists; the inverse of `settings`."""
        values = (
            (settings.target, settings.precision),
            settings.max_batch,
            settings.queue_delay_us,
            (settings.instances, settings.threads),
            settings.call_cost,
        )
        return {name: choices.index(value) for (name, choices), value in zip(self.lists.items(), values, strict=True)}

    @property
    def size(self) -> int:
        """How many settings there are."""
        product = 1
        for values in self.lists.values():
            product *= len(values)
        return product


def _layouts(cores: int, own: tuple[int, int | None]) -> tuple[tuple[int, int | None], ...]:
    """Instances and threads in powers of two that use at least half of the cores, and each core twice at most."""
    powers = [2**power for power in range(cores.bit_length()) if 2**power <= cores]
    counts = sorted({*powers, cores})
    fitting = [
        (instances, threads)
        for instances in counts
        for threads in counts
        if cores / 2 <= instances * threads <= _OVERSUBSCRIBED * cores
    ]
    return tuple(dict.fromkeys([own, *fitting]))
