import inspect
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pycemrg.models import HashMismatchError, ModelManager, locks
from pycemrg.models import download as downloads

TARGET = "checkpoints/model.pth"


def program(*lines):
    """Return the command of a Python program."""
    return [sys.executable, "-c", "\n".join(lines)]


ASK = (
    "import sys",
    "from pycemrg.models import ModelManager",
    "print(ModelManager(sys.argv[1], sys.argv[2]).get_model_path('seg'))",
)


@pytest.fixture
def packed(zip_of):
    return zip_of({TARGET: b"weights" * 100, "checkpoints/plans.json": b"{}"})


def is_right(path):
    return (
        path.read_bytes() == b"weights" * 100 and (path.parent / "plans.json").read_bytes() == b"{}"
    )


@pytest.fixture
def published(tmp_path, site, manifest, packed, sha256):
    """The manifest of one archive on the site."""
    return manifest(
        v1={
            "url": site.give("/seg.zip", packed),
            "sha256": sha256(packed),
            "unzipped_target_path": TARGET,
        }
    )


def test_the_signatures_are_the_documented_ones():
    assert str(inspect.signature(ModelManager.get_model_path)).startswith(
        "(self, model_name: str, version: str = 'default')"
    )
    assert list(inspect.signature(ModelManager).parameters)[:2] == ["manifest_path", "cache_dir"]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_model_comes_back_as_an_absolute_resolved_path(tmp_path, published, kind):
    models = ModelManager(manifest_path=kind(published), cache_dir=kind(tmp_path / "cache"))
    path = models.get_model_path("seg")
    assert isinstance(path, Path)
    assert path.is_absolute()
    assert path == path.resolve()
    assert is_right(path)


def test_the_version_is_the_default_one_or_the_one_asked_for(tmp_path, manifest):
    for name in ("old.pth", "new.pth"):
        (tmp_path / name).write_text(name)
    path = manifest(v1={"url": "file://old.pth"}, v2={"url": "file://new.pth"}, default="v2")
    models = ModelManager(path, tmp_path / "cache")
    assert models.get_model_path("seg").read_text() == "new.pth"
    assert models.get_model_path("seg", "v1").read_text() == "old.pth"
    assert models.get_model_path("seg", version="default").read_text() == "new.pth"


