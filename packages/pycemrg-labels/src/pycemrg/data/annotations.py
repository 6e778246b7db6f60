"""What a label manifest may say of a label besides its value: colour, code, other names.

They stand in top-level maps of their own, keyed by label name, so that a reader which knows only
``labels`` and ``groups`` still loads the file. They are read when asked for, because such a reader
may have used the same keys for something else.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from pycemrg.core.manifests import Mapping, Node, Scalar, Sequence

Annotation = TypeVar("Annotation")

_COLOR = re.compile(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?", re.ASCII)


class Code(NamedTuple):
    """A coded concept, as in DICOM: coding scheme (``SCT`` is SNOMED CT), value and meaning."""

    scheme: str
    value: str
    meaning: str = ""


def colors(manifest: Mapping) -> dict[str, str]:
    """Return ``{label: "#rrggbb" or "#rrggbbaa"}`` in lower case."""
    found = {}
    for name, node in _entries(manifest, "colors"):
        text = _text(node)
        if not _COLOR.fullmatch(text):
            raise node.place.error(f"a colour is '#rrggbb' in quotes, not {text!r}")
        found[name] = text.lower()
    return found


def codes(manifest: Mapping) -> dict[str, Code]:
    """Return ``{label: Code}``."""
    found = {}
    for name, node in _entries(manifest, "codes"):
        if not isinstance(node, Mapping) or not {"scheme", "value"} <= node.entries.keys():
            raise node.place.error("a code is {scheme: SCT, value: '87878005', meaning: ...}")
        fields = {key.text: _text(value) for key, value in node}
        found[name] = Code(fields["scheme"], fields["value"], fields.get("meaning", ""))
    return found


def aliases(manifest: Mapping) -> dict[str, tuple[str, ...]]:
    """Return ``{label: (other name, ...)}``."""
    found = {}
    for name, node in _entries(manifest, "aliases"):
        if not isinstance(node, Sequence):
            raise node.place.error("aliases are a list of names such as [LV_label]")
        found[name] = tuple(_text(item) for item in node.items)
    return found


READERS: dict[str, Callable[[Mapping], dict[str, Any]]] = {
    "colors": colors,
    "codes": codes,
    "aliases": aliases,
}


def usable(read: Callable[[], dict[str, Annotation]]) -> dict[str, Annotation]:
    """Return annotations, none if the manifest uses their key for something of its own."""
    try:
        return read()
    except ValueError:
        return {}


def _entries(manifest: Mapping, key: str) -> Iterator[tuple[str, Node]]:
    for name, node in manifest.section(key):
        yield name.text, node


def _text(node: Node) -> str:
    if not isinstance(node, Scalar) or node.is_null:
        what = "nothing" if isinstance(node, Scalar) else node.kind
        raise node.place.error(f"expected a text, got {what}")
    return node.text
