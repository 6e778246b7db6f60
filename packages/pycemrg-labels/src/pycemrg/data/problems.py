"""What is wrong with a label manifest although it can be loaded."""

from pycemrg.core import problems


class Problem(problems.Problem):
    """One finding in a label manifest.

    Attributes:
        code: A stable identifier: ``undefined-member``, ``group-cycle``, ``unknown-name`` (errors),
            ``repeated-value``, ``label-and-group``, ``empty-group``, ``unknown-label``,
            ``faulty-colors``, ``faulty-codes`` or ``faulty-aliases`` (warnings).
        severity: ``"error"`` if resolving a name fails because of it, else ``"warning"``.
        place: Where it stands, None if it came from the caller and not from the file.
        message: What is wrong and what would be right.
    """

    __slots__ = ()

    def error(self) -> Exception:
        """Return what resolving a name raises: ValueError for a cycle, else KeyError."""
        return ValueError(str(self)) if self.code == "group-cycle" else KeyError(str(self))
