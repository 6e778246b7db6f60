"""The arithmetic and the parts of the benchmarks, their table, JSON and command line."""

import doctest
import hashlib
import json
import operator
import os
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

sys.path.insert(0, str(Path(__file__).with_name("benchmarks")))

import crowded
import measure
import mishaps
import model_clients
import model_floor
import model_server
import models
import results
import run
import startup
import weights
from model_clients import Client
from model_server import Counts, ModelServer
from results import Result, Row, WrongResultError


def test_examples_of_the_measurements_hold():
    assert doctest.testmod(measure).failed == 0


def test_subjects_run_in_turn_and_warm_ups_do_not_count():
    order = []
    subjects = {name: lambda name=name: order.append(name) or len(order) for name in "AB"}
    measured = measure.interleaved(subjects, 3, warm_ups=2)
    assert "".join(order) == "ABABABABAB"
    assert measured == {"A": [5, 7, 9], "B": [6, 8, 10]}


def test_no_runs_at_all_is_refused():
    with pytest.raises(ValueError, match="runs is 0"):
        measure.interleaved({"A": int}, 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([4.0], (4, 4, 4), id="one"),
        pytest.param([1, 2], (1.5, 1.25, 1.75), id="two"),
        pytest.param([7, 1, 5, 3], (4, 2.5, 5.5), id="even"),
        pytest.param([12, 10, 1000, 11, 13], (12, 11, 13), id="outlier"),
    ],
)
def test_summary_is_the_median_and_the_quartiles(values, expected):
    assert measure.summary(values) == expected


def test_ratios_and_differences_pair_the_rounds():
    # The ratio of the medians would be 4 / 1, the difference 4 - 1.
    ours, theirs = [2.0, 4.0, 6.0], [1.0, 5.0, 1.0]
    assert measure.ratios(ours, theirs) == [2, 0.8, 6]
    assert measure.summary(measure.ratios(ours, theirs)).median == 2
    assert measure.differences(ours, theirs) == [1, -1, 5]
    assert measure.summary(measure.differences(ours, theirs)).median == 1


@pytest.mark.parametrize("combine", [measure.ratios, measure.differences])
def test_unequal_numbers_of_rounds_are_refused(combine):
    with pytest.raises(ValueError, match="shorter"):
        combine([1.0, 2.0], [1.0])


def test_a_child_that_fails_is_not_timed():
    code = "import sys; print('no mesh', file=sys.stderr); sys.exit(3)"
    with pytest.raises(RuntimeError, match="ended with 3: no mesh"):
        measure.run_child([sys.executable, "-c", code])


