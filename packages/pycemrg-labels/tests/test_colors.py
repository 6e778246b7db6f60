import pytest

from pycemrg.data.colors import RGBA, made_up, parse


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("#000000", RGBA(0, 0, 0, 255)),
        ("#a1005c", RGBA(161, 0, 92, 255)),
        ("#a1005c00", RGBA(161, 0, 92, 0)),
        ("#ff7f0180", RGBA(255, 127, 1, 128)),
    ],
)
def test_a_text_and_its_channels_are_the_same_colour(text, color):
    assert parse(text) == color
    assert color.text() == text


def test_an_opaque_colour_is_written_in_six_digits():
    assert parse("#a1005cff").text() == "#a1005c"


def test_made_up_colours_are_solid_and_differ_and_the_background_is_invisible():
    found = [made_up(value) for value in range(1, 120)]
    assert made_up(0) == RGBA(0, 0, 0, 0)
    assert len(set(found)) == len(found)
    assert {color.opacity for color in found} == {255}
    assert found == [made_up(value) for value in range(1, 120)]
