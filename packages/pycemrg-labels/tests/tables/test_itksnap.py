import struct

import pytest

from pycemrg.data.tables import itksnap

# The layout of the files that ITK-SNAP writes, with its header.
TABLE = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   216  101   79        1  1  1    "left atrium"
    7     0   10  255      0.5  0  1    "RV"
"""


@pytest.fixture
def read(table):
    return lambda text: itksnap.read(table(text, "heart.txt"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TABLE, id="plain"),
        pytest.param(TABLE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + TABLE, id="byte order mark"),
        pytest.param(TABLE.replace("  ", "\t"), id="tabs"),
        pytest.param(TABLE.replace('"\n', '" \n\n'), id="blank lines"),
    ],
)
def test_rows_are_index_colour_flags_and_a_name_in_quotes(read, text):
    assert read(text).to_dict() == {
        "labels": {"Clear Label": 0, "left atrium": 1, "RV": 7},
        "colors": {"Clear Label": "#00000000", "left atrium": "#d8654f", "RV": "#000aff80"},
    }


def test_an_invisible_label_is_a_label_and_one_without_a_name_is_passed_over(read):
    assert dict(read('1 1 2 3 1 0 0 "LV"\n2 1 2 3 1 1 1 ""\n').labels) == {"LV": 1}


def test_a_name_is_kept_as_it_is(read):
    assert list(read('1 1 2 3 1 1 1 " a  # b \'"\n')) == [" a  # b '"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("2 1 2 3 1 1 1 LV", r":2:1: expected IDX R G B A VIS MSH .LABEL.", id="bare"),
        pytest.param('2 1 2 3 1 1 1 "LV', r":2:1: expected IDX R", id="open quote"),
        pytest.param('2 1 2 3 1 1 "LV"', r":2:1: expected IDX R", id="too few"),
        pytest.param('2 1 2 3 1 1 1 1 "LV"', r":2:1: expected IDX R", id="too many"),
        pytest.param('2 1 2 3 1 1 1 "LV" x', r":2:1: expected IDX R", id="something after"),
        pytest.param('x 1 2 3 1 1 1 "LV"', r":2:1: expected IDX as an integer, got 'x'", id="text"),
        pytest.param('2 1 2 x 1 1 1 "LV"', r":2:7: expected B as a number", id="colour"),
        pytest.param('2 1 2 3 255 1 1 "LV"', r":2:9: expected A .* 0 to 1, got '255'", id="alpha"),
        pytest.param('2 1 2 3 1 2 1 "LV"', r":2:11: expected VIS .* 0 to 1, got '2'", id="flag"),
        pytest.param('2 1 2 3 1 1 1 "RV"', r":2:1: the name 'RV' .* at line 1", id="name twice"),
    ],
)
def test_a_malformed_row_is_refused_with_file_and_line(read, line, message):
    with pytest.raises(ValueError, match=f"^heart.txt{message}"):
        read(f'1 1 2 3 1 1 1 "RV"\n{line}\n')


def test_descriptions_are_written_as_itksnap_writes_them(heart, out):
    path = out(".txt")
    losses = itksnap.write(heart, path)
    assert path.read_text().startswith("# ITK-SnAP Label Description File\n")
    rows = [line.split(None, 7) for line in path.read_text().splitlines() if line[0] != "#"]
    assert rows[:3] == [
        ["0", "0", "0", "0", "0", "0", "0", '"background"'],
        ["1", "161", "0", "92", "1", "1", "1", '"LV"'],
        ["2", "10", "20", "30", "0.502", "1", "1", '"RV"'],
    ]
    assert rows[3][7] == '"left atrium"'
    title = "an ITK-SNAP label description"
    assert losses == [
        f"{title} has a colour for every label: made up for 'left atrium'",
        f"{title} has no groups: lost are 'ventricles'",
        f"{title} has no terminology codes: lost for 'LV'",
        f"{title} has no aliases: lost for 'LV'",
    ]


def test_every_opacity_is_the_same_after_itksnap_and_after_us(standard, out):
    names = {f"L{i}": i for i in range(256)}
    labels = standard(names, colors={name: f"#010203{i:02x}" for name, i in names.items()})
    assert itksnap.write(labels, out(".txt")) == []
    rows = [line.split() for line in out(".txt").read_text().splitlines() if line[0] != "#"]
    # Its reader computes (unsigned char)(255 * alpha) in single precision.
    single = [struct.unpack("f", struct.pack("f", float(row[4])))[0] for row in rows]
    assert [int(255 * alpha) for alpha in single] == list(range(256))
    again = itksnap.read(out(".txt")).colors
    assert [int((again[f"L{i}"] + "ff")[7:9], 16) for i in range(256)] == list(range(256))


def test_what_the_format_cannot_hold_is_left_out_or_changed(standard, out):
    names = ["outside", "far", 'a"b', "", "old", "new"]
    labels = standard(
        {"outside": -1, "far": 65536, 'a"b': 1, "": 2, "old": 65535, "new": 65535},
        colors=dict.fromkeys(names, "#010203"),
    )
    losses = itksnap.write(labels, out(".txt"))
    assert dict(itksnap.read(out(".txt")).labels) == {"a'b": 1, "new": 65535}
    title = "an ITK-SNAP label description"
    assert losses == [
        f"{title} has values from 0 to 65535 only: 'outside' (-1), 'far' (65536) left out",
        f"{title} has one name for a value, the last is written: 'old' left out",
        f"{title} has no way to write the name '': left out",
        f"{title} cannot hold every character of a name: 'a\"b' as \"a'b\"",
    ]


def test_a_round_trip_keeps_names_values_and_colours(read, out):
    labels = read(TABLE)
    assert itksnap.write(labels, out(".txt")) == []
    assert itksnap.read(out(".txt")).to_dict() == labels.to_dict()
