"""Print the distribution that a release tag names: `python .ci/release_tag.py pycemrg-core-v1.2.3`.

The tag is the distribution, "-v" and the version that stands in its pyproject.toml.
"""

import sys
import tomllib
from pathlib import Path

PACKAGES = Path(__file__).parents[1] / "packages"


def distribution_of(tag: str) -> str:
    """Return the distribution that a tag names, if the tag gives its version."""
    name, _, version = tag.rpartition("-v")
    members = sorted(path.parent.name for path in PACKAGES.glob("*/pyproject.toml"))
    if name not in members:
        sys.exit(f"{tag!r} names none of: {', '.join(f'{member}-v...' for member in members)}")
    project = tomllib.loads((PACKAGES / name / "pyproject.toml").read_text("utf-8"))["project"]
    if version != project["version"]:
        sys.exit(f"{tag!r}: packages/{name}/pyproject.toml has version {project['version']}")
    return name


if __name__ == "__main__":
    sys.stdout.write(distribution_of(sys.argv[1]) + "\n")