def test_a_child_does_not_see_python_settings_of_ours(monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    monkeypatch.setenv("COVERAGE_PROCESS_START", "setup.cfg")
    code = "import os, sys; sys.exit(any(n.startswith(('PYTHON', 'COV')) for n in os.environ))"
    measure.run_child([sys.executable, "-c", code])


@pytest.mark.parametrize(
    ("figure", "limits", "met"),
    [
        pytest.param(2.0, {"at_most": 2.0}, True, id="at the limit"),
        pytest.param(2.1, {"at_most": 2.0}, False, id="above"),
        pytest.param(0.8, {"at_least": 0.8}, True, id="at the lower limit"),
        pytest.param(0.7, {"at_least": 0.8}, False, id="below"),
        pytest.param(199, {"at_least": 200, "at_most": 200}, False, id="not exactly"),
        pytest.param(1.0, {}, None, id="no target"),
    ],
)
def test_a_target_is_met_or_not_or_not_set(figure, limits, met):
    assert Row.of("something", [figure], "x", **limits).met is met


def a_result() -> Result:
    rows = [
        Row.of("help", [3.0, 1.0, 2.0], "x", at_most=2.0),
        Row.of("import", [36.0, 38.0], "ms", at_most=35.0),
        Row.of("right answers", [1200], "", at_least=1200),
        Row.of("peer", [0.061], "ms"),
    ]
    return Result("startup", "CPU time", 3, {"pycemrg-cli": "1.0.0", "click": "8.2"}, rows)


TABLE = """\
startup: CPU time
3 interleaved runs; pycemrg-cli 1.0.0, click 8.2
               median    quartiles       target    met
help           2 x       1.5 .. 2.5      <= 2 x    yes
import         37 ms     36.5 .. 37.5    <= 35 ms  NO
right answers  1,200     1,200 .. 1,200  >= 1,200  yes
  peer         0.061 ms  0.061 .. 0.061"""


def test_the_table_has_the_target_beside_the_figure():
    assert results.table(a_result()) == TABLE


def test_the_json_is_what_its_schema_says(tmp_path):
    results.write_json(tmp_path / "figures.json", [a_result()])
    found = json.loads((tmp_path / "figures.json").read_text())
    written = datetime.fromisoformat(found.pop("date"))
    assert timedelta(0) <= datetime.now(UTC) - written < timedelta(hours=1)
    assert found.pop("machine").keys() == {
        *("system", "architecture", "processor", "cpus", "memory_gib")
    }
    version = "{}.{}.{}".format(*sys.version_info)
    assert found.pop("python").endswith(f" {version}")
    benchmark = found["benchmarks"][0]
    rows = benchmark.pop("rows")
    assert found == {
        "schema": 1,
        "benchmarks": [
            {
                "name": "startup",
                "method": "CPU time",
                "runs": 3,
                "versions": {"pycemrg-cli": "1.0.0", "click": "8.2"},
            }
        ],
    }
    assert rows[0] == {
        **{"what": "help", "figure": 2.0, "low": 1.5, "high": 2.5, "unit": "x"},
        **{"at_most": 2.0, "at_least": None, "met": True},
    }
    assert [row["met"] for row in rows] == [True, False, True, None]


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old")
    impossible = Result("startup", "CPU time", 1, {}, [Row.of("help", [float("nan")], "x")])
    with pytest.raises(ValueError, match="JSON compliant"):
        results.write_json(path, [impossible])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", run.BENCHMARKS)
def test_every_benchmark_can_be_called(name):
    benchmark = import_module(name)
    assert benchmark.RUNS >= 1
    assert callable(benchmark.run)


@pytest.fixture
def made_up(monkeypatch):
    """Two benchmarks, which record how many runs they were asked for."""
    asked = {}

    def of(name):
        def run_it(runs):
            asked[name] = runs
            return Result(name, "made up", runs, {}, [Row.of("figure", [1.0], "x")])

        return SimpleNamespace(RUNS=21, run=run_it)

    names = ("first", "second")
    monkeypatch.setattr(run, "BENCHMARKS", names)
    for name in names:
        monkeypatch.setitem(sys.modules, name, of(name))
    return asked


def test_no_name_runs_all_of_them(made_up, capsys):
    assert run.main([]) == 0
    assert made_up == {"first": 21, "second": 21}
    assert "first: made up" in capsys.readouterr().out


def test_the_named_one_runs_as_often_as_asked(made_up, tmp_path):
    path = tmp_path / "figures.json"
    assert run.main(["second", "--runs", "3", "--json", str(path)]) == 0
    assert made_up == {"second": 3}
    assert [each["name"] for each in json.loads(path.read_text())["benchmarks"]] == ["second"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["third"], "no benchmark named 'third'; there are: first, second", id="name"),
        pytest.param(["first", "--runs", "0"], "'0' is not a number of runs", id="runs"),
    ],
)
def test_wrong_usage_exits_with_2_and_runs_nothing(made_up, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        run.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert made_up == {}


def test_a_wrong_result_ends_it_without_figures(made_up, tmp_path, capsys, monkeypatch):
    def wrong(runs):
        raise WrongResultError("pycemrg --help does not list: init")

    monkeypatch.setattr(sys.modules["second"], "run", wrong)
    path = tmp_path / "figures.json"
    assert run.main(["--json", str(path)]) == 1
    assert capsys.readouterr().err == "second: pycemrg --help does not list: init\n"
    assert not path.exists()


def test_a_made_up_distribution_is_seen_with_both_its_entry_points(tmp_path):
    for name in ("made_up_000", "made_up_001"):
        crowded._write_distribution(tmp_path, name)
    found = list(distributions(path=[str(tmp_path)]))
    assert sorted(each.metadata["Name"] for each in found) == ["made_up_000", "made_up_001"]
    groups = sorted(point.group for each in found for point in each.entry_points)
    assert groups == ["console_scripts"] * 2 + ["made_up.plugins"] * 2


HELP = """\
Usage: pycemrg [OPTIONS] COMMAND [ARGS]...

  Commands: none of these is one.

Options:
  --debug  Show the traceback.

Commands:
  init         Make a study that runs as it stands, with a text so long that it
               goes on in the next line.
  init-models  Write a starter models.yaml.
"""


def test_the_commands_are_read_from_the_help():
    assert list(startup._listed(HELP)) == ["init", "init-models"]


def test_the_bare_program_has_the_same_commands():
    program = {}
    exec(startup._bare_click({"init": "Make a 'study'.", "init-models": "Write."}), program)
    commands = program["main"].commands
    assert {name: each.help for name, each in commands.items()} == {
        "init": "Make a 'study'.",
        "init-models": "Write.",
    }


SIZES = [40_000, 80_000, 4_000]


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    """A server, and an archive that it offers."""
    folder = tmp_path_factory.mktemp("served")
    archive = weights.make_archive(folder / "small.zip", SIZES)
    with ModelServer(folder) as server:
        yield server, model_clients.offer(archive, server.origin)


@pytest.fixture
def server(offered):
    server, _ = offered
    server.reset()
    return server


@pytest.fixture
def offer(offered):
    return offered[1]


def the_same_from_the_hub(offer):
    return f"{offer.origin}/bench/models/resolve/main/{offer.archive.path.name}"


def test_an_archive_holds_the_weights_that_it_says(tmp_path):
    archive = weights.make_archive(tmp_path / "a.zip", SIZES, compression=zipfile.ZIP_DEFLATED)
    assert archive.sha256 == hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    with zipfile.ZipFile(archive.path) as opened:
        members = opened.infolist()
        found = {each.filename: hashlib.sha256(opened.read(each)).hexdigest() for each in members}
    assert found == {f"weights/{name}": sha256 for name, sha256 in archive.members.items()}
    assert [each.file_size for each in members] == SIZES
    assert 0.90 < archive.size / sum(SIZES) < 0.95  # what real weights are deflated to


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        pytest.param({"a": b"right"}, "b", id="missing"),
        pytest.param({"a": b"right", "b": b"wrong"}, "b", id="wrong"),
        pytest.param({"a": b"right", "b": b"right", "c": b"right"}, "c", id="not wanted"),
    ],
)
def test_files_that_are_not_the_wanted_ones_are_refused(tmp_path, names, odd):
    for name, content in names.items():
        (tmp_path / name).write_bytes(content)
    wanted = dict.fromkeys("ab", hashlib.sha256(b"right").hexdigest())
    with pytest.raises(WrongResultError, match=f"pooch does not give the right {odd}$"):
        weights.check("pooch", tmp_path.iterdir(), wanted)


