"""Class maps of TotalSegmentator, ``.py`` and ``.json``: dictionaries ``{1: "spleen", ...}``.

Source: https://github.com/wasserth/TotalSegmentator, totalsegmentator/map_to_binary.py (the maps as
Python, by task: ``class_map = {"total": {1: "spleen", ...}, ...}``) and ``totalseg_info``, which
prints them as JSON: ``{"1": "spleen", ...}`` of one task, or
``{"tasks": {"total": {"classes": {"1": "spleen", ...}}}}`` of all.

- A ``.json`` file is read as JSON, any other as Python. Python is never run: a map is a dictionary
  of integers and names as it stands in the file, called by its key in the dictionary around it or
  by its variable. Maps that the file only computes (a copy with changes) are not seen.
- Of a file with several maps, the one of the task ``total`` is read if no other is asked for.
"""

import ast
import io
import json
import os
import re
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pycemrg.core.manifests import Mapping, Node, Place, Scalar
from pycemrg.core.near_names import did_you_mean
from pycemrg.core.whole_files import write_whole
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables import json_nodes
from pycemrg.data.tables.lines import Field, integer, lines, read_text
from pycemrg.data.tables.selection import Capacity, select, unless_empty
from pycemrg.data.tables.standard import Standard

DEFAULT_TASK = "total"

# `name =`, `name: dict[int, str] =` or `name["key"] =`
_ASSIGNED = re.compile(
    r"""(?P<variable>\w+)(\[\s*["'](?P<key>[^"']*)["']\s*\])?\s*(:.*)?=\s*$""", re.DOTALL
)
_LAYOUT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}


class ClassMap(NamedTuple):
    """A map as it stands in a file: its task, and value and name of each class."""

    place: Place
    task: str
    classes: list[tuple[Field, str]]


def read(path: str | os.PathLike[str], *, task: str | None = None) -> LabelManager:
    r"""Read a class map.

    Args:
        path: A Python or a JSON file.
        task: Which of several maps; if it is not given, the only one or that of ``total``.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is neither Python nor JSON; if it has no class map, none of this task, or
            several of which none is ``total``; if a value is no integer, or a name stands twice.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "maps.py")
        >>> _ = path.write_text('class_map = {"total": {51: "heart"}, "body": {1: "trunc"}}\n')
        >>> read(path).to_dict(), read(path, task="body").to_dict()
        ({'labels': {'heart': 51}}, {'labels': {'trunc': 1}})
    """
    source = os.fspath(path)
    text = read_text(path)
    is_json = _is_json(path)
    maps = _from_json(json_nodes.parse(text, source)) if is_json else _from_python(text, source)
    chosen = _choose(list(maps), task, source)
    standard = Standard(source)
    for value, name in chosen.classes:
        if name:
            standard.add(value.place, name, integer(value, "a class"))
    return standard.manager()


def write(
    labels: LabelManager,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    task: str = DEFAULT_TASK,
) -> list[str]:
    """Write a class map and return what was lost, a sentence each.

    Groups, colours, codes and aliases are lost. Of several names of a value the last is written.

    Args:
        labels: The standard.
        path: A ``.json`` file gets ``{"1": "spleen"}``, any other the Python of
            ``class_map = {task: {1: "spleen"}}``.
        overwrite: Whether an existing file may be replaced.
        task: What the map is called in Python.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If an annotation of the manifest is none.
    """
    rows, losses = select(labels, _CAPACITY)
    names = {row.value: row.written for row in rows}
    if _is_json(path):
        text = json.dumps(names, indent=4, ensure_ascii=False) + "\n"
    else:
        classes = [f"        {value}: {_quoted(name)},\n" for value, name in names.items()]
        text = f"class_map = {{\n    {_quoted(task)}: {{\n{''.join(classes)}    }},\n}}\n"
    write_whole(path, text, overwrite=overwrite)
    return losses


def recognises(text: str) -> bool:
    """Return whether a text looks like JSON with class maps."""
    root = json_nodes.peek(text)
    if root is None:
        return False
    # A dataset.json of nnU-Net has maps of integers and names too, of labels and channels.
    return not (isinstance(root, Mapping) and root.get("labels")) and any(_from_json(root))


