"""The mapping from one label standard to another."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pycemrg.data.matching import match_names
from pycemrg.data.rules import Collisions, Rules, Unmapped

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pycemrg.data.manager import LabelManager
    from pycemrg.data.report import MapReport


class LabelMapper:
    """Maps the values of one label standard to those of another, by the names of their labels.

    Names match exactly, or through ``aliases`` that a manifest declares, or as `pairs` say.
    Neither manager is changed. Labels that only one side has are left out.

    Args:
        source: The standard that the data has.
        target: The standard that the data shall have.
        pairs: Target names of source labels that are called otherwise there.

    Raises:
        KeyError: If `pairs` names a label that is not there.
        ValueError: If aliases match a label with several others.

    Example:
        >>> from pycemrg.data import LabelManager
        >>> clinical = LabelManager.from_dict({"labels": {"LV_myo": 100, "RV_myo": 101}})
        >>> simulation = LabelManager.from_dict({"labels": {"LV_myo": 2, "RV": 3, "LA": 4}})
        >>> LabelMapper(source=clinical, target=simulation).get_source_to_target_mapping()
        {100: 2}
        >>> mapper = LabelMapper(clinical, simulation, pairs={"RV_myo": "RV"})
        >>> mapper.get_source_to_target_mapping()
        {100: 2, 101: 3}
    """

    def __init__(
        self,
        source: "LabelManager",
        target: "LabelManager",
        *,
        pairs: Mapping[str, str] | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self._matches = match_names(source, target, pairs or {})

    def get_source_to_target_mapping(self) -> dict[int, int]:
        """Return ``{source value: target value}`` for every label that both standards have.

        Equal pairs are in it too. If one source value has several names with different targets, the
        target of the last name is given and a warning is logged.

        To relabel an array use `apply`: replacing one value after another goes wrong as soon as a
        target is also a later source.
        """
        mapping: dict[int, int] = {}
        for name, value, target in self._matched():
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
        out: "np.ndarray[Any, Any] | None" = None,
        dtype: "npt.DTypeLike | None" = None,
        threads: int | None = None,
    ) -> "np.ndarray[Any, Any]":
        """Return `array` with every source value replaced by its target value, all at once.

        The arguments, the result and its type are those of `pycemrg.data.relabel.relabel`.

        Raises:
            ValueError: If one source value has several names with different targets; if a value
                that is kept and present means another structure in the target; if
                ``unmapped="error"`` and there is such a value; if a floating-point value is not
                integral.
            OverflowError: If `out` or `dtype` cannot hold a result.
            ImportError: If numpy is missing (``pycemrg-labels[arrays]``).

        Example:
            >>> from pycemrg.data import LabelManager
            >>> a = LabelManager.from_dict({"labels": {"LV_myo": 1, "LV_bp": 2}})
            >>> b = LabelManager.from_dict({"labels": {"LV_myo": 2, "LV_bp": 1}})
            >>> LabelMapper(a, b).apply([0, 1, 2]).tolist()
            [0, 2, 1]
        """
        from pycemrg.data.relabel import relabel_by

        rules = self.rules(unmapped=unmapped, collisions=collisions)
        return relabel_by(rules, array, out=out, dtype=dtype, threads=threads)

    def rules(self, *, unmapped: Unmapped = "keep", collisions: Collisions = "refuse") -> Rules:
        """Return what becomes of each value, for data that is no array.

        Raises:
            ValueError: If one source value has several names with different targets.
        """
        mapping: dict[int, int] = {}
        for name, value, target in self._matched():
            if mapping.setdefault(value, target) != target:
                raise ValueError(
                    f"{self.source.source}: the value {value} has several names, and {name!r} "
                    f"maps to {target} where another maps to {mapping[value]}; "
                    "give each structure a value of its own, or map them to one with pairs="
                )
        return Rules(mapping, unmapped, collisions, self.source._names, self.target._names)

    def report(self, counts: Mapping[int, int] | None = None) -> "MapReport":
        """Return what the mapping does with each label, and what it cannot do.

        Args:
            counts: How often each value is present, as `pycemrg.data.counting.count_values` gives
                it. The report is then about these values only.

        Example:
            >>> from pycemrg.data import LabelManager
            >>> a = LabelManager.from_dict({"labels": {"LV": 1, "cord": 2}})
            >>> b = LabelManager.from_dict({"labels": {"LV": 2}})
            >>> print(LabelMapper(a, b).report())
            1 labels matched: 1 change, 0 stay
              LV: 1 -> 2
            1 labels only in the source:
              cord: 2
            collision: cord would keep 2, which is LV in the target
        """
        from pycemrg.data.report import make_report

        return make_report(self.source, self.target, self._matches, counts)

    def then(self, other: "LabelMapper") -> "LabelMapper":
        """Return the mapping that does this one and then `other`, in one pass.

        A label takes part if it has a target in both; `other` must start from the standard that
        this mapping ends in.

        Raises:
            ValueError: If the two standards in the middle give a label different values.
        """
        for name in self._matches.values():
            if name in other.source and other.source.labels[name] != self.target.labels[name]:
                raise ValueError(
                    f"the mappings do not meet: {name!r} is {self.target.labels[name]} in "
                    f"{self.target.source} and {other.source.labels[name]} in {other.source.source}"
                )
        matches = {
            first: other._matches[middle]
            for first, middle in self._matches.items()
            if middle in other._matches
        }
        return self._between(self.source, other.target, matches)

    def inverse(self) -> "LabelMapper":
        """Return the mapping back from the target to the source.

        Raises:
            ValueError: If labels with different values become one, which nothing can take apart.
        """
        if merged := self.report().merged:
            listed = "; ".join(f"{', '.join(names)} -> {value}" for value, names in merged.items())
            raise ValueError(f"a mapping that merges labels has no inverse: {listed}")
        matches = {target: source for source, target in self._matches.items()}
        return self._between(self.target, self.source, matches)

    @classmethod
    def _between(
        cls, source: "LabelManager", target: "LabelManager", matches: dict[str, str]
    ) -> "LabelMapper":
        mapper = cls.__new__(cls)
        mapper.source, mapper.target, mapper._matches = source, target, matches
        return mapper

    def _matched(self) -> Iterator[tuple[str, int, int]]:
        for name, other in self._matches.items():
            yield name, self.source.labels[name], self.target.labels[other]


def _warn_of_conflict(name: str, value: int, target: int) -> None:
    import logging  # 10 ms that a program which only looks up labels need not pay

    logging.getLogger(__name__).warning(
        "the value %d has several names with different targets; %r, the last, gives %d",
        value,
        name,
        target,
    )
