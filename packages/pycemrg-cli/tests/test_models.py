import hashlib
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest

from pycemrg.cli.app import main

pytest.importorskip("pycemrg.models", reason="pycemrg-models is not installed")

TARGET = "checkpoints/model.pth"
DAY = 86_400


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A manifest: seg has two versions, weights is a file that lies beside it."""
    for name in [name for name in os.environ if name.startswith("PYCEMRG_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYCEMRG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    versions = {
        version: {
            "url": f"file://{version}.zip",
            "sha256": zip_up(tmp_path / f"{version}.zip", {TARGET: version}),
            "unzipped_target_path": TARGET,
        }
        for version in ("v1", "v2")
    }
    (tmp_path / "weights.pth").write_text("as they are")
    manifest = {
        "seg": {"default": "v2", "versions": versions},
        "weights": {"default": "v1", "versions": {"v1": {"url": "file://weights.pth"}}},
    }
    (tmp_path / "models.yaml").write_text(json.dumps(manifest, indent=1))
    return tmp_path


def zip_up(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(*arguments):
    """Run the command in this process, as a hundred new ones would take a minute."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as caught:
        main(["models", *map(str, arguments)])
    return SimpleNamespace(
        returncode=caught.value.code, stdout=out.getvalue(), stderr=err.getvalue()
    )


def lines(done):
    """The columns of each line on stdout, after success."""
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def stored(folder, version):
    """Where the store has the weights of a version, worked out from the layout."""
    key = hashlib.sha256((folder / f"{version}.zip").read_bytes()).hexdigest()[:32]
    return folder / "cache/store-v1/objects" / key[:2] / key / "tree" / TARGET


def test_list_says_which_versions_there_are_and_where(folder):
    assert run("fetch", "models.yaml", "seg@v1").returncode == 0
    assert lines(run("list", "models.yaml")) == [
        ["seg@v1", "2", "B", str(stored(folder, "v1"))],
        ["seg@v2", "default", "-", "not", "fetched"],
        ["weights@v1", "default", "11", "B", str(folder / "weights.pth")],
    ]


def test_list_prints_versions_as_json(folder):
    assert run("fetch", "models.yaml", "seg@v1").returncode == 0
    first, second, _ = json.loads(run("list", "models.yaml", "--json").stdout)
    assert first["name"] == "seg@v1"
    assert first["path"] == str(stored(folder, "v1"))
    assert (first["size"], first["default"], first["source"]) == (2, False, "file://v1.zip")
    assert (second["path"], second["size"], second["default"]) == (None, None, True)


def test_list_shows_the_size_of_a_folder(folder):
    zip_up(folder / "two.zip", {"a/b": "12", "a/c/d": "345"})
    (folder / "two.yaml").write_text(
        "m: {default: v, versions: {v: {url: 'file://two.zip', unzipped_target_path: a}}}"
    )
    assert run("fetch", "two.yaml").returncode == 0
    assert lines(run("list", "two.yaml"))[0][2:4] == ["5", "B"]


def test_list_goes_on_after_a_faulty_entry_and_says_what_is_wrong(folder):
    (folder / "bad.yaml").write_text(
        "a: {default: v9, versions: {v1: {url: ''}, v2: {url: 'file://gone.pth'}}}\n"
        "b: {default: v1}\n"
        "c: {versions: {v1: {url: 'file://weights.pth'}}}\n"
    )
    faulty, missing, empty, good = run("list", "bad.yaml").stdout.splitlines()
    assert "bad.yaml:1:29: version 'v1' of model 'a' has no 'url'" in faulty
    assert "no file at" in missing
    assert "default" not in faulty + missing
    assert empty.split()[0] == "b"
    assert "has no 'versions'" in empty
    assert good.endswith("weights.pth")


def test_list_without_a_manifest_lists_what_is_stored(folder):
    assert run("fetch", "models.yaml", "--all").returncode == 0
    shown = lines(run("list"))
    sums = [hashlib.sha256((folder / f"{v}.zip").read_bytes()).hexdigest() for v in ("v1", "v2")]
    assert [(line[0], line[1], line[2], line[4]) for line in shown] == [
        (sums[0], "2", "B", "file://v1.zip"),
        (sums[1], "2", "B", "file://v2.zip"),
    ]
    assert shown[0][3] == time.strftime("%Y-%m-%d", time.gmtime())
    assert run("list").stderr == f"2 stored, 4 B in {folder}/cache\n"
    first = json.loads(run("list", "--json").stdout)[0]
    assert (first["sha256"], first["tree_size"], first["files"]) == (sums[0], 2, 1)


