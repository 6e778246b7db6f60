"""Findings in a manifest that can be loaded."""

from typing import NamedTuple

from pycemrg.core.manifests import Place


class Problem(NamedTuple):
    """One finding in a manifest.

    Attributes:
        code: A stable identifier in kebab-case, by which programs tell findings apart.
        severity: ``"error"`` if something in the manifest cannot be used because of it, else
            ``"warning"``.
        place: Where it stands, None if it came from the caller and not from the file.
        message: What is wrong and what would be right.

    Example:
        >>> print(Problem("no-default", "warning", Place("models.yaml", 3, 1), "no 'default'"))
        models.yaml:3:1: no 'default'
    """

    code: str
    severity: str
    place: Place | None
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message
