import pytest

from pycemrg.data.tables import freesurfer

# The layout of FreeSurferColorLUT.txt; A is transparency.
TABLE = """\
#$Id: lut $

#No. Label Name:                            R   G   B   A

0   Unknown                                 0   0   0   0
1   Left-Atrium                             216 101 79  0
# ventricles
7   RV*                                     0   10  255 127
"""


@pytest.fixture
def read(table):
    return lambda text: freesurfer.read(table(text, "lut.txt"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TABLE, id="plain"),
        pytest.param(TABLE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + TABLE, id="byte order mark"),
        pytest.param(TABLE.replace("79  0\n", "79  0  3\n"), id="a tissue type"),
        pytest.param(TABLE.replace("79  0\n", "79  0 -1 # gray\n"), id="and a comment"),
        pytest.param(TABLE.replace("79  0\n", "79  0 # 1 2 3\n"), id="a comment"),
    ],
)
def test_rows_are_number_name_colour_and_transparency(read, text):
    assert read(text).to_dict() == {
        "labels": {"Unknown": 0, "Left-Atrium": 1, "RV*": 7},
        "colors": {"Unknown": "#000000", "Left-Atrium": "#d8654f", "RV*": "#000aff80"},
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("2 LV 1 2 3", r":2:1: expected index name red", id="few"),
        pytest.param("2 left atrium 1 2 3 0", r":2:8: expected red .* got 'atrium'", id="blank"),
        pytest.param("LV", r":2:1: expected index name red .* got 'LV'", id="a word"),
        pytest.param("x LV 1 2 3 0", r":2:1: expected index as an integer", id="text"),
        pytest.param("2 LV 1 2 256 0", r":2:10: expected blue", id="256"),
        pytest.param("2 LV 1 2 3 0 x", r":2:14: expected tissue type as an integer", id="type"),
        pytest.param("2 LV 1 2 3 0 1 2", r":2:16: expected nothing after the tissue", id="eight"),
        pytest.param("3 RV 1 2 3 0", r":2:1: the name 'RV' .* at line 1", id="name twice"),
    ],
)
def test_a_malformed_row_is_refused_with_file_and_line(read, line, message):
    with pytest.raises(ValueError, match=f"^lut.txt{message}"):
        read(f"1 RV 1 2 3 0\n{line}\n")


def test_a_table_is_written_with_transparency(heart, out):
    path = out(".lut")
    losses = freesurfer.write(heart, path)
    header, *rows = path.read_text().splitlines()
    assert header.split() == ["#No.", "Label", "Name:", "R", "G", "B", "A"]
    assert [row.split() for row in rows[:3]] == [
        ["0", "background", "0", "0", "0", "255"],
        ["1", "LV", "161", "0", "92", "0"],
        ["2", "RV", "10", "20", "30", "127"],
    ]
    assert rows[3].split()[:2] == ["5", "left_atrium"]
    title = "a FreeSurfer look-up table"
    assert losses == [
        f"{title} cannot hold every character of a name: 'left atrium' as 'left_atrium'",
        f"{title} has a colour for every label: made up for 'left atrium'",
        f"{title} has no groups: lost are 'ventricles'",
        f"{title} has no terminology codes: lost for 'LV'",
        f"{title} has no aliases: lost for 'LV'",
    ]


def test_values_that_are_no_index_and_names_without_a_character_are_left_out(standard, out):
    labels = standard(
        {"outside": -1, "far": 2**31, "": 3, "LV": 2**31 - 1},
        colors=dict.fromkeys(["outside", "far", "", "LV"], "#010203"),
    )
    losses = freesurfer.write(labels, out(".lut"))
    assert dict(freesurfer.read(out(".lut")).labels) == {"LV": 2147483647}
    title = "a FreeSurfer look-up table"
    limits = "from 0 to 2147483647"
    assert losses == [
        f"{title} has values {limits} only: 'outside' (-1), 'far' (2147483648) left out",
        f"{title} has no way to write the name '': left out",
    ]


def test_a_round_trip_keeps_names_values_and_colours(read, out):
    labels = read(TABLE)
    assert freesurfer.write(labels, out(".lut")) == []
    assert freesurfer.read(out(".lut")).to_dict() == labels.to_dict()