def test_list_of_a_cache_that_is_not_there_is_empty(folder):
    done = run("list", "--cache-dir", "elsewhere")
    assert (done.returncode, done.stdout) == (0, "")
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        pytest.param([], ["seg@v2", "weights@v1"], id="defaults"),
        pytest.param(["--all"], ["seg@v1", "seg@v2", "weights@v1"], id="all"),
        pytest.param(["seg"], ["seg@v2"], id="a default"),
        pytest.param(["seg@v1", "weights", "seg@v1"], ["seg@v1", "weights@v1"], id="named"),
    ],
)
def test_fetch_prints_names_and_paths(folder, arguments, names):
    paths = {f"seg@{version}": stored(folder, version) for version in ("v1", "v2")}
    paths["weights@v1"] = folder / "weights.pth"
    done = run("fetch", "models.yaml", *arguments)
    assert done.returncode == 0
    assert done.stdout == "".join(f"{name}\t{paths[name]}\n" for name in names)
    assert all(paths[name].exists() for name in names)


def test_fetch_goes_on_after_a_failure_and_says_all_in_the_end(folder):
    (folder / "v1.zip").write_bytes(b"something else")
    text = (folder / "models.yaml").read_text()
    gone = '{"default": "v1", "versions": {"v1": {"url": "file://gone.pth"}}}'
    none = '{"default": "v1"}'
    (folder / "models.yaml").write_text(f'{text[:-1]}, "gone": {gone}, "none": {none}}}')
    done = run("fetch", "models.yaml", "--all")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"seg@v2\t{stored(folder, 'v2')}",
        f"weights@v1\t{folder}/weights.pth",
    ]
    errors = done.stderr[done.stderr.index("Error: ") :].splitlines()
    assert errors[0] == "Error: 3 could not be fetched:"
    assert "model 'none' has no 'versions'" in errors[1]
    assert "expected the sha256" in errors[2]
    assert "no file at" in errors[3]
    assert len(errors) == 4


def test_fetch_of_a_wrong_name_fetches_nothing(folder):
    done = run("fetch", "models.yaml", "seg", "weigths")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no model named 'weigths' (did you mean 'weights'?)" in done.stderr
    assert not (folder / "cache").exists()


def test_names_beside_all_are_wrong_usage():
    done = run("fetch", "models.yaml", "seg", "--all")
    assert done.returncode == 2
    assert "either --all or names" in done.stderr


@pytest.mark.parametrize("name", ["seg", "seg@v2", "seg@default"])
def test_path_prints_the_path_and_nothing_else(folder, name):
    for _ in range(2):
        assert run("path", "models.yaml", name).stdout == f"{stored(folder, 'v2')}\n"
    assert stored(folder, "v2").read_text() == "v2"


def test_path_prints_nothing_if_there_is_none(folder):
    done = run("path", "models.yaml", "seg@v3")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no version of model 'seg' named 'v3'; there are: v1, v2" in done.stderr
    (folder / "models.yaml").write_text(
        "m: {default: v, versions: {v: {url: 'https://example.com/m.pth'}}}"
    )
    done = run("path", "models.yaml", "m", "--offline")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not in the cache, and offline" in done.stderr


def test_the_cache_can_be_chosen(folder):
    done = run("path", "models.yaml", "seg", "--cache-dir", "mine")
    assert done.stdout.startswith(f"{folder}/mine/store-v1/objects/")
    assert not (folder / "cache").exists()


