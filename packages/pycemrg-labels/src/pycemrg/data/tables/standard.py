"""A standard as it grows while a table is read."""

from collections.abc import Sequence
from typing import Any

from pycemrg.core.manifests import Place
from pycemrg.data.annotations import Code
from pycemrg.data.colors import RGBA
from pycemrg.data.manager import LabelManager


class Standard:
    """Collects the labels of a table and refuses a name that stands twice.

    A value that stands twice is kept with both names: a manifest may have such values too, and
    `LabelManager.problems` lists them.

    Args:
        source: What stands for the table in messages.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._data: dict[str, dict[str, Any]] = {
            part: {} for part in ("labels", "groups", "colors", "codes", "aliases")
        }
        self._places: dict[str, Place] = {}

    def add(
        self,
        place: Place,
        name: str,
        value: int,
        *,
        color: RGBA | None = None,
        code: Code | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        """Add a label.

        Raises:
            ValueError: If there is a label or a group of this name already, with the line of both.
        """
        self._define(place, name)
        self._data["labels"][name] = value
        if color is not None:
            self._data["colors"][name] = color.text()
        if code is not None:
            self._data["codes"][name] = code._asdict()
        if aliases:
            self._data["aliases"][name] = list(aliases)

    def add_group(self, place: Place, name: str, members: Sequence[str]) -> None:
        """Add a group.

        Raises:
            ValueError: As for `add`.
        """
        self._define(place, name)
        self._data["groups"][name] = list(members)

    def manager(self) -> LabelManager:
        """Return the standard."""
        return LabelManager.from_dict(self._data, source=self.source)

    def _define(self, place: Place, name: str) -> None:
        first = self._places.setdefault(name, place)
        if first is not place:
            raise place.error(
                f"the name {name!r} already stands at line {first.line}; "
                "a standard has each name once, so rename one of the two"
            )
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise place.error(f"{name!r} holds half a character (a lone surrogate)") from error
