import pytest

from pycemrg.system.environment import chosen


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PGPASSWORD", "SLURM_JWT", "OMPI_AUTH_COOKIE"),
        *("CARP_API_KEY", "PYCEMRG_TOKEN", "CONDA_TOKEN", "SSH_AUTH_SOCK", "MPI_PASSWD"),
        *("PETSC_private_key", "SLURM_KEY", "nnUNet_secret", "CUDA_CREDENTIALS", "OMP_SESSION_ID"),
    ],
)
def test_what_looks_like_a_secret_is_not_written_down(name):
    assert chosen({name: "s3cr3t"}) == {}


def test_what_decides_how_a_solver_runs_is_written_down():
    environment = {
        "PATH": "/opt/carp/bin:/usr/bin",
        "LD_LIBRARY_PATH": "/opt/carp/lib",
        "OMP_NUM_THREADS": "4",
        "CUDA_VISIBLE_DEVICES": "0,1",
        "SLURM_JOB_ID": "17",
        "CARPENTRY_LICENSE": "/opt/carp/license.bin",
        "CARPUTILS_SETTINGS": "/opt/carp/settings.yaml",
        "OPAL_PREFIX": "/opt/carp/openmpi",
        "PETSC_DIR": "/opt/petsc",
    }
    noise = {"EDITOR": "vi", "HTTPS_PROXY": "http://me:s3cr3t@proxy", "PS1": "$ ", "PATHS": "x"}
    assert chosen({**noise, **environment}) == environment


def test_a_password_in_an_address_is_left_out():
    url = "postgres://me:s3cr3t@db.example/cases"
    assert chosen({"PYCEMRG_CACHE_DIR": url}) == {
        "PYCEMRG_CACHE_DIR": "postgres://db.example/cases"
    }


def test_names_come_in_order():
    assert list(chosen({"OMP_B": "", "LANG": "", "OMP_A": ""})) == ["LANG", "OMP_A", "OMP_B"]
