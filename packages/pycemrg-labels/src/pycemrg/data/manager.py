"""One label standard: names, groups and values."""

import collections.abc
import os
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any

from pycemrg.core import manifests
from pycemrg.core.manifests import Mapping, Scalar
from pycemrg.core.near_names import did_you_mean
from pycemrg.data import annotations, groups
from pycemrg.data.annotations import Code
from pycemrg.data.problems import Problem


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
        >>> from pathlib import Path
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
        self._load(manifests.load(config_path), os.fspath(config_path))

    @classmethod
    def from_dict(
        cls, data: collections.abc.Mapping[str, Any], source: str = "<labels>"
    ) -> "LabelManager":
        """Return the manager of a standard that is given as plain data, in the shape of a manifest.

        Args:
            data: ``{"labels": {name: integer}, "groups": {name: [member]}}`` and, if wanted,
                ``colors``, ``codes`` and ``aliases``.
            source: What messages name in place of a file.

        Raises:
            ValueError: As for a manifest.
            TypeError: If `data` holds what no manifest can hold.

        Example:
            >>> LabelManager.from_dict({"labels": {"LV": 1, "RV": 2}}).get_value("RV")
            2
        """
        manager = cls.__new__(cls)
        manifest = manifests.from_data(data, source)
        if not isinstance(manifest, Mapping):
            raise TypeError(f"{source}: a standard is a dict, not {data!r}")
        manager._load(manifest, source)
        return manager

    def _load(self, manifest: Mapping, source: str) -> None:
        self.source = source
        self._manifest = manifest
        self._label_section = manifest.section("labels")
        self._labels = {key.text: _value(key, value) for key, value in self._label_section}
        self._names = {value: name for name, value in self._labels.items()}
        self._group_section = manifest.section("groups")
        self._groups = {key.text: _members(key, value) for key, value in self._group_section}

    @property
    def labels(self) -> collections.abc.Mapping[str, int]:
        """The value of every label, in the order of the manifest; read-only."""
        return MappingProxyType(self._labels)

    @property
    def groups(self) -> collections.abc.Mapping[str, tuple[str, ...]]:
        """The members of every group as they were written; read-only."""
        members = {name: tuple(m.text for m in group) for name, group in self._groups.items()}
        return MappingProxyType(members)

    @property
    def colors(self) -> dict[str, str]:
        """The colour of each label that has one, as ``#rrggbb`` or ``#rrggbbaa``.

        Raises:
            ValueError: If ``colors`` in the manifest is not a map of names to colours.
        """
        return annotations.colors(self._manifest)

    @property
    def codes(self) -> dict[str, Code]:
        """The terminology code of each label that has one.

        Raises:
            ValueError: If ``codes`` in the manifest is not a map of names to codes.
        """
        return annotations.codes(self._manifest)

    @property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Other names of each label that has some.

        Raises:
            ValueError: If ``aliases`` in the manifest is not a map of names to lists of names.
        """
        return annotations.aliases(self._manifest)

    @property
    def other_keys(self) -> tuple[str, ...]:
        """The top-level keys of the manifest that are no part of a standard.

        `to_dict` and `to_yaml` leave them out.
        """
        known = ("labels", "groups", *annotations.READERS)
        return tuple(key for key in self._manifest.entries if key not in known)

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __contains__(self, name: object) -> bool:
        return name in self._labels

    def to_dict(self) -> dict[str, Any]:
        """Return labels, groups, colours, codes and aliases as `from_dict` takes them."""
        data: dict[str, Any] = {"labels": dict(self._labels)}
        if self._groups:
            data["groups"] = {name: list(members) for name, members in self.groups.items()}
        if colors := self.colors:
            data["colors"] = colors
        if codes := self.codes:
            data["codes"] = {name: code._asdict() for name, code in codes.items()}
        if aliases := self.aliases:
            data["aliases"] = {name: list(others) for name, others in aliases.items()}
        return data

    def to_yaml(self) -> str:
        """Return the standard as a manifest; names that YAML could mistake are quoted.

        Example:
            >>> print(LabelManager.from_dict({"labels": {"NO": 1, "LV": 2}}).to_yaml(), end="")
            labels:
              'NO': 1
              LV: 2
        """
        import yaml

        data = self.to_dict()
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        if "\x85" in text:  # NEL, which YAML 1.1 reads as the end of a line
            text = yaml.safe_dump(data, sort_keys=False)
        return text

    def get_value(self, name: str) -> int:
        """Return the integer value of the label `name`.

        Raises:
            KeyError: If there is no label of that name; the message lists the labels.
        """
        try:
            return self._labels[name]
        except KeyError as error:
            known = ", ".join(self._labels) or "none"
            question = did_you_mean(str(name), self._labels)
            message = f"{self.source}: no label named {name!r}{question}; the labels are: {known}"
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
            message = f"{self.source}: no label has the value {value}; there are: {known or 'none'}"
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
        found += self._faulty_annotations()
        found += [
            Problem("empty-group", "warning", key.place, f"group {key.text!r} has no members")
            for key, _ in self._group_section
            if not self._groups[key.text]
        ]
        return sorted(found, key=lambda problem: problem.place or ())

    def _walk(self, names: Iterable[Any]) -> Iterator[int | Problem]:
        texts = (name if isinstance(name, str) else str(name) for name in names)
        return groups.walk(texts, self._labels, self._groups, self.source)

    def _shadowed_groups(self) -> Iterator[Problem]:
        for key, _ in self._group_section:
            if key.text in self._labels:
                message = f"{key.text!r} is a label too, and the label is what the name stands for"
                yield Problem("label-and-group", "warning", key.place, message)

    def _faulty_annotations(self) -> Iterator[Problem]:
        for key, read in annotations.READERS.items():
            try:
                names = read(self._manifest)
            except ValueError as error:
                place = self._manifest.entries[key].key.place
                yield Problem(f"faulty-{key}", "warning", place, f"not used: {error}")
                continue
            for name in names:
                if name not in self._labels:
                    place = self._manifest.section(key).entries[name].key.place
                    message = f"{key!r} has an entry for {name!r}, which is no label"
                    yield Problem("unknown-label", "warning", place, message)

    def _repeated_values(self) -> Iterator[Problem]:
        first: dict[int, str] = {}
        for key, _ in self._label_section:
            value = self._labels[key.text]
            if value in first:
                message = f"{key.text!r} has the value {value}, as {first[value]!r} has"
                yield Problem("repeated-value", "warning", key.place, message)
            first.setdefault(value, key.text)


def _value(key: Scalar, node: manifests.Node) -> int:
    if not isinstance(node, Scalar):
        raise node.place.error(f"the value of {key.text!r} must be an integer, not {node.kind}")
    return node.integer(key.text)


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
    if isinstance(names, str | bytes):
        raise TypeError(f"names must be a list such as [{names!r}], not the text {names!r}")
    return names
