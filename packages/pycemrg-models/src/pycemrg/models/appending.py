"""A new model at the end of a manifest, of which not a byte changes otherwise."""

import os
from pathlib import Path

from pycemrg.core import manifests
from pycemrg.core.manifests import Mapping, Node, Scalar, Sequence
from pycemrg.core.whole_files import whole_file
from pycemrg.models.manifest import public_url
from pycemrg.models.new_entry import NewEntry


def append_entry(manifest: str | os.PathLike[str], entry: NewEntry) -> None:
    """Put a new model at the end of a manifest; what is there stays byte for byte.

    Args:
        manifest: A YAML file in block style.
        entry: As `describe_source` made it.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If the manifest has the model already, does not end in a newline or is in flow
            style, or if the entry has no target yet. Nothing is changed then.
        OSError: If the manifest cannot be read or written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "models.yaml")
        >>> _ = path.write_text("# Our models" + chr(10))
        >>> append_entry(path, NewEntry("seg", "v1", "file://seg.pth", "ab" * 32, 3))
        >>> path.read_text().splitlines()[:3]
        ['# Our models', '', 'seg:']
    """
    if not entry.is_complete:
        some = [*entry.members[:5], *(["..."] if len(entry.members) > 5 else [])]
        raise ValueError(
            f"nobody has chosen what of the {len(entry.members)} files in {public_url(entry.url)} "
            f"is wanted: {', '.join(some)}; pass target="
        )
    content = appended(manifest, entry)
    with whole_file(manifest) as draft:
        draft.write_bytes(content)


def appended(manifest: str | os.PathLike[str], entry: NewEntry) -> bytes:
    """Return what a manifest would hold with `entry` at its end.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If `append_entry` would refuse, whatever is left to choose in `entry`.
        OSError: If the manifest cannot be read.
    """
    where = os.fspath(manifest)
    try:
        old = Path(manifest).read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no manifest at {where}") from error
    before = manifests.parse(old, where)
    _refuse_known(before, entry)
    if old and not old.endswith(b"\n"):
        raise ValueError(f"{where} does not end in a newline; add one, so that an entry can follow")
    text = ("\n" if old else "") + entry.to_yaml()
    new = old + (text.replace("\n", "\r\n") if old.endswith(b"\r\n") else text).encode()
    try:
        after = manifests.parse(new, where)
    except ValueError as error:
        raise ValueError(_by_hand(where, f"then it would not load: {error}")) from error
    added = after.entries.pop(entry.model, None)
    meant = manifests.parse(entry.to_yaml()).entries[entry.model].value
    if added is None or not (_same(before, after, set()) and _same(added.value, meant, set())):
        raise ValueError(_by_hand(where, "then it would mean something else"))
    return new


def _by_hand(where: str, reason: str) -> str:
    return (
        f"{where}: a model cannot be put at its end, {reason}. Add it by hand, or write the models "
        f"in block style: each name at the beginning of a line, without braces around all"
    )


def _refuse_known(root: Mapping, entry: NewEntry) -> None:
    known = root.entries.get(entry.model)
    if known is None:
        return
    versions = known.value.get("versions") if isinstance(known.value, Mapping) else None
    if isinstance(versions, Mapping) and entry.version in versions.entries:
        raise versions.entries[entry.version].key.place.error(
            f"model {entry.model!r} has a version {entry.version!r} already"
        )
    raise known.key.place.error(
        f"there is a model {entry.model!r} already; only a new one can be put at the end, add "
        f"version {entry.version!r} by hand"
    )


def _same(a: Node, b: Node, seen: set[tuple[int, int]]) -> bool:
    """Whether two nodes say the same, wherever they stand; aliased ones are compared once."""
    if (id(a), id(b)) in seen:
        return True
    seen.add((id(a), id(b)))
    if isinstance(a, Scalar):
        return isinstance(b, Scalar) and (a.text, a.style) == (b.text, b.style)
    if isinstance(a, Sequence):
        return (
            isinstance(b, Sequence)
            and len(a.items) == len(b.items)
            and all(_same(x, y, seen) for x, y in zip(a.items, b.items, strict=True))
        )
    return (
        isinstance(b, Mapping)
        and list(a.entries) == list(b.entries)
        and all(_same(a.entries[key].value, b.entries[key].value, seen) for key in a.entries)
    )
