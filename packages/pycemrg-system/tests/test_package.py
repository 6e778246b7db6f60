import subprocess
import sys

import pycemrg.system

HEAVY = ["asyncio", "concurrent.futures", "filelock", "multiprocessing", "numpy", "tqdm", "yaml"]


def test_the_package_is_light_to_import() -> None:
    code = f"import sys, pycemrg.system; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_every_name_on_offer_exists() -> None:
    assert all(hasattr(pycemrg.system, name) for name in pycemrg.system.__all__)
