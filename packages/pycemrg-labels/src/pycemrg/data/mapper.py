"""The mapping from one label standard to another."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pycemrg.data.rules import Collisions, Rules, Unmapped

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pycemrg.data.labels import LabelManager


class LabelMapper:
    """Maps the values of one label standard to those of another, by the names that both have.

    Neither manager is changed. Labels that only one side has are left out.

    Args:
        source: The standard that the data has.
        target: The standard that the data shall have.

    Example:
        >>> from pycemrg.data import LabelManager
        >>> clinical = LabelManager.from_dict({"labels": {"LV_myo": 100, "RV_myo": 101}})
        >>> simulation = LabelManager.from_dict({"labels": {"LV_myo": 2, "RV_myo": 3, "LA": 4}})
        >>> LabelMapper(source=clinical, target=simulation).get_source_to_target_mapping()
        {100: 2, 101: 3}
    """

    def __init__(self, source: "LabelManager", target: "LabelManager") -> None:
        self.source = source
        self.target = target

    def get_source_to_target_mapping(self) -> dict[int, int]:
        """Return ``{source value: target value}`` for every name that both standards have.

        Equal pairs are in it too. If one source value has several names with different targets, the
        target of the last name is given and a warning is logged.

        To relabel an array use `apply`: replacing one value after another goes wrong as soon as a
        target is also a later source.
        """
        mapping: dict[int, int] = {}
        for name, value, target in self._shared():
            if mapping.setdefault(value, target) != target:
                _warn_of_conflict(name, value, target)
                mapping[value] = target
        return mapping

    def get_source_tags(self, names: Sequence[str]) -> list[int]:
        """Return the values of `names` in the source standard.

        The same as ``source.get_values_from_names(names)``.
        """
        return self.source.get_values_from_names(names)

    def get_target_tags(self, names: Sequence[str]) -> list[int]:
        """Return the values of `names` in the target standard.

        The same as ``target.get_values_from_names(names)``.
        """
        return self.target.get_values_from_names(names)

    def apply(
        self,
        array: "npt.ArrayLike",
        *,
        unmapped: Unmapped = "keep",
        collisions: Collisions = "refuse",
    ) -> "np.ndarray[Any, Any]":
        """Return `array` with every source value replaced by its target value, all at once.

        Args:
            array: Labels of any shape and integer or boolean type; floating-point values must be
                integral.
            unmapped: What becomes of a value that the mapping does not have: it is kept, becomes 0
                or the given value, or is an error.
            collisions: Whether a value that is kept may equal a target, so that two structures
                become one.

        Returns:
            A new array of the same shape, and of the same type if all values fit, else of the
            smallest integer type that they fit.

        Raises:
            ValueError: If one source value has several names with different targets; if a kept
                value that is present equals a target; if ``unmapped="error"`` and there is such a
                value; if a floating-point value is not integral.
            ImportError: If numpy is missing (``pycemrg-labels[arrays]``).

        Example:
            >>> from pycemrg.data import LabelManager
            >>> a = LabelManager.from_dict({"labels": {"LV_myo": 1, "LV_bp": 2}})
            >>> b = LabelManager.from_dict({"labels": {"LV_myo": 2, "LV_bp": 1}})
            >>> LabelMapper(a, b).apply([0, 1, 2]).tolist()
            [0, 2, 1]
        """
        import numpy as np

        from pycemrg.data.relabel import relabel_by

        mapping: dict[int, int] = {}
        for name, value, target in self._shared():
            if mapping.setdefault(value, target) != target:
                raise ValueError(
                    f"{self.source._source}: the value {value} has several names, and {name!r} "
                    f"maps to {target} where another maps to {mapping[value]}; "
                    "give each structure a value of its own"
                )
        rules = Rules(mapping, unmapped, collisions, self.source._names, self.target._names)
        return relabel_by(rules, np.asarray(array))

    def _shared(self) -> Iterator[tuple[str, int, int]]:
        for name, value in self.source._labels.items():
            if name in self.target._labels:
                yield name, value, self.target._labels[name]


def _warn_of_conflict(name: str, value: int, target: int) -> None:
    import logging  # 10 ms that a program which only looks up labels need not pay

    logging.getLogger(__name__).warning(
        "the value %d has several names with different targets; %r, the last, gives %d",
        value,
        name,
        target,
    )
