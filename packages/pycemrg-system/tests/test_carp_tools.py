import logging
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from pycemrg.system.carp_tools import NUMBER, PYTHON, TOOLS, Found, Probe, Tool

OPENCARP, BENCH, MESHTOOL, MPIRUN = (
    next(tool for tool in TOOLS if tool.names[0] == name)
    for name in ("openCARP", "bench", "meshtool", "mpirun")
)

# What `openCARP -buildinfo` and others write, made up after what they are known to look like.
BUILD_INFO = """\
*** GIT tag:              v18.1
*** GIT hash:             6eaa147d
*** GIT repo:             https://ci-token:s3cret@git.example.org/openCARP.git
"""


@pytest.fixture
def probe(make_program, tmp_path: Path) -> Probe:
    folder = tmp_path / "empty"
    folder.mkdir()
    return Probe({"PATH": f"{make_program.folder}:/usr/bin:/bin"}, folder, timeout=30.0)


def says(text: str, then: str = "exit 0") -> str:
    return f"#!/bin/sh\nprintf '%s\\n' '{text}'\n{then}\n"


def test_opencarp_tells_its_tag_and_nothing_else(make_program, probe, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    path = make_program("openCARP", says(BUILD_INFO, then='[ "$1" = -buildinfo ] && [ $# = 1 ]'))
    assert probe.find(OPENCARP) == Found(path, "v18.1")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("tool", "name", "said", "version"),
    [
        pytest.param(BENCH, "bench", "bench 1.8", "1.8", id="bench"),
        pytest.param(MPIRUN, "mpirun", "mpirun (Open MPI) 4.1.4\n", "4.1.4", id="open-mpi"),
        pytest.param(MPIRUN, "mpiexec", "HYDRA:\n    Version: 4.0.2\n", "4.0.2", id="mpich"),
        pytest.param(PYTHON, "python", "Python 3.13.0rc1", "3.13.0rc1", id="python"),
        pytest.param(OPENCARP, "openCARP", "*** GIT tag:\n*** GIT hash: 1.2", "", id="no-tag"),
        pytest.param(MESHTOOL, "meshtool", "meshtool smooth -smth=0.15", "", id="a-help"),
        pytest.param(BENCH, "bench", "no number", "", id="no-number"),
    ],
)
def test_a_version_is_taken_from_what_a_tool_says(
    make_program, probe, tmp_path, tool, name, said, version
) -> None:
    make_program(name, says(said))
    only_ours = Probe({"PATH": str(make_program.folder)}, tmp_path)
    assert only_ours.find(tool) == Found(make_program.folder / name, version)


def test_a_version_on_stderr_is_one_too(make_program, probe) -> None:
    path = make_program("python", "#!/bin/sh\necho Python 2.7.18 >&2\n")
    assert probe.find(PYTHON) == Found(path, "2.7.18")


def test_the_first_name_that_is_there_counts(make_program, probe) -> None:
    second = make_program("carp-b", says("carp 2.0"))
    tool = Tool(("carp-a", "carp-b"), "", (), NUMBER)
    assert probe.find(tool) == Found(second, "2.0")
    first = make_program("carp-a", says("carp 1.0"))
    assert probe.find(tool) == Found(first, "1.0")


def test_what_is_not_there_is_not_found(make_program, probe) -> None:
    make_program("meshtool", says("help"), mode=0o644)
    assert probe.find(MESHTOOL) == Found(None)
    assert Probe({}, Path("/")).find(MESHTOOL) == Found(None)


def test_a_tool_that_would_do_something_is_not_started(make_program, probe, tmp_path) -> None:
    for tool in TOOLS:
        if tool.arguments is None:
            path = make_program(tool.names[0], f"#!/bin/sh\ntouch {tmp_path}/started\n")
            assert probe.find(tool) == Found(path)
    assert not (tmp_path / "started").exists()


def test_tools_run_in_the_folder_and_with_the_environment_that_they_are_given(
    make_program, tmp_path
) -> None:
    (tmp_path / "case").mkdir()
    make_program("bench", '#!/bin/sh\necho "$PWD" > here\necho "$MARK"\n')
    environment = {"PATH": f"{make_program.folder}:/usr/bin:/bin", "MARK": "bench 1.5"}
    assert Probe(environment, tmp_path / "case").find(BENCH).version == "1.5"
    assert (tmp_path / "case" / "here").read_text() == f"{tmp_path}/case\n"


def test_a_relative_folder_in_a_path_is_one_of_this_process(
    make_program, tmp_path, monkeypatch
) -> None:
    path = make_program("bench", says("bench 1.5"))
    monkeypatch.chdir(tmp_path)
    assert Probe({"PATH": "programs"}, Path("/")).find(BENCH) == Found(path, "1.5")