def _is_json(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() == ".json"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _choose(maps: list[ClassMap], task: str | None, source: str) -> ClassMap:
    known = list(dict.fromkeys(found.task for found in maps))
    if task is None:
        task = known[0] if len(known) == 1 else DEFAULT_TASK
    found = [candidate for candidate in maps if candidate.task == task]
    if len(found) == 1:
        return found[0]
    if found:
        where = " and ".join(str(candidate.place.line) for candidate in found)
        raise ValueError(f"{source}: the class map of {task!r} stands at lines {where}; keep one")
    if not known:
        raise ValueError(f'{source}: no class map here, which is a map such as {{1: "spleen"}}')
    question = did_you_mean(task, known)
    raise ValueError(
        f"{source}: no class map of the task {task!r}{question}; pass task= one of: "
        f"{', '.join(known)}"
    )


def _from_json(root: Node) -> Iterator[ClassMap]:
    if _is_class_map(root):
        yield _json_map("", root)
        return
    tasks = root.get("tasks") if isinstance(root, Mapping) else None
    holder = tasks or root
    for key, node in holder if isinstance(holder, Mapping) else ():
        classes = node.get("classes") if isinstance(node, Mapping) else None
        if _is_class_map(classes or node):
            yield _json_map(key.text, classes or node)


def _is_class_map(node: Node) -> bool:
    if not isinstance(node, Mapping) or not node.entries:
        return False
    key, value = next(iter(node))
    return key.text.lstrip("-").isdecimal() and isinstance(value, Scalar) and not value.plain


def _json_map(task: str, node: Node) -> ClassMap:
    classes = []
    for key, value in node if isinstance(node, Mapping) else ():
        if not isinstance(value, Scalar) or value.plain:
            raise value.place.error("expected the name of a class in double quotes")
        classes.append((Field(key.place, key.text), value.text))
    return ClassMap(node.place, task, classes)


def _from_python(text: str, source: str) -> Iterator[ClassMap]:
    tokens = _tokens(text, source)
    for start, token in enumerate(tokens):
        if token.string == "{":
            entries = _entries(tokens, start + 1)
            if entries and _is_class(entries[0]):
                place = _place(token, source)
                classes = [_class(entry, source) for entry in entries]
                yield ClassMap(place, _called(tokens, start), classes)


def _tokens(text: str, source: str) -> list[tokenize.TokenInfo]:
    text = "".join(f"{line.text}\n" for line in lines(text, source))
    try:
        found = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except tokenize.TokenError as error:
        message, (line, column) = error.args
        raise Place(source, line, column + 1).error(f"not valid Python: {message}") from error
    except SyntaxError as error:
        place = Place(source, error.lineno or 1, error.offset or 1)
        raise place.error(f"not valid Python: {error.msg}") from error
    return [token for token in found if token.type not in _LAYOUT]


def _entries(tokens: list[tokenize.TokenInfo], start: int) -> list[list[tokenize.TokenInfo]]:
    """Return the tokens of each entry up to the closing brace; none if another brace opens."""
    entries: list[list[tokenize.TokenInfo]] = [[]]
    for at in range(start, len(tokens)):
        token = tokens[at]
        if token.string == "{":
            break
        if token.string == "}":
            return [entry for entry in entries if entry]
        if token.string == ",":
            entries.append([])
        else:
            entries[-1].append(token)
    return []


def _is_class(entry: list[tokenize.TokenInfo]) -> bool:
    parts = entry[1:] if entry[0].string == "-" else entry
    kinds = [token.type for token in parts]
    return kinds == [tokenize.NUMBER, tokenize.OP, tokenize.STRING] and parts[1].string == ":"


def _class(entry: list[tokenize.TokenInfo], source: str) -> tuple[Field, str]:
    place = _place(entry[0], source)
    name = _string(entry[-1].string) if _is_class(entry) else None
    if name is None:
        found = " ".join(token.string for token in entry)
        raise place.error(f'expected an integer and a name such as 1: "spleen", got {found!r}')
    return Field(place, "".join(token.string for token in entry[:-2])), name


def _string(literal: str) -> str | None:
    """Return the text of a string in Python, None if it is bytes or broken."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" is a text, whatever Python thinks of it
            value = ast.literal_eval(literal)
    except (SyntaxError, ValueError):
        return None
    return value if isinstance(value, str) else None


def _called(tokens: list[tokenize.TokenInfo], brace: int) -> str:
    """Return what a dictionary is called by its key or variable, nothing if by none."""
    before = tokens[max(brace - 2, 0) : brace]
    if [token.string for token in before[1:]] == [":"] and before[0].type == tokenize.STRING:
        return _string(before[0].string) or ""
    start = tokens[brace]
    found = _ASSIGNED.search(start.line[: start.start[1]])
    return (found["key"] or found["variable"]) if found else ""


def _place(token: tokenize.TokenInfo, source: str) -> Place:
    return Place(source, token.start[0], token.start[1] + 1)


_CAPACITY = Capacity("a TotalSegmentator class map", spell=unless_empty)
