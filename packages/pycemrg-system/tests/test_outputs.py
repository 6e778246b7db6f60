import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from pycemrg.system import CommandRunner, outputs


@pytest.fixture
def case(tmp_path: Path) -> Path:
    folder = tmp_path / "case"
    folder.mkdir()
    return folder


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_outputs_are_found_in_the_folder_that_the_command_runs_in(case: Path) -> None:
    result = CommandRunner().execute(
        ["sh", "-c", "echo 0 > heart.pts; mkdir sim; echo 1 > sim/vm.igb"],
        expected_outputs=["heart.pts", Path("sim/vm.igb"), case / "sim"],
        cwd=case,
    )
    assert result.outputs == (case / "heart.pts", case / "sim" / "vm.igb", case / "sim")


def test_relative_outputs_without_cwd_are_found_in_the_current_folder(case, monkeypatch) -> None:
    monkeypatch.chdir(case)
    result = CommandRunner().execute(["touch", "a"], expected_outputs=["a"])
    assert result.outputs == (case / "a",)


def test_a_relative_cwd_counts_once(case: Path, monkeypatch) -> None:
    monkeypatch.chdir(case.parent)
    result = CommandRunner().execute(["touch", "a"], expected_outputs=["a"], cwd="case")
    assert result.outputs == (case / "a",)


def test_all_missing_outputs_are_named_with_what_is_there_instead(case: Path) -> None:
    (case / "empty").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        CommandRunner().run(
            ["touch", "there", "heart_vm.igb"],
            ["there", "heart-vm.igb", "empty/a.vtk", "gone/b.vtk", "zzz"],
            cwd=case,
        )
    text = str(caught.value)
    assert f"\n  {case}/heart-vm.igb; there is heart_vm.igb" in text
    assert f"\n  {case}/empty/a.vtk; its folder is empty" in text
    assert f"\n  {case}/gone/b.vtk; its folder cannot be read: No such file" in text
    assert f"\n  {case}/zzz; its folder holds empty, heart_vm.igb, there" in text
    assert "\n  " + str(case / "there") not in text
    assert text.startswith("touch there heart_vm.igb ")


def test_a_link_to_nothing_is_missing(case: Path) -> None:
    with pytest.raises(FileNotFoundError, match="link"):
        CommandRunner().run(["ln", "-s", "nowhere", "link"], ["link"], cwd=case)


def test_an_output_of_yesterday_is_warned_of(case: Path, caplog) -> None:
    old = case / "old.vtk"
    old.write_text("yesterday")
    assert CommandRunner().run(["echo", "done"], [old]) == "done\n"
    [warning] = warnings(caplog)
    assert "not touched" in warning
    assert str(old) in warning


def test_an_output_of_yesterday_is_an_error_if_fresh_ones_are_asked_for(case: Path) -> None:
    for name in ("a", "b", "c"):
        (case / name).write_text(name)
    with pytest.raises(FileNotFoundError, match="not touched") as caught:
        CommandRunner().run(["touch", "b"], ["a", "b", "c"], cwd=case, fresh_outputs=True)
    assert str(caught.value).endswith(f"\n  {case}/a\n  {case}/c")


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("cp -p before out", id="cp-p"),
        pytest.param("mv before out", id="mv"),
        pytest.param("touch -d '2001-01-01' out", id="touch-d"),
        pytest.param("cat before > out", id="same-bytes"),
        pytest.param("ln -f before out", id="link"),
    ],
)
def test_an_output_that_the_command_wrote_is_fresh(case: Path, caplog, command: str) -> None:
    (case / "out").write_text("same bytes")
    shutil.copy2(case / "out", case / "before")
    os.utime(case / "before", (1e9, 1e9))
    os.utime(case / "out", (1e9, 1e9))
    CommandRunner().run(["sh", "-c", command], ["out"], cwd=case, fresh_outputs=True)
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("age", "pause"),
    [
        pytest.param(0.005, 0.015, id="just-written"),
        pytest.param(0.5, None, id="old-enough"),
        pytest.param(-0.5, None, id="from-a-clock-ahead"),
    ],
)
def test_a_command_waits_until_rewriting_an_output_would_show(
    case: Path, monkeypatch, age: float, pause: float | None
) -> None:
    # Many file systems stamp two writes within one tick of the clock alike.
    out = case / "out"
    out.touch()
    now = out.stat().st_ctime_ns / 1e9 + age
    pauses: list[float] = []
    monkeypatch.setattr(outputs, "time", SimpleNamespace(time=lambda: now, sleep=pauses.append))
    CommandRunner().run(["touch", out], [out], fresh_outputs=True)
    assert pauses == ([] if pause is None else [pytest.approx(pause, abs=1e-5)])


def test_a_folder_is_only_asked_to_exist(case: Path, caplog) -> None:
    CommandRunner().run(["true"], [case], fresh_outputs=True)
    assert warnings(caplog) == []


def test_outputs_are_looked_at_also_when_the_failure_is_ignored(case: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.vtk"):
        CommandRunner().run(
            ["sh", "-c", "echo known bug >&2; exit 1"], ["a.vtk"], case, ["known bug"]
        )


def test_a_failure_is_told_rather_than_its_missing_outputs(case: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 3"):
        CommandRunner().run(["sh", "-c", "exit 3"], ["a.vtk"], case)
