"""What becomes of each value when labels are replaced, and which values are refused."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Unmapped = Literal["keep", "zero", "error"] | int
Collisions = Literal["refuse", "allow"]


class Rules(NamedTuple):
    """A mapping of values together with what happens to the values that it does not have.

    Attributes:
        mapping: Source value to target value.
        unmapped: Other values are kept, become 0 or the given value, or are an error.
        collisions: Whether a value that is kept may equal a target, which makes two structures one.
        names: Names of source values, for messages.
        target_names: Names of target values, for messages.
    """

    mapping: Mapping[int, int]
    unmapped: Unmapped = "keep"
    collisions: Collisions = "refuse"
    names: Mapping[int, str] = {}
    target_names: Mapping[int, str] = {}

    @property
    def fill(self) -> int | None:
        """The value that every unmapped value becomes, or None if it does not become one."""
        if isinstance(self.unmapped, str):
            return {"keep": None, "error": None, "zero": 0}[self.unmapped]
        return self.unmapped

    @property
    def colliding(self) -> set[int]:
        """The values that must not be present, because they would be kept and equal a target."""
        if self.unmapped != "keep" or self.collisions == "allow":
            return set()
        return set(self.mapping.values()) - set(self.mapping)

    def result(self, value: int) -> int:
        """Return what becomes of one value, whether it is refused or not."""
        return self.mapping.get(value, value if self.fill is None else self.fill)

    def check(self, counts: Mapping[int, int], limits: tuple[int, int] | None = None) -> None:
        """Refuse what must not be present.

        Args:
            counts: How often each value is present.
            limits: The least and the greatest result that the output can hold, both included.

        Raises:
            ValueError: If a value is unmapped and that is an error, or if it would be kept and
                equals a target; with names and counts.
            OverflowError: If the output cannot hold a result.
        """
        if self.unmapped == "error":
            self._refuse_unmapped(counts)
        self._refuse_collisions(counts)
        if limits is not None:
            self._refuse_overflow(counts, *limits)

    def _refuse_unmapped(self, counts: Mapping[int, int]) -> None:
        missing = [self._describe(value, counts) for value in counts if value not in self.mapping]
        if missing:
            raise ValueError(f"the mapping has no target for: {'; '.join(missing)}")

    def _refuse_collisions(self, counts: Mapping[int, int]) -> None:
        kept = [
            f"{self._describe(value, counts)}, which is {self._target(value)} in the target"
            for value in counts
            if value in self.colliding
        ]
        if kept:
            raise ValueError(
                "values without a target would be kept and mean another structure: "
                f"{'; '.join(kept)}; "
                "map them too with pairs=, or pass unmapped='zero' or collisions='allow'"
            )

    def _refuse_overflow(self, counts: Mapping[int, int], low: int, high: int) -> None:
        for value in counts:
            if not low <= self.result(value) <= high:
                raise OverflowError(
                    f"{self._describe(value, counts)} becomes {self.result(value)}, "
                    f"and the output holds {low} to {high}; choose a wider type"
                )

    def _describe(self, value: int, counts: Mapping[int, int]) -> str:
        name = f" ({self.names[value]})" if value in self.names else ""
        return f"{value}{name}, present {counts[value]:,} times"

    def _target(self, value: int) -> str:
        return self.target_names.get(value, "the target of another label")
