"""YAML manifests, read strictly: every value keeps its place in the file, nothing is guessed.

A manifest is read from YAML's event stream into `Scalar`, `Sequence` and `Mapping` nodes. Scalars
stay the text that the user typed (``NO`` is a name, ``1.10`` a version), and each node knows its
file, line and column. The stream is bounded before anything is built from it, so no manifest can
exhaust the stack or the
memory: PyYAML's own composer recurses in C and takes the whole process with it.
"""

import collections.abc
import operator
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

import yaml

MAX_BYTES = 10_000_000
MAX_DEPTH = 100
MAX_ALIASES = 1_000
MAX_MERGED_KEYS = 100_000

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)", re.ASCII)
_STYLES = {'"': "quotes", "'": "quotes", "|": "block sign |", ">": "block sign >"}
_NULLS = ("", "~", "null", "Null", "NULL")
_KNOWN_TAGS = {
    "!",
    *(
        f"tag:yaml.org,2002:{name}"
        for name in ("bool", "float", "int", "map", "null", "seq", "str")
    ),
}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Place(NamedTuple):
    """A place in a file; line and column count from 1. Its text is ``file:line:column``.

    A place in data that came from no file has line 0, and its text is that of `file` alone.
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def error(self, message: str) -> ValueError:
        """Return a ValueError that starts with this place."""
        return ValueError(f"{self}: {message}")


class Scalar:
    """One value as it was typed."""

    __slots__ = ("place", "style", "text")
    kind = "a single value"

    def __init__(self, place: Place, text: str, style: str = "") -> None:
        self.place = place
        self.text = text
        self.style = style

    @property
    def plain(self) -> bool:
        """Whether it has no quotes, tag or block sign, so that YAML may guess its type."""
        return not self.style

    @property
    def is_null(self) -> bool:
        """Whether YAML reads this as nothing at all: empty, ``~`` or ``null``, without quotes."""
        return self.plain and self.text in _NULLS

    def integer(self, key: str = "") -> int:
        """Return the value as an integer, or raise a ValueError that says why `key` has none.

        Only ``-?(0|[1-9][0-9]*)`` and ``0x...`` are integers here. What YAML 1.1 would silently
        make of ``true``, ``010`` or ``1:30`` is refused.
        """
        if self.plain and _INTEGER.fullmatch(self.text):
            try:
                return int(self.text, 16 if "x" in self.text else 10)
            except ValueError as error:  # more digits than Python converts
                raise self.place.error(f"an integer of {len(self.text)} digits") from error
        whose = f" for {key!r}" if key else ""
        raise self.place.error(f"expected an integer{whose}, got {self._describe()}")

    def _describe(self) -> str:
        if not self.plain:
            return f"the text {self.text!r} (remove the {_STYLES.get(self.style, 'tag')})"
        if self.is_null:
            return "nothing"
        if re.fullmatch(r"[+-]?0[0-9]+", self.text):
            return f"{self.text} (octal in YAML 1.1; remove the leading zeros)"
        if re.fullmatch(r"[+-]?[0-9]+(:[0-5]?[0-9])+", self.text):
            return f"{self.text} (a number in base 60 in YAML 1.1)"
        return repr(self.text)


class Sequence:
    """A list of nodes."""

    __slots__ = ("items", "place")
    kind = "a list"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.items: list[Node] = []


class Entry(NamedTuple):
    """A key and its value in a `Mapping`."""

    key: Scalar
    value: "Node"


class Mapping:
    """Keys, as typed, and their values, in the order of the file."""

    __slots__ = ("entries", "place")
    kind = "a mapping"

    def __init__(self, place: Place) -> None:
        self.place = place
        self.entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries.values())

    def get(self, key: str) -> "Node | None":
        """Return the value of `key`, or None if it is missing or null."""
        entry = self.entries.get(key)
        if entry is None or (isinstance(entry.value, Scalar) and entry.value.is_null):
            return None
        return entry.value

    def section(self, key: str) -> "Mapping":
        """Return the mapping under `key`, an empty one if it is missing or null.

        Raises:
            ValueError: If something else than a mapping stands there.
        """
        node = self.get(key)
        if node is None:
            return Mapping(self.place)
        if not isinstance(node, Mapping):
            raise node.place.error(f"{key!r} must be a mapping, not {node.kind}")
        return node


Node = Scalar | Sequence | Mapping


def load(path: str | os.PathLike[str]) -> Mapping:
    """Read a manifest file.

    Args:
        path: A YAML file of at most 10 MB that holds one mapping. An empty file is an empty
            mapping.

    Returns:
        The top-level mapping.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: If it is not YAML, not a mapping, has a key twice, is larger than 10 MB, nested
            deeper than 100 levels, or has more than 1,000 aliases; with file, line and column.
    """
    source = os.fspath(path)
    try:
        with open(source, "rb") as file:  # noqa: PTH123 - pathlib takes 9 ms to import
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no manifest at {source}") from error
    return parse(data, source)


def parse(data: bytes | str, source: str = "<manifest>") -> Mapping:
    r"""Read a manifest from memory; `source` stands for the file in messages. See `load`.

    Example:
        >>> manifest = parse("labels: {NO: 3}")
        >>> {key.text: value.integer() for key, value in manifest.section("labels")}
        {'NO': 3}
        >>> parse("LV: 1\nLV: 2", "labels.yaml")
        Traceback (most recent call last):
        ValueError: labels.yaml:2:1: 'LV' is already defined at line 1
    """
    if isinstance(data, str):
        data = data.encode()
    if len(data) > MAX_BYTES:
        raise Place(source, 1, 1).error(
            f"larger than {MAX_BYTES // 1_000_000} MB; is it a manifest?"
        )
    try:
        return _Tree(source).build(yaml.parse(data, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source, 1, 1)
        reason = " ".join(part for part in (error.context, error.problem) if part)
        if "nesting depth" in reason:  # libyaml from 0.2.6 on counts to 1,000 before we see any
            raise place.error(f"nested deeper than {MAX_DEPTH} levels") from error
        raise place.error(f"not valid YAML: {reason}") from error
    except yaml.reader.ReaderError as error:
        line = data[: error.position].count(b"\n") + 1
        raise Place(source, line, 1).error(f"not valid YAML: {error.reason}") from error


def from_data(data: object, source: str = "<data>", *, depth: int = 0) -> Node:
    """Turn dicts, lists and single values into nodes, as if they stood in a manifest.

    Args:
        data: What a YAML file could hold: mappings, lists, texts, integers, booleans, floats, None.
        source: What messages name in place of a file; keys are added to it.
        depth: How deep in other data it stands.

    Raises:
        TypeError: If there is an object of another kind, or a key that is not a text.
        ValueError: If it is nested deeper than 100 levels, as data that contains itself is, or a
            text holds half a character.

    Example:
        >>> labels = from_data({"labels": {"LV": 1, "RV": True}}, "heart")
        >>> [value.integer() for _, value in labels.section("labels")]
        Traceback (most recent call last):
        ValueError: heart.labels.RV: expected an integer, got 'true'
    """
    place = Place(source)
    if depth > MAX_DEPTH:
        raise ValueError(f"{source[:80]}...: nested deeper than {MAX_DEPTH} levels")
    if isinstance(data, collections.abc.Mapping):
        mapping = Mapping(place)
        for key, value in data.items():
            if not isinstance(key, str):
                raise TypeError(f"{source}: a key must be a text, not {key!r}")
            name = Scalar(Place(f"{source}.{key}"), _whole(key, source), style="'")
            mapping.entries[key] = Entry(name, from_data(value, f"{source}.{key}", depth=depth + 1))
        return mapping
    if isinstance(data, list | tuple):
        sequence = Sequence(place)
        sequence.items = [
            from_data(item, f"{source}[{index}]", depth=depth + 1)
            for index, item in enumerate(data)
        ]
        return sequence
    if isinstance(data, str):
        return Scalar(place, _whole(data, source), style="'")
    if data is None or isinstance(data, bool | float):
        return Scalar(place, "" if data is None else str(data).lower())
    try:
        return Scalar(place, str(operator.index(data)))  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"{source}: a manifest cannot hold {data!r}") from error


def _whole(text: str, source: str) -> str:
    # A lone surrogate, which no file can hold: it would be found when it is too late.
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{source}: {text!r} holds half a character") from error
    return text


class _Tree:
    """Builds nodes from events without recursion; `open` holds the containers around an event."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.root: Node | None = None
        self.open: list[Sequence | Mapping] = []
        self.keys: list[Scalar | None] = []  # of each open container, the key without a value
        self.merges: dict[int, Entry] = {}  # `<<` of the open mappings
        self.anchors: dict[str, Node] = {}
        self.aliases = 0
        self.merged_keys = 0

    def build(self, events: Iterable[yaml.Event]) -> Mapping:
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                style = event.tag or event.style or ""
                self._add(self._anchored(event, Scalar(self._place(event), event.value, style)))
            elif isinstance(event, yaml.AliasEvent):
                self._add(self._alias(event))
            elif isinstance(event, yaml.MappingStartEvent):
                self._enter(event, Mapping(self._place(event)))
            elif isinstance(event, yaml.SequenceStartEvent):
                self._enter(event, Sequence(self._place(event)))
            elif isinstance(event, yaml.CollectionEndEvent):
                self._leave()
        return self._document()

    def _document(self) -> Mapping:
        if self.root is None or (isinstance(self.root, Scalar) and self.root.is_null):
            return Mapping(Place(self.source, 1, 1))
        if not isinstance(self.root, Mapping):
            raise self.root.place.error(f"expected a mapping (key: value), not {self.root.kind}")
        return self.root

    def _place(self, event: yaml.Event) -> Place:
        mark: Any = event.start_mark
        return Place(self.source, mark.line + 1, mark.column + 1)

    def _anchored(self, event: yaml.NodeEvent, node: Node) -> Node:
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _KNOWN_TAGS:
            raise node.place.error(f"the tag {tag} has no meaning in a manifest")
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        place = self._place(event)
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise place.error(f"more than {MAX_ALIASES:,} aliases")
        node = self.anchors.get(event.anchor or "")
        if node is None:
            raise place.error(f"no anchor &{event.anchor} before this alias")
        if any(node is container for container in self.open):
            raise place.error(f"*{event.anchor} contains itself")
        return node

    def _enter(self, event: yaml.NodeEvent, container: Sequence | Mapping) -> None:
        if len(self.open) == MAX_DEPTH:
            raise container.place.error(f"nested deeper than {MAX_DEPTH} levels")
        self._anchored(event, container)
        self._add(container)
        self.open.append(container)
        self.keys.append(None)

    def _leave(self) -> None:
        container = self.open.pop()
        self.keys.pop()
        merge = self.merges.pop(id(container), None)
        if isinstance(container, Mapping) and merge is not None:
            container.entries = {**self._merged(merge.value), **container.entries}

    def _add(self, node: Node) -> None:
        if not self.open:
            if self.root is not None:
                raise node.place.error("a second document starts here; a manifest has one")
            self.root = node
            return
        parent, key = self.open[-1], self.keys[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif key is None:
            self.keys[-1] = self._key(node)
        else:
            self._define(parent, Entry(key, node))
            self.keys[-1] = None

    def _key(self, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            raise node.place.error(f"a key must be a name, not {node.kind}")
        return node

    def _define(self, mapping: Mapping, entry: Entry) -> None:
        is_merge = entry.key.plain and entry.key.text == "<<"
        first = self.merges.get(id(mapping)) if is_merge else mapping.entries.get(entry.key.text)
        if first is not None:
            line = first.key.place.line
            raise entry.key.place.error(f"{entry.key.text!r} is already defined at line {line}")
        if is_merge:
            self.merges[id(mapping)] = entry
        else:
            mapping.entries[entry.key.text] = entry

    def _merged(self, node: Node) -> dict[str, Entry]:
        """Return what `<<` brings in; the first of several mappings with a key gives its value."""
        sources = node.items if isinstance(node, Sequence) else [node]
        merged: dict[str, Entry] = {}
        for source in sources:
            if not isinstance(source, Mapping):
                self._refuse_merge(source)
            self.merged_keys += len(source.entries)
            if self.merged_keys > MAX_MERGED_KEYS:
                raise node.place.error(f"'<<' brings in more than {MAX_MERGED_KEYS:,} keys")
            for name, entry in source.entries.items():
                merged.setdefault(name, entry)
        return merged

    def _refuse_merge(self, node: Node) -> NoReturn:
        raise node.place.error(f"'<<' merges mappings, not {node.kind}")
