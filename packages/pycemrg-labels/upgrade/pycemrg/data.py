"""Found by Python only if an upgrade from 0.1.x has removed the package of this name."""

raise ImportError(
    "upgrading pycemrg from 0.1.x removed files of version 1; repair the installation with: "
    "python -m pip install --force-reinstall --no-deps "
    "pycemrg-core pycemrg-labels pycemrg-models pycemrg-system pycemrg-cli"
)
