import pytest

from pycemrg.core.manifests import Place
from pycemrg.data.problems import Problem


def test_a_problem_reads_as_place_and_message():
    problem = Problem("empty-group", "warning", Place("heart.yaml", 4, 3), "no members")
    assert str(problem) == "heart.yaml:4:3: no members"
    assert str(problem._replace(place=None)) == "no members"


@pytest.mark.parametrize(
    ("code", "error"),
    [("group-cycle", ValueError), ("undefined-member", KeyError), ("unknown-name", KeyError)],
)
def test_only_a_cycle_is_a_value_error(code, error):
    assert type(Problem(code, "error", None, "x").error()) is error
