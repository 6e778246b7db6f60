import pytest

from pycemrg.data import Code
from pycemrg.data.tables import bids

# As in the BIDS specification, Derivatives, Imaging: index, name, abbreviation, color, mapping.
TABLE = """\
index\tname\tabbreviation\tcolor\tmapping
100\tGray Matter\tGM\t#ff53bb\t1
101\tWhite Matter\tWM\t#2F8BBE\t2
137\tpars opercularis\tn/a\tn/a\tn/a
"""


@pytest.fixture
def read(table):
    return lambda text: bids.read(table(text, "dseg.tsv"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TABLE, id="plain"),
        pytest.param(TABLE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + TABLE, id="byte order mark"),
        pytest.param(TABLE.replace("n/a", ""), id="empty cells"),
        pytest.param(TABLE.replace("abbreviation", "abbr"), id="column of early drafts"),
        pytest.param(TABLE.replace("Gray Matter", '"Gray Matter"'), id="quotes"),
        pytest.param(TABLE.replace("#ff53bb", "ff53bb"), id="no number sign"),
    ],
)
def test_a_row_is_a_label_with_abbreviation_colour_and_mapping(read, text):
    labels = read(text)
    assert dict(labels.labels) == {
        "Gray Matter": 100,
        "White Matter": 101,
        "pars opercularis": 137,
    }
    assert labels.aliases == {"Gray Matter": ("GM",), "White Matter": ("WM",)}
    assert labels.colors == {"Gray Matter": "#ff53bb", "White Matter": "#2f8bbe"}
    assert labels.codes == {"Gray Matter": Code("BIDS", "1"), "White Matter": Code("BIDS", "2")}


def test_columns_may_be_in_any_order_and_others_are_passed_over(read):
    labels = read("hemi\tname\txyz\tindex\nL\tIFG\t48, 57\t3\n")
    assert labels.to_dict() == {"labels": {"IFG": 3}}


def test_a_row_without_a_name_is_passed_over(read):
    assert list(read("index\tname\n1\tn/a\n2\t\n3\tLV\n")) == ["LV"]


def test_an_abbreviation_that_is_the_name_is_no_alias(read):
    assert read("index\tname\tabbreviation\n1\tLV\tLV\n").aliases == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", r":1:1: the first row must name a column 'index'", id="empty"),
        pytest.param(
            "index\tlabel\n1\tLV\n", r":1:1: .* column 'name'; .* index, label", id="name"
        ),
        pytest.param("index,name\n1,LV\n", r":1:1: .* its columns are: index,name", id="commas"),
        pytest.param("index\tname\n1.0\tLV\n", r":2:1: expected index as an integer", id="1.0"),
        pytest.param("index\tname\n1\n", r":2:1: expected 2 columns .* got 1", id="short"),
        pytest.param(
            "index\tname\tcolor\n1\tLV\tred\n", r":2:1: expected a color .* got 'red'", id="colour"
        ),
        pytest.param(
            "index\tname\tmapping\n1\tLV\tGM\n", r":2:1: expected mapping as an int", id="mapping"
        ),
        pytest.param("index\tname\n1\tLV\n2\tLV\n", r":3:1: the name 'LV' .* line 2", id="twice"),
    ],
)
def test_a_malformed_table_is_refused_with_file_and_line(read, text, message):
    with pytest.raises(ValueError, match=f"^dseg.tsv{message}"):
        read(text)


def test_a_table_is_written_with_the_columns_that_are_used(heart, out):
    path = out(".tsv")
    losses = bids.write(heart, path)
    assert path.read_text() == (
        "index\tname\tabbreviation\tcolor\n"
        "0\tbackground\tn/a\t#000000\n"
        "1\tLV\tLV_label\t#a1005c\n"
        "2\tRV\tn/a\t#0a141e\n"
        "5\tleft atrium\tn/a\tn/a\n"
    )
    assert losses == [
        "a BIDS look-up table has no groups: lost are 'ventricles'",
        "a BIDS look-up table has no opacity: lost for 'background', 'RV'",
        "a BIDS look-up table has no aliases but one abbreviation: lost for 'LV'",
        "a BIDS look-up table has no codes but an integer of the scheme BIDS: lost for 'LV'",
    ]


def test_bare_labels_make_two_columns_and_negative_values_can_be_held(standard, out):
    assert bids.write(standard({"outside": -1, "LV": 3}), out(".tsv")) == []
    assert out(".tsv").read_text() == "index\tname\n-1\toutside\n3\tLV\n"


def test_names_that_the_format_cannot_hold_are_reported(standard, out):
    labels = standard({"a\tb": 1, "c\nd": 2, "n/a": 3, 'the "e"': 4})
    losses = bids.write(labels, out(".tsv"))
    assert dict(bids.read(out(".tsv")).labels) == {"a\tb": 1, "c d": 2, 'the "e"': 4}
    assert losses == [
        "a BIDS look-up table has no way to write the name 'n/a': left out",
        "a BIDS look-up table cannot hold every character of a name: 'c\\nd' as 'c d'",
    ]


def test_the_meaning_of_a_mapping_is_lost(standard, out):
    code = {"scheme": "BIDS", "value": "1", "meaning": "Gray Matter"}
    losses = bids.write(standard({"cortex": 8}, codes={"cortex": code}), out(".tsv"))
    assert out(".tsv").read_text() == "index\tname\tmapping\n8\tcortex\t1\n"
    assert losses == ["a BIDS look-up table has no meaning of a code: lost for 'cortex'"]


@pytest.mark.parametrize(
    ("scheme", "value"), [("SCT", "1"), ("BIDS", "007"), ("BIDS", "one"), ("BIDS", "9" * 19)]
)
def test_a_code_that_is_no_mapping_is_reported(standard, out, scheme, value):
    codes = {"LV": {"scheme": scheme, "value": value}}
    losses = bids.write(standard({"LV": 1}, codes=codes), out(".tsv"))
    assert out(".tsv").read_text() == "index\tname\n1\tLV\n"
    assert losses == [
        "a BIDS look-up table has no codes but an integer of the scheme BIDS: lost for 'LV'"
    ]


@pytest.mark.parametrize("alias", ["n/a", " ", "a\nb", " x", "LV"])
def test_an_alias_that_cannot_be_an_abbreviation_is_reported(standard, out, alias):
    losses = bids.write(standard({"LV": 1}, aliases={"LV": [alias]}), out(".tsv"))
    assert out(".tsv").read_text() == "index\tname\n1\tLV\n"
    assert losses == ["a BIDS look-up table has no aliases but one abbreviation: lost for 'LV'"]


def test_a_round_trip_keeps_everything_that_the_format_has(read, out):
    labels = read(TABLE)
    assert bids.write(labels, out(".tsv")) == []
    assert bids.read(out(".tsv")).to_dict() == labels.to_dict()