def test_paths_are_absolute_although_everything_given_is_relative(tmp_path, published, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = ModelManager("models.yaml", "cache")
    monkeypatch.chdir("/")
    assert is_right(models.get_model_path("seg"))
    assert models.cache_dir == tmp_path / "cache"
    assert models.manifest_path == published


@pytest.mark.parametrize(
    ("argument", "variable", "used"),
    [
        ("given", "named", "given"),
        (None, "named", "named"),
        (None, "", "home/.cache/pycemrg"),
        (None, None, "home/.cache/pycemrg"),
    ],
)
def test_the_cache_is_where_it_was_asked_for(
    tmp_path, published, monkeypatch, argument, variable, used
):
    if variable is not None:
        monkeypatch.setenv("PYCEMRG_CACHE_DIR", variable and str(tmp_path / variable))
    models = ModelManager(published, argument and tmp_path / argument)
    assert tmp_path / used / "store-v1" in models.get_model_path("seg").parents


def test_a_tilde_in_the_cache_folder_is_the_home_folder(tmp_path, published):
    assert ModelManager(published, "~/models").cache_dir == tmp_path / "home/models"


def test_a_missing_manifest_is_reported_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no manifest at .*models\.yaml"):
        ModelManager(tmp_path / "models.yaml")


def test_a_manifest_that_cannot_be_read_is_no_hash_mismatch(tmp_path):
    with pytest.raises(RuntimeError, match="cannot read the manifest"):
        ModelManager(tmp_path)


def test_a_manifest_that_is_no_mapping_is_refused_with_its_place(tmp_path):
    (tmp_path / "models.yaml").write_text("- seg\n")
    with pytest.raises(ValueError, match=r"models\.yaml:1:1: "):
        ModelManager(tmp_path / "models.yaml")


def test_unknown_names_are_key_errors(tmp_path, published):
    models = ModelManager(published, tmp_path / "cache")
    with pytest.raises(KeyError, match="no model named 'sek'"):
        models.get_model_path("sek")
    with pytest.raises(KeyError, match="no version of model 'seg' named 'v9'"):
        models.get_model_path("seg", "v9")


def test_a_plain_local_file_is_used_where_it_lies(tmp_path, manifest):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/model.pth").write_bytes(b"weights")
    path = manifest(
        v1={"url": "file://weights/model.pth", "sha256": "null", "unzipped_target_path": "x"}
    )
    models = ModelManager(path, tmp_path / "cache")
    assert models.get_model_path("seg") == tmp_path / "weights/model.pth"
    assert not (tmp_path / "cache").exists()


def test_a_plain_local_folder_is_used_where_it_lies(tmp_path, manifest):
    (tmp_path / "fold_all").mkdir()
    models = ModelManager(manifest(v1={"url": "file://fold_all/"}))
    assert models.get_model_path("seg") == tmp_path / "fold_all"


def test_a_plain_local_file_is_verified_again_only_if_it_changes(
    tmp_path, manifest, sha256, monkeypatch
):
    from pycemrg.models import checksums

    file = tmp_path / "model.pth"
    file.write_bytes(b"weights")
    models = ModelManager(manifest(v1={"url": "file://model.pth", "sha256": sha256(b"weights")}))
    read = []
    really_digest = checksums.digest_of
    monkeypatch.setattr(checksums, "digest_of", lambda p: read.append(p) or really_digest(p))
    for _ in range(3):
        assert models.get_model_path("seg") == file
    assert len(read) == 1
    file.write_bytes(b"tampered")
    for _ in range(2):
        with pytest.raises(HashMismatchError, match=r"model\.pth: expected the sha256"):
            models.get_model_path("seg")


def test_a_local_folder_cannot_have_a_sha256(tmp_path, manifest):
    models = ModelManager(manifest(v1={"url": f"file://{tmp_path}", "sha256": "0" * 64}))
    with pytest.raises(ValueError, match=r"models\.yaml:4:5: .*is a folder"):
        models.get_model_path("seg")


@pytest.mark.parametrize("total", ["null", "0" * 64], ids=["no-sha256", "sha256"])
@pytest.mark.parametrize("name", ["model.pth", "model.zip", "models.yaml/x.pth"])
def test_a_missing_local_file_is_a_file_not_found(tmp_path, manifest, name, total):
    fields = {"url": f"file://{name}", "unzipped_target_path": "x", "sha256": total}
    models = ModelManager(manifest(v1=fields), tmp_path / "cache")
    with pytest.raises(FileNotFoundError) as caught:
        models.get_model_path("seg")
    assert f"no file at {tmp_path / name}" in str(caught.value)
    assert "models.yaml:4:5" in str(caught.value)


@pytest.mark.parametrize("url", ["file:///{}/a%20b.pth", "file://localhost{}/a b.pth"])
def test_a_file_url_may_follow_the_standard(tmp_path, manifest, url):
    (tmp_path / "a b.pth").touch()
    models = ModelManager(manifest(v1={"url": f'"{url.format(tmp_path)}"'}))
    assert models.get_model_path("seg") == tmp_path / "a b.pth"


def test_a_file_whose_name_holds_a_percent_sign_is_found_as_written(tmp_path, manifest):
    (tmp_path / "a%20b.pth").touch()
    (tmp_path / "a b.pth").touch()
    models = ModelManager(manifest(v1={"url": "file://a%20b.pth"}))
    assert models.get_model_path("seg").name == "a%20b.pth"


def test_a_manager_reaches_other_processes(tmp_path, published):
    models = ModelManager(published, tmp_path / "cache")
    models.get_model_path("seg")
    assert is_right(pickle.loads(pickle.dumps(models)).get_model_path("seg"))


HEAVY = ("requests", "urllib3", "filelock", "tqdm", "zipfile", "tarfile", "hashlib", "logging")
LOADED = f"print([name for name in {HEAVY} if name in sys.modules and name not in before])"


def test_importing_the_package_is_light():
    ask = program("import sys", "before = set(sys.modules)", "import pycemrg.models", LOADED)
    run = subprocess.run(ask, stdout=subprocess.PIPE, check=True, text=True)
    assert run.stdout.strip() == "[]"


def test_a_look_up_in_a_fresh_process_imports_and_writes_nothing(tmp_path, published, site):
    ModelManager(published, tmp_path / "cache").get_model_path("seg")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    ask = program("import sys", "before = set(sys.modules)", *ASK, LOADED)
    run = subprocess.run(
        [*ask, published, tmp_path / "cache"], stdout=subprocess.PIPE, check=True, text=True
    )
    path, loaded = run.stdout.splitlines()
    assert is_right(Path(path))
    assert loaded == "[]"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == before
    assert len(site.requests) == 1


def test_threads_that_ask_at_once_share_one_download(tmp_path, published, site):
    models = ModelManager(published, tmp_path / "cache")
    start = threading.Barrier(8)

    def ask():
        start.wait()
        return models.get_model_path("seg")

    with ThreadPoolExecutor(8) as pool:
        paths = {future.result() for future in [pool.submit(ask) for _ in range(8)]}
    assert len(paths) == 1
    assert is_right(paths.pop())
    assert len(site.requests) == 1


def test_processes_that_ask_at_once_share_one_download(tmp_path, published, site):
    ask = program("input()", *ASK)
    children = [
        subprocess.Popen(
            [*ask, published, tmp_path / "cache"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    paths = {child.communicate()[0].strip() for child in children}
    assert [child.returncode for child in children] == [0] * 4
    assert len(paths) == 1
    assert is_right(Path(paths.pop()))
    assert len(site.requests) == 1


def test_without_locks_everybody_fetches_and_everybody_is_right(
    tmp_path, published, site, packed, answers, monkeypatch
):
    monkeypatch.setattr(locks, "_acquired", lambda *_: None)
    together = threading.Barrier(3)

    def answer(handler):
        together.wait(30)  # nobody is served before all have asked
        answers.body(packed)(handler)

    site.give("/seg.zip", answer)
    models = ModelManager(published, tmp_path / "cache")
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: models.get_model_path("seg"), range(3)))
    assert len(site.requests) == 3
    assert len(paths) == 1
    assert is_right(paths.pop())
    assert list((tmp_path / "cache/store-v1/staging").iterdir()) == []


def kill(child):
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL


def objects(cache):
    return list(cache.glob("store-v1/objects/*/*"))


def test_a_process_killed_while_the_server_stalls_leaves_no_wrong_answer(
    tmp_path, published, site, packed
):
    halfway, end = threading.Event(), threading.Event()

    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.wfile.write(packed[:-50])
        handler.wfile.flush()
        halfway.set()
        end.wait(30)

    site.give("/seg.zip", stall, packed)
    child = subprocess.Popen(
        [*program(*ASK), published, tmp_path / "cache"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert halfway.wait(30)
        kill(child)
    finally:
        end.set()
    assert objects(tmp_path / "cache") == []
    assert is_right(ModelManager(published, tmp_path / "cache").get_model_path("seg"))


# Each place is a function that the child enters `count` times and does not survive the last time.
PLACES = [
    pytest.param("archive", "extract", 1, id="before-extraction"),
    pytest.param("tree", "write_all", 1, id="at-the-first-file"),
    pytest.param("tree", "write_all", 7, id="in-the-middle"),
    pytest.param("tree", "write_all", 20, id="at-the-last-file"),
    pytest.param("fetch", "describe", 1, id="before-the-marker"),
    pytest.param("store", "_record_text", 1, id="between-listing-and-marker"),
    pytest.param("commit", "flush", 1, id="before-flushing"),
    pytest.param("pathlib.Path", "rename", 1, id="before-the-rename"),
    pytest.param("commit", "_sync_folder", 4, id="after-the-rename"),
]


@pytest.mark.parametrize(("place", "function", "count"), PLACES)
@pytest.mark.parametrize("damaged_before", [False, True], ids=["empty-cache", "damaged-cache"])
def test_a_process_killed_while_it_unpacks_leaves_no_wrong_answer(
    tmp_path, manifest, zip_of, sha256, place, function, count, damaged_before
):
    members = {f"checkpoints/{number:02}.pth": bytes([number]) * 5_000 for number in range(20)}
    (tmp_path / "seg.zip").write_bytes(zip_of(members))
    fields = {
        "url": "file://seg.zip",
        "sha256": sha256((tmp_path / "seg.zip").read_bytes()),
        "unzipped_target_path": "checkpoints",
    }
    cache = tmp_path / "cache"
    path = manifest(v1=fields)
    if damaged_before:
        ModelManager(path, cache).get_model_path("seg").joinpath("03.pth").write_bytes(b"damaged")
    child = subprocess.run(
        [
            *program(
                "import os, pathlib, signal, sys",
                "from pycemrg.models import ModelManager, archive, commit, fetch, store, tree",
                f"place, name, left = {place}, {function!r}, {count}",
                "survives = getattr(place, name)",
                "def dies(*args, **fields):",
                "    global left",
                "    left -= 1",
                "    if left == 0:",
                "        os.kill(os.getpid(), signal.SIGKILL)",
                "    return survives(*args, **fields)",
                "setattr(place, name, dies)",
                *ASK,
            ),
            path,
            cache,
        ],
        stdout=subprocess.PIPE,
    )
    assert child.returncode == -signal.SIGKILL
    found = ModelManager(path, cache).get_model_path("seg")
    assert {item.name: item.read_bytes() for item in found.iterdir()} == {
        Path(name).name: content for name, content in members.items()
    }
    assert len(objects(cache)) == 1


def test_network_trouble_names_the_entry_and_keeps_its_cause(
    tmp_path, published, site, answers, monkeypatch
):
    monkeypatch.setattr(downloads, "BACKOFF", 0.0)
    site.give("/seg.zip", answers.status(500))
    with pytest.raises(RuntimeError) as caught:
        ModelManager(published, tmp_path / "cache").get_model_path("seg")
    assert type(caught.value) is RuntimeError
    assert "models.yaml:4:5: model 'seg' version 'v1': http://127.0.0.1" in str(caught.value)
    assert "500 Internal Server Error" in str(caught.value)
    assert "500" in str(caught.value.__cause__)