def test_the_server_counts_requests_and_bytes(server, offer):
    content = offer.archive.path.read_bytes()
    assert requests.get(offer.url).content == content
    assert requests.head(offer.url).headers["Content-Length"] == str(len(content))
    assert requests.get(f"{offer.origin}/files/other.zip").status_code == 404
    assert server.counts() == Counts(gets=2, heads=1, sent=len(content))
    server.reset()
    assert server.counts() == Counts()


def test_the_server_speaks_as_the_hub_does(server, offer):
    found = requests.head(the_same_from_the_hub(offer)).headers
    assert found["X-Repo-Commit"] == model_server.COMMIT
    assert found["X-Linked-Etag"] == found["ETag"] == f'"{offer.archive.sha256}"'
    assert found["X-Linked-Size"] == str(offer.archive.size)
    assert requests.get(the_same_from_the_hub(offer)).content == offer.archive.path.read_bytes()


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        pytest.param({"Range": "bytes=100-"}, 206, slice(100, None), id="rest"),
        pytest.param({"Range": "bytes=100-199"}, 206, slice(100, 200), id="middle"),
        pytest.param({"Range": "bytes=0-9999999"}, 206, slice(None), id="more than there is"),
        pytest.param({"Range": "bytes=9999999-"}, 416, slice(0), id="after the end"),
        pytest.param(
            {"Range": "bytes=100-", "If-Range": "{etag}"}, 206, slice(100, None), id="same"
        ),
        pytest.param({"Range": "bytes=100-", "If-Range": '"old"'}, 200, slice(None), id="changed"),
    ],
)
def test_the_server_sends_the_part_that_is_asked_for(server, offer, headers, status, part):
    etag = f'"{offer.archive.sha256}"'
    asked = {name: value.format(etag=etag) for name, value in headers.items()}
    content = offer.archive.path.read_bytes()
    found = requests.get(offer.url, headers=asked)
    assert (found.status_code, found.content) == (status, content[part])
    if status == 206:
        first, end, _ = part.indices(len(content))
        assert found.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(content)}"
    assert server.counts().sent == len(content[part])


