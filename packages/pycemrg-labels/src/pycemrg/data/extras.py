"""Libraries that come with an extra of the distribution, looked for where they are needed."""

import importlib


def need(extra: str, what: str, *libraries: str) -> None:
    """Import libraries, or say what to install.

    Args:
        extra: The extra that brings them, such as ``volumes``.
        what: What needs them, as the begin of a sentence.
        libraries: The names that they are imported by.

    Raises:
        ImportError: If one is missing.

    Example:
        >>> need("volumes", "reading a volume", "json", "no_such_library")
        Traceback (most recent call last):
            ...
        ImportError: reading a volume needs no_such_library; install it with: \
python -m pip install 'pycemrg-labels[volumes]'
    """
    for library in libraries:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise ImportError(
                f"{what} needs {library}; "
                f"install it with: python -m pip install 'pycemrg-labels[{extra}]'"
            ) from error
