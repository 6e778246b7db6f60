import pytest

from pycemrg.data import Code
from pycemrg.data.tables import slicer_csv

# Columns and codes as in the example of
# https://slicer.readthedocs.io/en/latest/developer_guide/modules/colors.html
HEADER = (
    "LabelValue,Name,Color_R,Color_G,Color_B,Color_A,"
    "Category_CodingScheme,Category_CodeValue,Category_CodeMeaning,"
    "Type_CodingScheme,Type_CodeValue,Type_CodeMeaning,"
    "TypeModifier_CodingScheme,TypeModifier_CodeValue,TypeModifier_CodeMeaning,"
    "Region_CodingScheme,Region_CodeValue,Region_CodeMeaning,"
    "RegionModifier_CodingScheme,RegionModifier_CodeValue,RegionModifier_CodeMeaning\n"
)
KIDNEY = (
    "1,left_kidney,185,102,83,255,SCT,123037004,Anatomical Structure,SCT,64033007,Kidney,"
    "SCT,7771000,Left,,,,,,\n"
)
TABLE = f"{HEADER}{KIDNEY}7,right ventricle,0,10,255,128,,,,,,,,,,,,,,,\n"


@pytest.fixture(autouse=True)
def heard(caplog):
    """The warnings that are logged."""
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def read(table):
    return lambda text: slicer_csv.read(table(text, "heart.csv"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TABLE, id="plain"),
        pytest.param(TABLE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + TABLE, id="byte order mark"),
        pytest.param(TABLE + "\n,,\n", id="blank rows"),
    ],
)
def test_a_row_is_a_label_with_colour_and_type(read, text):
    assert read(text).to_dict() == {
        "labels": {"left_kidney": 1, "right ventricle": 7},
        "colors": {"left_kidney": "#b96653", "right ventricle": "#000aff80"},
        "codes": {"left_kidney": {"scheme": "SCT", "value": "64033007", "meaning": "Kidney"}},
    }


def test_what_makes_a_code_say_more_is_not_lost_in_silence(read, heard):
    right = KIDNEY.replace("Left", "Right").replace("1,left", "2,right")
    read(HEADER + KIDNEY + right + KIDNEY.replace("left_", "any_").replace("7771000", ""))
    assert heard() == [
        "heart.csv: modifiers and regions are not kept of 'left_kidney', 'right_kidney'"
    ]


def test_columns_may_be_in_any_order_and_others_are_passed_over(read):
    labels = read("Note,Name,LabelValue\nx,LV,3\n,RV,4\n")
    assert labels.to_dict() == {"labels": {"LV": 3, "RV": 4}}


def test_without_color_a_all_are_opaque(read):
    labels = read("LabelValue,Name,Color_R,Color_G,Color_B\n1,LV,161,0,92\n2,RV,,,\n")
    assert labels.colors == {"LV": "#a1005c"}


def test_a_row_without_a_name_is_called_by_its_terminology(read):
    row = KIDNEY.replace("left_kidney", "")
    assert list(read(HEADER + row)) == ["Left Kidney"]
    assert list(read(HEADER + row.replace("Left", ""))) == ["Kidney"]
    assert list(read(HEADER + row.replace("Kidney", ""))) == []


def test_a_row_that_slicer_calls_none_is_passed_over(read):
    assert list(read("LabelValue,Name\n1,(none)\n2,LV\n")) == ["LV"]


