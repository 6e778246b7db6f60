"""Which variables of an environment may be written down: those that matter, and no secret."""

import re
from collections.abc import Mapping

MATTERS = re.compile(
    r"PATH|LD_LIBRARY_PATH|LD_PRELOAD|DYLD_\w+|PYTHONPATH|PYTHONHOME|VIRTUAL_ENV|CONDA_\w+|LANG|LC_\w+"
    r"|TMPDIR|HOME|OMP_\w+|MKL_\w+|OPENBLAS_\w+|NUMEXPR_\w+|OMPI_\w+|OPAL_\w+|PMIX?_\w+|MPI\w*"
    r"|I_MPI_\w+|UCX_\w+|PETSC_\w+|SLEPC_\w+|CARP\w*|OPENCARP_\w+|MESHTOOL_\w+|CUDA_\w+"
    r"|NVIDIA_VISIBLE_DEVICES|HIP_\w+|ROCR_\w+|SLURM_\w+|PBS_\w+|LSB_\w+|PYCEMRG_\w+|nnUNet_\w+",
    re.ASCII,
)
"""What decides which program runs, on how many cores, with which data."""

SECRET = re.compile(r"TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|JWT|COOKIE|SESSION|KEY", re.IGNORECASE)
"""What the name of a secret looks like."""

# A password may hold @, and that of an object store often holds /, whatever RFC 3986 says; what
# follows a host is a port and no password.
_USER_OF_URL = re.compile(r"(?<=://)([^/\s]*|[^/\s:@]*:(?!//|\d+/)[^\s@]*)@")


def chosen(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that matter, sorted, without secrets and without passwords in URLs.

    Example:
        >>> chosen({"OMP_NUM_THREADS": "2", "SLURM_JWT": "eyJh", "EDITOR": "vi"})
        {'OMP_NUM_THREADS': '2'}
    """
    return {
        name: _USER_OF_URL.sub("", value)
        for name, value in sorted(environment.items())
        if MATTERS.fullmatch(name) and not SECRET.search(name)
    }