def test_the_server_cuts_off_one_transfer_only(server, offer):
    server.cut()
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        requests.get(offer.url)
    assert server.counts() == Counts(gets=1, sent=offer.archive.size // 2)
    assert requests.get(offer.url).content == offer.archive.path.read_bytes()


def test_the_floor_gives_what_the_archive_holds(server, offer, tmp_path):
    models.FLOOR.check(models.FLOOR.fetch(offer, tmp_path / "floor"), offer)
    models.LISTING_FLOOR.check(models.LISTING_FLOOR.fetch(offer, tmp_path / "listing"), offer)
    assert server.counts() == Counts(gets=2, sent=2 * offer.archive.size)


def test_the_floor_refuses_a_wrong_sha256(server, offer, tmp_path):
    with pytest.raises(ValueError, match="does not have the sha256 abc"):
        model_floor.fetch(offer.url, "abc", tmp_path)


def test_the_floor_refuses_a_wrong_crc(tmp_path):
    archive = weights.make_archive(tmp_path / "a.zip", SIZES)
    content = bytearray(archive.path.read_bytes())
    content[1_000] ^= 1  # within the first file
    archive.path.write_bytes(content)
    buffer = memoryview(bytearray(model_floor.CHUNK))
    with pytest.raises(ValueError, match=r"weights/layer_0\.bin does not have the CRC-32"):
        model_floor._unpack(archive.path, tmp_path / "tree", buffer, None)


def test_the_floor_notices_a_transfer_that_breaks_off(server, offer, tmp_path):
    server.cut()
    with pytest.raises(ConnectionError, match="breaks off"):
        model_floor.fetch(offer.url, offer.archive.sha256, tmp_path)


def test_ours_is_checked_whatever_it_is_asked_for(server, offer, tmp_path):
    returned = model_clients.OURS.fetch(offer, tmp_path)
    model_clients.OURS.check(returned, offer)
    (returned / "layer_1.bin").write_bytes(b"truncated")
    with pytest.raises(WrongResultError, match=r"pycemrg does not give the right layer_1\.bin"):
        model_clients.OURS.check(returned, offer)


def test_clients_run_without_the_settings_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("PYCEMRG_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", "secret")
    before = dict(os.environ)
    with model_clients.quiet_and_alone(tmp_path, "http://127.0.0.1:9"):
        assert not {"PYCEMRG_OFFLINE", "HF_TOKEN"} & os.environ.keys()
        assert os.environ["HF_ENDPOINT"] == "http://127.0.0.1:9"
        assert os.environ["HOME"] == str(tmp_path)
    assert dict(os.environ) == before


# They go to other processes, which cannot import this module.
WRONG = Client("a folder where the archive is wanted", model_clients.fetch_ours, unpacks=False)
FAILING = Client("an error", operator.sub)


@pytest.mark.parametrize(
    ("client", "outcomes", "gets"),
    [
        pytest.param(model_clients.OURS, (3, 0, 0), 1, id="ours"),
        pytest.param(WRONG, (0, 3, 0), 1, id="wrong"),
        pytest.param(FAILING, (0, 0, 3), 0, id="failing"),
    ],
)
def test_the_outcomes_of_a_crowd_are_counted(server, offer, tmp_path, client, outcomes, gets):
    assert mishaps.crowd(client, offer, tmp_path / "cache", 3) == outcomes
    assert server.counts().gets == gets


@pytest.mark.parametrize("disturb", [mishaps.cut_off, mishaps.killed_half_way])
def test_who_starts_again_fetches_the_half_before_a_mishap_twice(server, offer, tmp_path, disturb):
    # The floor keeps nothing.
    assert disturb(models.FLOOR, offer, tmp_path, server) == offer.archive.size // 2
    assert server.counts().gets == 2


def test_who_never_gets_there_is_a_wrong_result(server, offer, tmp_path):
    with pytest.raises(WrongResultError, match="an error: no right answer in 5 calls"):
        mishaps.cut_off(FAILING, offer, tmp_path, server)


def test_who_is_killed_is_called_again(server, offer, tmp_path):
    assert mishaps.kills(models.FLOOR, offer, tmp_path, 3) == (3, 0, 0)
    assert server.counts().gets >= mishaps.TIMED + 3
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_killed_in_time_is_an_error(server, offer, tmp_path):
    with pytest.raises(RuntimeError, match="ended with 2 too early"):
        mishaps.kills(FAILING, offer, tmp_path, 1)
