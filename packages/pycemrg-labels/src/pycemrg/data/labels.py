"""Label standards: names, groups and values, and the mapping from one standard to another."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pycemrg.core import manifests
from pycemrg.core.manifests import Mapping, Scalar
from pycemrg.data import groups
from pycemrg.data.problems import Problem, near

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LabelManager:
    r"""Translates between the names, groups and integer values of one label standard.

    The standard is a YAML file with two maps, ``labels`` (name to integer) and ``groups`` (name to
    a list of labels, other groups or numbers). Values may be negative and may repeat. The manager
    is read-only after construction and safe to share between threads.

    Args:
        config_path: The label manifest.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a valid label manifest: a key twice, a value that is not an
            integer, a group that is not a list; with file, line and column. Group members that do
            not exist and groups that contain themselves matter only when they are resolved;
            `problems` lists them all.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "labels.yaml")
        >>> _ = path.write_text(
        ...     "labels: {background: 0, LV_myo: 2, RV_myo: 3, LA_wall: 4}\n"
        ...     "groups: {ventricles: [LV_myo, RV_myo], walls: [ventricles, LA_wall]}\n"
        ... )
        >>> labels = LabelManager(path)
        >>> labels.get_value("LV_myo"), labels.get_name(4)
        (2, 'LA_wall')
        >>> labels.get_values_from_names(["walls", "0"])
        [0, 2, 3, 4]
        >>> labels.get_tags_string(["ventricles"])
        '2,3'
    """

    def __init__(self, config_path: str | os.PathLike[str]) -> None:
        manifest = manifests.load(config_path)
        self.config_path = Path(config_path).absolute()
        self._source = os.fspath(config_path)
        self._label_section = manifest.section("labels")
        self._labels = {key.text: _value(key, value) for key, value in self._label_section}
        self._names = {value: name for name, value in self._labels.items()}
        self._group_section = manifest.section("groups")
        self._groups = {key.text: _members(key, value) for key, value in self._group_section}

    def get_value(self, name: str) -> int:
        """Return the integer value of the label `name`.

        Raises:
            KeyError: If there is no label of that name; the message lists the labels.
        """
        try:
            return self._labels[name]
        except KeyError as error:
            known = ", ".join(self._labels) or "none"
            question = near(str(name), self._labels)
            message = f"{self._source}: no label named {name!r}{question}; the labels are: {known}"
            raise KeyError(message) from error

    def get_name(self, value: int) -> str:
        """Return the name of the label with this value, the last one defined if several have it.

        Any integer type will do, such as the ``numpy.int64`` that ``numpy.unique`` gives.

        Raises:
            KeyError: If no label has this value; the message lists the values.
        """
        try:
            return self._names[value]
        except KeyError as error:
            known = ", ".join(f"{number} ({name})" for number, name in self._names.items())
            message = (
                f"{self._source}: no label has the value {value}; there are: {known or 'none'}"
            )
            raise KeyError(message) from error

    def get_values_from_names(self, names: Sequence[str]) -> list[int]:
        """Return the sorted, distinct values that `names` stand for.

        Args:
            names: Labels, groups (which may hold other groups) or numbers as text, such as
                ``["ventricles", "LA_wall", "5"]``. A name is looked up in this order.

        Raises:
            KeyError: If a name, or a member of a group, is none of these; the message lists what
                there is.
            ValueError: If a group contains itself; the message gives the path.
            TypeError: If `names` is a single text instead of a list.
        """
        values = set()
        for found in self._walk(_as_list(names)):
            if isinstance(found, Problem):
                raise found.error()
            values.add(found)
        return sorted(values)

    def get_tags_string(self, names: Sequence[str | Sequence[str]], separator: str = ",") -> str:
        """Return the values of `names` as text, as command-line tools want their tag lists.

        Args:
            names: As for `get_values_from_names`; an item may be a list of names itself.
            separator: What stands between two values.

        Raises:
            KeyError, ValueError, TypeError: As for `get_values_from_names`.
        """
        flat: list[str] = []
        for item in _as_list(names):
            flat.extend(item if isinstance(item, list | tuple) else [item])
        return separator.join(str(value) for value in self.get_values_from_names(flat))

    def problems(self) -> list[Problem]:
        """Return everything that is doubtful or wrong in the manifest, in the order of the file.

        Errors are group members that do not exist and groups that contain themselves; warnings are
        values with several names, names that are both label and group, and groups without members.
        """
        found = [item for item in self._walk(self._groups) if isinstance(item, Problem)]
        found += self._shadowed_groups()
        found += self._repeated_values()
        found += [
            Problem("empty-group", "warning", key.place, f"group {key.text!r} has no members")
            for key, _ in self._group_section
            if not self._groups[key.text]
        ]
        return sorted(found, key=lambda problem: problem.place or ())

    def _walk(self, names: Iterable[Any]) -> Iterator[int | Problem]:
        texts = (name if isinstance(name, str) else str(name) for name in names)
        return groups.walk(texts, self._labels, self._groups, self._source)

    def _shadowed_groups(self) -> Iterator[Problem]:
        for key, _ in self._group_section:
            if key.text in self._labels:
                message = f"{key.text!r} is a label too, and the label is what the name stands for"
                yield Problem("label-and-group", "warning", key.place, message)

    def _repeated_values(self) -> Iterator[Problem]:
        first: dict[int, str] = {}
        for key, _ in self._label_section:
            value = self._labels[key.text]
            if value in first:
                message = f"{key.text!r} has the value {value}, as {first[value]!r} has"
                yield Problem("repeated-value", "warning", key.place, message)
            first.setdefault(value, key.text)


class LabelMapper:
    """Maps the values of one label standard to those of another, by the names that both have.

    Neither manager is changed. Labels that only one side has are left out.

    Args:
        source: The standard that the data has.
        target: The standard that the data shall have.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "clinical.yaml").write_text("labels: {LV_myo: 100, RV_myo: 101}")
        >>> _ = (folder / "simulation.yaml").write_text("labels: {LV_myo: 2, RV_myo: 3, LA: 4}")
        >>> clinical = LabelManager(folder / "clinical.yaml")
        >>> simulation = LabelManager(folder / "simulation.yaml")
        >>> LabelMapper(source=clinical, target=simulation).get_source_to_target_mapping()
        {100: 2, 101: 3}
    """

    def __init__(self, source: LabelManager, target: LabelManager) -> None:
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
        unmapped: "Literal['keep', 'zero', 'error'] | int" = "keep",
        collisions: Literal["refuse", "allow"] = "refuse",
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
            >>> import tempfile
            >>> folder = Path(tempfile.mkdtemp())
            >>> _ = (folder / "a.yaml").write_text("labels: {LV_myo: 1, LV_bp: 2}")
            >>> _ = (folder / "b.yaml").write_text("labels: {LV_myo: 2, LV_bp: 1}")
            >>> a, b = LabelManager(folder / "a.yaml"), LabelManager(folder / "b.yaml")
            >>> LabelMapper(a, b).apply([0, 1, 2]).tolist()
            [0, 2, 1]
        """
        from pycemrg.data.relabel import relabel

        mapping: dict[int, int] = {}
        for name, value, target in self._shared():
            if mapping.setdefault(value, target) != target:
                raise ValueError(
                    f"{self.source.config_path}: the value {value} has several names, and {name!r} "
                    f"maps to {target} where another maps to {mapping[value]}; "
                    "give each structure a value of its own"
                )
        return relabel(
            array, mapping, unmapped=unmapped, collisions=collisions, names=self.source._names
        )

    def _shared(self) -> Iterator[tuple[str, int, int]]:
        for name, value in self.source._labels.items():
            if name in self.target._labels:
                yield name, value, self.target._labels[name]


