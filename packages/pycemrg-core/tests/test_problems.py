from pycemrg.core.manifests import Place
from pycemrg.core.problems import Problem


def test_a_problem_reads_as_place_and_message():
    problem = Problem("no-default", "warning", Place("models.yaml", 4, 3), "no 'default'")
    assert str(problem) == "models.yaml:4:3: no 'default'"
    assert str(problem._replace(place=None)) == "no 'default'"
