import pytest

from pycemrg.data.tables import slicer_color

# The example of https://slicer.readthedocs.io/en/latest/developer_guide/modules/colors.html with
# other labels.
TABLE = """\
# Color table file heart.ctbl
# 3 values
0 Background 0 0 0 0
1 left_atrium 216 101 79 255
7 RV 0 10 255 128
"""


@pytest.fixture
def read(table):
    return lambda text: slicer_color.read(table(text, "heart.ctbl"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TABLE, id="plain"),
        pytest.param(TABLE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + TABLE, id="byte order mark"),
        pytest.param(TABLE.replace(" ", " \t "), id="more blanks"),
        pytest.param(TABLE + "\n\n# end\n", id="blank lines and comments"),
        pytest.param(TABLE.replace("255\n", "255 thrown away\n"), id="comment in a row"),
    ],
)
def test_rows_are_index_name_and_colour(read, text):
    assert read(text).to_dict() == {
        "labels": {"Background": 0, "left_atrium": 1, "RV": 7},
        "colors": {"Background": "#00000000", "left_atrium": "#d8654f", "RV": "#000aff80"},
    }


def test_entries_without_a_name_are_passed_over(read):
    assert dict(read("1 (none) 0 0 0 0\n2 LV 1 2 3 255\n3 (none) 0 0 0 0\n").labels) == {"LV": 2}


def test_apostrophes_around_a_name_are_dropped_as_slicer_does(read):
    assert dict(read("1 'LV' 1 2 3 255\n2 '' 1 2 3 255\n").labels) == {"LV": 1}


def test_fractions_that_slicer_writes_are_rounded(read):
    assert read("1 LV 127.5 0.2 254.6 255\n").colors == {"LV": "#8000ff"}


def test_a_table_without_rows_is_a_standard_without_labels(read):
    assert len(read("# Color table file\n# 0 values\n")) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("2 LV 1 2 3", r":3:1: expected index name red .* got '2 LV 1 2 3'", id="few"),
        pytest.param("LV 2 1 2 3 255", r":3:1: expected index as an integer, got 'LV'", id="order"),
        pytest.param("2 left atrium 1 2 3 255", r":3:8: expected red .* got 'atrium'", id="blank"),
        pytest.param("2 region 2 1 2 3 255", r":3:18: a seventh number", id="blank, number"),
        pytest.param("2 LV 1 2 300 255", r":3:10: expected blue .* 0 to 255, got '300'", id="300"),
        pytest.param("2 LV 1 2 -3 255", r":3:10: expected blue", id="negative"),
        pytest.param("2.5 LV 1 2 3 255", r":3:1: expected index as an integer", id="fraction"),
        pytest.param("3 RV 1 2 3 255", r":3:1: the name 'RV' already stands at line 2", id="twice"),
    ],
)
def test_a_malformed_row_is_refused_with_file_and_line(read, line, message):
    with pytest.raises(ValueError, match=f"^heart.ctbl{message}"):
        read(f"# Color table file\n1 RV 1 2 3 255\n{line}\n")


def test_a_continuous_scale_is_refused(read):
    with pytest.raises(ValueError, match=r"^heart.ctbl:1:1: a continuous colour scale"):
        read("# Color procedural file x.txt\n# 2 points\n0 0 0 0\n255 1 1 1\n")


def test_a_table_is_written_as_slicer_writes_one(heart, out):
    path = out(".ctbl")
    losses = slicer_color.write(heart, path)
    header, count, *rows = path.read_text().splitlines()
    assert (header, count) == ("# Color table file", "# 4 values")
    assert rows[:3] == ["0 background 0 0 0 0", "1 LV 161 0 92 255", "2 RV 10 20 30 128"]
    assert rows[3].startswith("5 left_atrium ")
    title = "a Slicer colour table"
    assert losses == [
        f"{title} cannot hold every character of a name: 'left atrium' as 'left_atrium'",
        f"{title} has a colour for every label: made up for 'left atrium'",
        f"{title} has no groups: lost are 'ventricles'",
        f"{title} has no terminology codes: lost for 'LV'",
        f"{title} has no aliases: lost for 'LV'",
    ]


def test_what_slicer_would_refuse_or_not_show_is_left_out(standard, out):
    colors = dict.fromkeys(["outside", "LV", "far", "(none)"], "#010203")
    labels = standard({"outside": -1, "LV": 1000000, "far": 1000001, "(none)": 4}, colors=colors)
    losses = slicer_color.write(labels, out(".ctbl"))
    assert dict(slicer_color.read(out(".ctbl")).labels) == {"LV": 1000000}
    title = "a Slicer colour table"
    assert losses == [
        f"{title} has values from 0 to 1000000 only: 'outside' (-1), 'far' (1000001) left out",
        f"{title} has no way to write the name '(none)': left out",
    ]


def test_a_round_trip_keeps_names_values_and_colours(read, out):
    labels = read(TABLE)
    assert slicer_color.write(labels, out(".ctbl")) == []
    assert slicer_color.read(out(".ctbl")).to_dict() == labels.to_dict()


def test_an_existing_file_is_replaced_only_when_told(heart, out):
    path = out(".ctbl")
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        slicer_color.write(heart, path)
    assert path.read_text() == "precious"
    slicer_color.write(heart, path, overwrite=True)
    assert len(slicer_color.read(path)) == 4
