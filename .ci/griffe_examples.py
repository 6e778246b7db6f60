"""An extension of griffe, for the site: shows ``Example:`` in docstrings as code.

Google's style has one name for the section, and griffe knows ``Examples:`` only. What stands under
the other it takes for prose, in which ``>>>`` are three quotations within one another.
"""

import re
from typing import Any

import griffe


class OneExample(griffe.Extension):
    """Calls the section of each docstring as griffe knows it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a module, class, function or attribute that was loaded."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