@pytest.mark.parametrize(
    "words",
    [
        "openCARP: error while loading shared libraries: libpetsc.so.3.18: cannot open file",
        "openCARP: /lib/libc.so.6: version `GLIBC_2.38' not found (required by openCARP)",
        "openCARP: symbol lookup error: openCARP: undefined symbol: VecView",
        "dyld[814]: Library not loaded: @rpath/libsundials_cvode.7.dylib",
        "Error loading shared library libmpi.so.40: No such file or directory",
    ],
)
@pytest.mark.parametrize("tool", [OPENCARP, MESHTOOL], ids=["openCARP", "meshtool"])
def test_a_missing_library_is_named(make_program, probe, tool, words) -> None:
    text = f"#!/bin/sh\ncat >&2 <<'END'\n*** banner\n{words}\nEND\nexit 127\n"
    path = make_program(tool.names[0], text)
    assert probe.find(tool) == Found(path, fault=words)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the loader of glibc")
def test_the_loader_really_says_so(make_program, tmp_path: Path) -> None:
    libraries = tmp_path / "lib"
    libraries.mkdir()
    (libraries / "libc.so.6").write_bytes(b"this is no library, and it comes first\n" * 10)
    (make_program.folder / "bench").symlink_to("/bin/true")
    environment = {"PATH": str(make_program.folder), "LD_LIBRARY_PATH": str(libraries)}
    found = Probe(environment, tmp_path).find(BENCH)
    assert found.path == make_program.folder / "bench"
    assert "error while loading shared libraries" in found.fault
    assert "libc.so.6" in found.fault


def test_an_option_that_a_tool_does_not_know_is_no_fault(make_program, probe) -> None:
    path = make_program("meshtool", "#!/bin/sh\necho unknown mode >&2\nexit 1\n")
    assert probe.find(MESHTOOL) == Found(path)
    path = make_program("openCARP", "#!/bin/sh\necho https://a:b@c >&2\nexit 3\n")
    fault = "asked for its version, it failed with exit code 3"
    assert probe.find(OPENCARP) == Found(path, fault=fault)


def test_a_tool_that_crashes_cannot_start_or_hangs_says_so(make_program, probe, tmp_path) -> None:
    path = make_program("meshtool", "#!/bin/sh\nkill -SEGV $$\n")
    fault = "asked for its version, it was ended by SIGSEGV"
    assert probe.find(MESHTOOL) == Found(path, fault=fault)
    make_program("meshtool", "#!/opt/old/venv/bin/python\n")
    assert "its interpreter '/opt/old/venv/bin/python' is not" in probe.find(MESHTOOL).fault
    make_program("meshtool", "neither script nor program\n")
    assert "could not be started" in probe.find(MESHTOOL).fault
    make_program("meshtool", "#!/bin/sh\nexec sleep 600\n")
    hasty = Probe({"PATH": f"{make_program.folder}:/bin"}, tmp_path, timeout=0.2)
    assert hasty.find(MESHTOOL) == Found(path, fault="it does not answer within 0.2 s")


def test_a_tool_that_floods_is_bounded(make_program, probe) -> None:
    flood = "head -c 30000000 /dev/zero"
    path = make_program("bench", says("bench 1.5", then=f"{flood}; {flood} >&2"))
    tracemalloc.start()
    assert probe.find(BENCH) == Found(path, "1.5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.fixture
def carputils(tmp_path: Path) -> Path:
    package = tmp_path / "python" / "carputils"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('it must not be imported')\n")
    return package


def test_carputils_is_found_and_not_imported(carputils, tmp_path) -> None:
    python = Path(sys.executable)
    assert Probe({}, tmp_path).find_carputils(python) == Found(None)
    probe = Probe({"PYTHONPATH": str(carputils.parent)}, tmp_path)
    assert probe.find_carputils(python) == Found(carputils)
    metadata = carputils.parent / "carputils-19.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: carputils\nVersion: 19.0\n")
    assert probe.find_carputils(python) == Found(carputils, "19.0")


def test_a_python_that_cannot_tell_is_named(make_program, tmp_path) -> None:
    python = make_program("python", "#!/bin/sh\nexit 1\n")
    found = Probe({}, tmp_path).find_carputils(python)
    assert found == Found(None, fault=f"{python} failed with exit code 1")
    make_program("python", "#!/bin/sh\nexec sleep 600\n")
    found = Probe({"PATH": os.defpath}, tmp_path, timeout=0.2).find_carputils(python)
    assert found == Found(None, fault=f"{python}: it does not answer within 0.2 s")