def test_names_may_hold_commas_and_quotation_marks(read):
    assert list(read('LabelValue,Name\n1,"a, ""b"""\n')) == ['a, "b"']


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", r":1:1: the first row must name a column 'LabelValue'", id="empty"),
        pytest.param(
            "Name\nLV\n", r":1:1: .* column 'LabelValue'; its columns are: Name", id="no value"
        ),
        pytest.param(
            "LabelValue;Name\n1;LV\n", r":1:1: .* its columns are: LabelValue;Name", id="semicolon"
        ),
        pytest.param("LabelValue,Name,Name\n", r":1:1: .* names the column 'Name' twice", id="two"),
        pytest.param(
            "LabelValue,Name\n1,LV\n2\n", r":3:1: expected 2 columns .* got 1", id="short"
        ),
        pytest.param("LabelValue,Name\n1,LV,x\n", r":2:1: expected 2 columns .* got 3", id="long"),
        pytest.param("LabelValue,Name\nx,LV\n", r":2:1: expected LabelValue as an int", id="text"),
        pytest.param("LabelValue,Name\n,LV\n", r":2:1: expected LabelValue as an int", id="none"),
        pytest.param('LabelValue,Name\n1,"LV\n', r":2:1: a row that cannot be read", id="quote"),
        pytest.param(
            "LabelValue,Name,Color_R\n1,LV,300\n", r":2:1: expected Color_R .* '300'", id="color"
        ),
        pytest.param(
            "LabelValue,Name,Color_R\n1,LV,30\n", r":2:1: expected Color_G .* got ''", id="no green"
        ),
        pytest.param(
            "LabelValue,Name\n1,LV\n2,LV\n", r":3:1: the name 'LV' .* at line 2", id="name twice"
        ),
    ],
)
def test_a_malformed_table_is_refused_with_file_and_line(read, text, message):
    with pytest.raises(ValueError, match=f"^heart.csv{message}"):
        read(text)


def test_a_table_is_written_with_type_and_category(heart, out):
    path = out(".csv")
    losses = slicer_csv.write(heart, path)
    header, *rows = path.read_text().splitlines()
    assert header + "\n" == HEADER
    assert rows[0] == "0,background,0,0,0,0" + "," * 15
    assert rows[1] == (
        "1,LV,161,0,92,255,SCT,123037004,Anatomical Structure,SCT,87878005,Left ventricle" + "," * 9
    )
    assert losses == [
        "a Slicer colour table (csv) has a colour for every label: made up for 'left atrium'",
        "a Slicer colour table (csv) has no groups: lost are 'ventricles'",
        "a Slicer colour table (csv) has no aliases: lost for 'LV'",
    ]


@pytest.mark.parametrize(
    ("code", "again"),
    [
        (("SCT", "64033007", "Kidney"), Code("SCT", "64033007", "Kidney")),
        ((" SCT", "64033007", " Kidney "), Code("SCT", "64033007", " Kidney ")),
        (("SCT", "6403\n3007 ", ""), Code("SCT", "6403 3007", "")),
        (("SCT", " ", "Kidney"), None),
        (("", "64033007", "Kidney"), None),
    ],
)
def test_a_code_comes_back_or_is_reported(standard, out, code, again):
    codes = {"LV": Code(*code)._asdict()}
    labels = standard({"LV": 1}, colors={"LV": "#a1005c"}, codes=codes)
    losses = slicer_csv.write(labels, out(".csv"))
    assert slicer_csv.read(out(".csv")).codes == ({"LV": again} if again else {})
    assert losses == [
        "a Slicer colour table (csv) cannot hold every code as it is: changed for 'LV'"
    ] * (again != Code(*code))


def test_without_codes_there_are_no_terminology_columns(standard, out):
    labels = standard({"left, atrium": 1}, colors={"left, atrium": "#010203"})
    assert slicer_csv.write(labels, out(".csv")) == []
    assert out(".csv").read_text() == (
        'LabelValue,Name,Color_R,Color_G,Color_B,Color_A\n1,"left, atrium",1,2,3,255\n'
    )


def test_quotation_marks_are_changed_because_slicer_cannot_read_them(standard, out):
    labels = standard(
        {'a"b': 1, "(none)": 2, " ": 3},
        colors=dict.fromkeys(['a"b', "(none)", " "], "#010203"),
        codes={'a"b': {"scheme": "X", "value": "1", "meaning": 'the "b"'}},
    )
    losses = slicer_csv.write(labels, out(".csv"))
    assert slicer_csv.read(out(".csv")).codes == {"a'b": Code("X", "1", "the 'b'")}
    assert losses == [
        "a Slicer colour table (csv) has no way to write the name '(none)', ' ': left out",
        "a Slicer colour table (csv) cannot hold every character of a name: 'a\"b' as \"a'b\"",
        "a Slicer colour table (csv) cannot hold every code as it is: changed for 'a\"b'",
    ]


def test_a_round_trip_keeps_names_values_colours_and_codes(read, out):
    labels = read(TABLE)
    assert slicer_csv.write(labels, out(".csv")) == []
    assert slicer_csv.read(out(".csv")).to_dict() == labels.to_dict()