def test_verify_names_what_is_damaged_and_what_to_do(folder):
    assert run("fetch", "models.yaml", "--all").returncode == 0
    assert run("verify").returncode == run("verify", "models.yaml").returncode == 0
    stored(folder, "v1").write_text("??")
    done = run("verify")
    assert done.returncode == 1
    damage, name = done.stdout.splitlines()
    assert damage == f"{stored(folder, 'v1').parents[2]}: 1 changed (file://v1.zip)"
    assert name == f"  {TARGET}"
    assert "the next use fetches that again" in done.stderr
    assert run("verify", "models.yaml").returncode == 1
    (found,) = json.loads(run("verify", "--json").stdout)
    assert (found["files"], found["source"]) == ([TARGET], "file://v1.zip")


def test_what_verify_advises_helps(folder):
    assert run("fetch", "models.yaml", "seg@v1").returncode == 0
    path = stored(folder, "v1")
    before = path.stat()
    path.write_text("??")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run("verify").returncode == 0
    assert run("verify", "--deep").returncode == run("verify", "models.yaml", "--deep").returncode
    assert run("verify", "--deep").returncode == 1
    damaged = run("verify", "--deep").stdout.split(": ")[0]
    subprocess.run(["rm", "-r", damaged], check=True)
    assert run("fetch", "models.yaml", "seg@v1").returncode == 0
    assert path.read_text() == "v1"


def age(folder, version, days):
    marker = stored(folder, version).parents[2] / "entry.json"
    os.utime(marker, (time.time() - days * DAY,) * 2)


