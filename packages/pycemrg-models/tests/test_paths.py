import pytest

from pycemrg.models.paths import inside, is_plain


@pytest.mark.parametrize(
    ("path", "meant"),
    [("a/b", "a/b"), ("./a//b/", "a/b"), (".", ""), ("..a/b..", "..a/b.."), ("...", "...")],
)
def test_a_path_inside_the_tree_is_made_short(path, meant):
    assert inside(path) == meant


@pytest.mark.parametrize(
    "path", ["/a", "//a", "..", "a/..", "a/../b", "C:a", "c:/a", "a\\b", "a\x00b", "a\nb", "\x7f"]
)
def test_a_path_that_may_lead_out_is_none(path):
    assert inside(path) is None


def test_a_link_may_lead_up_and_is_plain_all_the_same():
    assert is_plain("../lib/a")
    assert not is_plain("/lib/a")