def _value(key: Scalar, node: manifests.Node) -> int:
    if not isinstance(node, Scalar):
        raise node.place.error(f"the value of {key.text!r} must be an integer, not {node.kind}")
    return node.integer()


def _members(key: Scalar, node: manifests.Node) -> list[Scalar]:
    if isinstance(node, Scalar) and node.is_null:
        return []
    if isinstance(node, Scalar | Mapping):
        message = f"group {key.text!r} must be a list such as [LV_myo, RV_myo], not {node.kind}"
        raise node.place.error(message)
    members = []
    for item in node.items:
        if not isinstance(item, Scalar) or item.is_null:
            what = "nothing" if isinstance(item, Scalar) else item.kind
            raise item.place.error(f"a member of {key.text!r} must be a name, not {what}")
        members.append(item)
    return members


def _as_list(names: Sequence[Any]) -> Sequence[Any]:
    if isinstance(names, str):
        raise TypeError(f"names must be a list such as [{names!r}], not the text {names!r}")
    return names


def _warn_of_conflict(name: str, value: int, target: int) -> None:
    import logging  # 10 ms that a program which only looks up labels need not pay

    logging.getLogger(__name__).warning(
        "the value %d has several names with different targets; %r, the last, gives %d",
        value,
        name,
        target,
    )