def test_prune_deletes_what_nobody_used_for_long_and_says_what_went(folder):
    assert run("fetch", "models.yaml", "--all").returncode == 0
    age(folder, "v1", 31)
    age(folder, "v2", 29)
    dry = run("prune", "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "would free 2 bytes: 1 unused, 0 left behind\n")
    assert stored(folder, "v1").exists()
    done = run("prune")
    assert (done.returncode, done.stderr) == (0, "freed 2 bytes: 1 unused, 0 left behind\n")
    assert done.stdout == dry.stdout
    assert done.stdout.endswith("file://v1.zip\n")
    assert not stored(folder, "v1").exists()
    assert run("prune", "--older-than", "28").stdout.endswith("file://v2.zip\n")
    assert not stored(folder, "v2").exists()


@pytest.mark.parametrize("days", ["1.9", "-3", "many"])
def test_prune_takes_two_days_at_least(folder, days):
    assert run("fetch", "models.yaml").returncode == 0
    done = run("prune", "--older-than", days)
    assert done.returncode == 2
    assert "--older-than" in done.stderr
    assert stored(folder, "v2").exists()


def test_a_bundle_carries_models_and_says_what_it_left_out(folder):
    done = run("export", "models.yaml", "bundle.tar")
    assert (done.returncode, done.stdout) == (0, "")
    assert "weights@v1 is left out: file://weights.pth is used where it lies" in done.stderr
    imported = run("import", "bundle.tar", "--cache-dir", "there")
    assert imported.stdout == "seg@v1\nseg@v2\n"
    assert imported.stderr.endswith(f"imported bundle.tar into {folder}/there\n")
    listed = json.loads(run("list", "models.yaml", "--cache-dir", "there", "--json").stdout)
    assert [state["path"] is not None for state in listed] == [True, True, True]


def test_export_takes_what_is_named_and_replaces_a_bundle_with_force_only(folder):
    (folder / "bundle.tar").write_text("mine")
    refused = run("export", "models.yaml", "bundle.tar", "seg@v1")
    assert refused.returncode == 1
    assert "bundle.tar already exists; use --force to replace it" in refused.stderr
    assert (folder / "bundle.tar").read_text() == "mine"
    assert run("export", "models.yaml", "bundle.tar", "seg@v1", "--force").returncode == 0
    assert run("import", "bundle.tar").stdout == "seg@v1\n"


def test_what_is_no_bundle_is_refused(folder):
    done = run("import", "models.yaml")
    assert done.returncode == 1
    assert "models.yaml is no bundle" in done.stderr
    assert "No such file" in run("import", "nothing.tar").stderr


def test_lint_prints_what_is_wrong_and_fails_on_errors_only(folder):
    (folder / "bad.yaml").write_text("seg:\n  default: v2\n  versions: {v1: {url: 'ftp://a/b'}}\n")
    (folder / "worse.yaml").write_text("seg: 1\nseg: 2\n")
    done = run("lint", "bad.yaml", "worse.yaml")
    assert done.returncode == 1
    default, url, load = done.stdout.splitlines()
    assert default.startswith("bad.yaml:2:12: error: no version of model 'seg' named 'v2'")
    assert url.startswith("bad.yaml:3:24: error: 'url' has the scheme 'ftp'")
    assert load == "worse.yaml:2:1: error: 'seg' is already defined at line 1 [not-loadable]"
    assert done.stderr == "3 errors, 0 warnings\n"
    assert run("lint", "models.yaml").stdout == ""
    assert run("lint", "models.yaml").returncode == 0


def test_lint_prints_annotations_and_json(folder):
    (folder / "bad.yaml").write_text("seg: {versions: {v1: {url: 'https://example.com/a.pth'}}}\n")
    annotations = run("lint", "bad.yaml", "--format", "github").stdout.splitlines()
    assert annotations[0].startswith("::warning file=bad.yaml,line=1,col=1,title=no-default::")
    found = json.loads(run("lint", "bad.yaml", "--format", "json").stdout)
    assert [each["code"] for each in found] == ["no-default", "no-sha256"]


def test_an_annotation_ends_where_its_message_does(folder):
    (folder / "100%, a:b.yaml").write_text("seg: {versions: {v1: {url: 'https://a/b%20c.pth'}}}\n")
    done = run("lint", "100%, a:b.yaml", "--format", "github")
    warning = done.stdout.splitlines()[1]
    assert warning.startswith("::warning file=100%25%2C a%3Ab.yaml,line=1,col=")
    assert "https://a/b%2520c.pth has no 'sha256'" in warning


def test_lint_online_prints_sizes_and_finds_local_files_missing(folder):
    (folder / "v1.zip").unlink()
    done = run("lint", "models.yaml", "--online")
    assert done.returncode == 1
    missing = [line for line in done.stdout.splitlines() if "[unreachable]" in line]
    assert len(missing) == 1
    assert "error: seg@v1: no file at" in missing[0]
    size = (folder / "v2.zip").stat().st_size
    assert f"notice: seg@v2: file://v2.zip: {size} bytes [size]" in done.stdout
    assert "notice: weights@v1: file://weights.pth: 11 bytes [size]" in done.stdout


def test_add_prints_the_entry_and_says_what_it_took(folder):
    zip_up(folder / "new.zip", {"a/model.onnx": "weights", "README": "how to"})
    done = run("add", "new", "v1", "new.zip")
    assert done.stderr == "took a/model.onnx, the only weight file of 2 files\n"
    sha256 = hashlib.sha256((folder / "new.zip").read_bytes()).hexdigest()
    assert done.stdout == (
        f'new:\n  default: v1\n  versions:\n    v1:\n      url: "file://{folder}/new.zip"\n'
        f'      sha256: "{sha256}"\n      unzipped_target_path: "a/model.onnx"\n'
    )


def test_what_add_prints_can_be_fetched(folder):
    zip_up(folder / "new.zip", {"a/model.onnx": "weights"})
    (folder / "new.yaml").write_text(run("add", "new", "v1", "new.zip").stdout)
    path = run("path", "new.yaml", "new").stdout.strip()
    assert Path(path).read_text() == "weights"


def test_add_appends_to_a_manifest_and_keeps_what_is_there(folder):
    zip_up(folder / "new.zip", {"a/model.onnx": "weights", "b/model.onnx": "others"})
    before = "# ours\nold: {default: v1, versions: {v1: {url: 'file://weights.pth'}}}\n"
    (folder / "m.yaml").write_text(before)
    done = run("add", "new", "v1", "new.zip", "--append", "m.yaml", "--target", "b")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "added new@v1 to m.yaml\n"
    after = (folder / "m.yaml").read_text()
    assert after.startswith(before)
    assert 'url: "file://new.zip"' in after
    assert run("lint", "m.yaml").returncode == 0
    assert lines(run("fetch", "m.yaml"))[1][1].endswith("/tree/b")
    again = run("add", "new", "v1", "new.zip", "--append", "m.yaml", "--target", "b")
    assert again.returncode == 1
    assert again.stderr == "Error: m.yaml:7:5: model 'new' has a version 'v1' already\n"
    assert (folder / "m.yaml").read_text() == after


def test_add_leaves_the_choice_among_several_members(folder):
    zip_up(folder / "new.zip", {"a/model.onnx": "weights", "b/model.onnx": "others"})
    done = run("add", "new", "v1", "new.zip")
    assert done.returncode == 1
    assert done.stdout.endswith(
        "      unzipped_target_path:\n"
        "        # Choose one of the 2 files, a folder of them, or . for all:\n"
        '        # "a/model.onnx"\n'
        '        # "b/model.onnx"\n'
    )
    assert "holds 2 files; choose with --target" in done.stderr
    (folder / "m.yaml").touch()
    done = run("add", "new", "v1", "new.zip", "--append", "m.yaml")
    assert done.returncode == 1
    assert "is wanted: a/model.onnx, b/model.onnx; use --target" in done.stderr
    assert (folder / "m.yaml").read_text() == ""


def test_add_advises_with_options_of_the_command(folder):
    done = run("add", "new", "v1", "weights.pth", "--target", "x")
    assert done.returncode == 1
    assert "use --archive zip or --archive tar" in done.stderr
    (folder / "download").write_bytes((folder / "v1.zip").read_bytes())
    assert "use --archive zip or --archive tar" in run("add", "new", "v1", "download").stderr
    assert 'archive: "zip"' in run("add", "new", "v1", "download", "--archive", "zip").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        pytest.param(["list", "gone.yaml"], 1, "no manifest at gone.yaml", id="list"),
        pytest.param(["fetch", "gone.yaml"], 1, "no manifest at gone.yaml", id="fetch"),
        pytest.param(["path", "gone.yaml", "x"], 1, "no manifest at gone.yaml", id="path"),
        pytest.param(["lint", "gone.yaml"], 1, "no manifest at gone.yaml", id="lint"),
        pytest.param(["verify", "gone.yaml"], 1, "no manifest at gone.yaml", id="verify"),
        pytest.param(["export", "gone.yaml", "b"], 1, "no manifest at gone.yaml", id="export"),
        pytest.param(["import", "gone.tar"], 1, "gone.tar", id="import"),
        pytest.param(
            ["add", "m", "v", "weights.pth", "--append", "gone.yaml"],
            1,
            "no manifest at gone.yaml",
            id="add",
        ),
        pytest.param(["add", "m", "v", "gone.pth"], 1, "no file at gone.pth", id="add a file"),
        pytest.param(["add", "m", "v"], 2, "Usage:", id="add nothing"),
        pytest.param(["path", "models.yaml"], 2, "Usage:", id="path of nothing"),
        pytest.param(["lint"], 2, "Usage:", id="lint nothing"),
        pytest.param(["fetch", "."], 2, "is a directory", id="a folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, status, message):
    done = run(*arguments)
    assert done.returncode == status
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert status == 2 or done.stderr.count("\n") == 1


def test_the_schema_is_printed_as_json():
    assert json.loads(run("schema").stdout)["title"] == "pycemrg model manifest"


def test_the_help_of_each_command_begins_with_a_sentence_that_fits():
    shown = run("--help").stdout.partition("Commands:")[2].strip().splitlines()
    assert [line.split()[0] for line in shown] == sorted(
        ["add", "export", "fetch", "import", "lint", "list", "path", "prune", "schema", "verify"]
    )
    assert all(line.endswith(".") and not line.endswith("...") for line in shown)


def complete(words, start):
    environment = {
        **os.environ,
        "_PYCEMRG_COMPLETE": "zsh_complete",
        "COMP_WORDS": f"pycemrg models {words} {start}",
        "COMP_CWORD": str(2 + len(words.split())),
    }
    script = "from pycemrg.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    return done.stdout.splitlines()[1::3]


def test_the_shell_completes_models_and_versions():
    assert complete("fetch models.yaml", "") == ["seg", "weights"]
    assert complete("path models.yaml", "w") == ["weights"]
    assert complete("fetch models.yaml seg", "seg@") == ["seg@v1", "seg@v2"]
    assert complete("export models.yaml bundle.tar", "s") == ["seg"]
    assert complete("fetch gone.yaml", "") == []
