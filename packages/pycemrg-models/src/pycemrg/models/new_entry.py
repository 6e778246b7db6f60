"""A model that is new to a manifest, and how it is written there."""

from typing import NamedTuple

MAX_LISTED = 20  # members of an archive in a comment


class NewEntry(NamedTuple):
    """A model with one version, for a manifest.

    Attributes:
        model: The name of the model.
        version: The name of the version, which is the default.
        url: Where its bytes are.
        sha256: Of these bytes, in hexadecimal.
        size: Of these bytes.
        archive: ``"zip"``, ``"tar"`` or ``"none"`` if that must be said, None if the name says it.
        target: The file or folder of an archive that is wanted; None for a file that is used as it
            is, and as long as nobody has chosen one.
        members: The files of an archive, those that look like weights first.
        remarks: What the author should know, a sentence each.
    """

    model: str
    version: str
    url: str
    sha256: str
    size: int
    archive: str | None = None
    target: str | None = None
    members: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to choose."""
        return self.target is not None or not self.members

    def to_yaml(self) -> str:
        """Return the entry as the lines of a manifest.

        If a target has yet to be chosen, a comment lists what the archive holds, and the entry does
        not load until that is done.

        Example:
            >>> print(NewEntry("seg", "1.0", "file://seg.pth", "ab12", 3).to_yaml(), end="")
            seg:
              default: '1.0'
              versions:
                '1.0':
                  url: "file://seg.pth"
                  sha256: "ab12"
        """
        version = _plain(self.version)
        lines = [
            f"{_plain(self.model)}:",
            f"  default: {version}",
            "  versions:",
            f"    {version}:",
        ]
        fields = {"url": self.url, "sha256": self.sha256, "archive": self.archive}
        fields["unzipped_target_path"] = self.target
        lines += [f"      {key}: {_quoted(value)}" for key, value in fields.items() if value]
        if not self.is_complete:
            lines += [
                "      unzipped_target_path:",
                *(f"        # {each}" for each in self._offer()),
            ]
        return "\n".join([*lines, ""])

    def _offer(self) -> list[str]:
        more = len(self.members) - MAX_LISTED
        return [
            f"Choose one of the {len(self.members)} files, a folder of them, or . for all:",
            *(_quoted(member) for member in self.members[:MAX_LISTED]),
            *([f"... and {more} more"] if more > 0 else []),
        ]


def _plain(text: str) -> str:
    """Return a text as YAML, in quotes where it could be mistaken."""
    return _dumped(text, None)


def _quoted(text: str) -> str:
    return _dumped(text, '"')


def _dumped(text: str, style: str | None) -> str:
    import yaml

    written: str = yaml.safe_dump(text, default_style=style, allow_unicode=True, width=1 << 30)
    return written.removesuffix("\n").removesuffix("\n...")
