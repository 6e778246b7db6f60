"""The arithmetic of the benchmarks, their table, their JSON and their command line."""

import doctest
import json
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).with_name("benchmarks")))

import crowded
import measure
import results
import run
import startup
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
