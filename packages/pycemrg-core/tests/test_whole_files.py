import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pycemrg.core.whole_files import whole_file, write_whole


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_under_its_name_only_when_the_block_ends(tmp_path):
    final = tmp_path / "mesh.elem"
    with whole_file(final) as draft:
        draft.write_text("half")
        assert not final.exists()
        draft.write_text("whole")
    assert final.read_text() == "whole"
    assert names_in(tmp_path) == ["mesh.elem"]


def test_an_error_in_the_block_leaves_the_old_file_and_no_draft(tmp_path):
    final = tmp_path / "mesh.elem"
    final.write_text("old")
    with pytest.raises(RuntimeError, match="mesher"), whole_file(final) as draft:
        draft.write_text("half of the new")
        raise RuntimeError("mesher failed")
    assert final.read_text() == "old"
    assert names_in(tmp_path) == ["mesh.elem"]


def test_the_draft_keeps_the_suffix_that_writers_choose_a_format_by(tmp_path):
    with whole_file(tmp_path / "case.nii.gz") as draft:
        assert draft.name.endswith("case.nii.gz")
        assert draft.parent == tmp_path
        draft.touch()


def test_an_existing_file_is_refused_unless_it_may_be_overwritten(tmp_path):
    final = tmp_path / "labels.yaml"
    final.write_text("old")
    with pytest.raises(FileExistsError, match=r"labels\.yaml already exists; pass overwrite=True"):
        write_whole(final, "new", overwrite=False)
    assert final.read_text() == "old"
    write_whole(final, "new")
    assert final.read_text() == "new"


def test_a_file_that_another_process_makes_meanwhile_is_not_overwritten(tmp_path):
    final = tmp_path / "labels.yaml"
    with pytest.raises(FileExistsError), whole_file(final, overwrite=False) as draft:
        draft.write_text("ours")
        final.write_text("theirs")
    assert final.read_text() == "theirs"
    assert names_in(tmp_path) == ["labels.yaml"]


def test_where_hard_links_are_refused_the_file_is_renamed(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_whole(tmp_path / "labels.yaml", "labels: {}", overwrite=False)
    assert (tmp_path / "labels.yaml").read_text() == "labels: {}"
    assert names_in(tmp_path) == ["labels.yaml"]


def test_of_many_writers_that_may_not_overwrite_exactly_one_wins(tmp_path):
    final = tmp_path / "labels.yaml"
    start = threading.Barrier(8)
    wins = []

    def write(number):
        start.wait()
        try:
            write_whole(final, str(number), overwrite=False)
            wins.append(number)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number) for number in wins] == [final.read_text()]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_new_file_follows_the_umask_and_a_replaced_one_keeps_its_mode(tmp_path):
    script = (
        "import os, sys; os.umask(0o027)\n"
        "from pycemrg.core.whole_files import write_whole\n"
        "write_whole(sys.argv[1], 'x')"
    )
    for name, mode in ("new", None), ("old", 0o664):
        path = tmp_path / name
        if mode:
            path.touch()
            path.chmod(mode)
        subprocess.run([sys.executable, "-c", script, path], check=True)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o664


@pytest.mark.skipif(os.name != "posix", reason="symbolic links of POSIX")
def test_a_symbolic_link_stays_a_link_to_the_new_content(tmp_path):
    (tmp_path / "data").mkdir()
    target = tmp_path / "data" / "labels.yaml"
    target.write_text("old")
    link = tmp_path / "labels.yaml"
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_missing_folders_are_made(tmp_path):
    write_whole(tmp_path / "a" / "b" / "labels.yaml", "x")
    assert (tmp_path / "a" / "b" / "labels.yaml").read_text() == "x"


def test_newlines_are_written_as_they_are(tmp_path):
    write_whole(tmp_path / "mixed", "a\nb\r\n")
    assert (tmp_path / "mixed").read_bytes() == b"a\nb\r\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    final = tmp_path / "mesh.elem"
    final.write_text("old")
    script = (
        "import sys, time\n"
        "from pycemrg.core.whole_files import whole_file\n"
        "with whole_file(sys.argv[1]) as draft:\n"
        "    draft.write_text('half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, final]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        child.kill()
    assert final.read_text() == "old"


def test_a_path_may_be_given_as_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole("labels.yaml", "x")
    assert Path("labels.yaml").read_text() == "x"


@pytest.mark.parametrize("parent", ["file", "file/folder"])
def test_a_file_in_the_place_of_a_folder_is_called_that(tmp_path, parent):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_whole(tmp_path / parent / "labels.yaml", "x")


def test_a_file_that_cannot_be_flushed_is_not_put_in_place(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "labels.yaml").write_text("old")
    with pytest.raises(OSError, match="quota"):
        write_whole(tmp_path / "labels.yaml", "new")
    assert (tmp_path / "labels.yaml").read_text() == "old"
    assert names_in(tmp_path) == ["labels.yaml"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
def test_a_file_system_that_cannot_flush_is_no_obstacle(tmp_path, monkeypatch, code):
    def cannot(_):
        raise OSError(code, "cannot sync")

    monkeypatch.setattr(os, "fsync", cannot)
    write_whole(tmp_path / "labels.yaml", "new")
    assert (tmp_path / "labels.yaml").read_text() == "new"


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_in_the_place_of_the_file_is_called_that(tmp_path, overwrite):
    with pytest.raises(IsADirectoryError, match="is a folder; a file was expected"):
        write_whole(tmp_path, "x", overwrite=overwrite)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a device or pipe"):
        write_whole(tmp_path / "pipe", "x")
    assert (tmp_path / "pipe").is_fifo()


def test_an_error_names_the_file_and_not_the_draft(tmp_path):
    final = tmp_path / "mesh.elem"
    with pytest.raises(OSError, match="No space left") as caught, whole_file(final):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"[Errno {errno.ENOSPC}] No space left on device: '{final}'"
    with pytest.raises(FileNotFoundError) as caught, whole_file(final):
        pass
    assert str(caught.value).endswith(f"No such file or directory: '{final}'")


def test_an_error_of_the_rename_names_the_file_and_not_the_draft(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(errno.EPERM, "Operation not permitted", str(source), None, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError) as caught:
        write_whole(tmp_path / "labels.yaml", "x")
    assert str(caught.value).endswith(f"Operation not permitted: '{tmp_path / 'labels.yaml'}'")
