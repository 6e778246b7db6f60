import logging

import pytest

from pycemrg.core.manifests import Place
from pycemrg.data.tables.lines import (
    Field,
    channel,
    entries,
    fields,
    integer,
    number,
    one_line,
    read_text,
    records,
)

HERE = Place("heart.txt", 3, 7)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("1 Vorhof-ä\n".encode(), id="utf-8"),
        pytest.param(b"\xef\xbb\xbf" + "1 Vorhof-ä\n".encode(), id="utf-8 with a mark"),
        pytest.param(b"\xff\xfe" + "1 Vorhof-ä\n".encode("utf-16-le"), id="utf-16, little"),
        pytest.param(b"\xfe\xff" + "1 Vorhof-ä\n".encode("utf-16-be"), id="utf-16, big"),
    ],
)
def test_unicode_is_read_with_and_without_a_mark(table, data, caplog):
    assert read_text(table(data, "heart.txt")) == "1 Vorhof-ä\n"
    assert not caplog.records


def test_what_is_not_unicode_is_read_as_latin_1_with_a_warning(table, caplog):
    with caplog.at_level(logging.WARNING):
        assert read_text(table(b"1 Vorhof-\xe4\n", "heart.txt")) == "1 Vorhof-ä\n"
    assert caplog.messages == ["heart.txt is not UTF-8; it is read as Latin-1"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"1 LV\n2 \0RV\n", r"^heart.txt:2:1: not a text file", id="null"),
        pytest.param(b"\xff\xfe1", r"^heart.txt:1:1: not valid UTF-16", id="half a character"),
        pytest.param(b"#" * 2_000_001, r"^heart.txt:1:1: larger than 2 MB", id="too large"),
    ],
)
def test_what_is_no_text_is_refused(table, data, message):
    with pytest.raises(ValueError, match=message):
        read_text(table(data, "heart.txt"))


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^no label table at heart\.txt$"):
        read_text("heart.txt")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_entries_are_lines_that_say_something(end):
    text = end.join(["# index name", "", " \t", "1 LV", "  # indented", "  2 RV"])
    assert [(field.place.line, field.text) for field in entries(text, "x")] == [
        (4, "1 LV"),
        (6, "  2 RV"),
    ]


def test_unicode_line_separators_and_spaces_do_not_break_a_line_or_a_name():
    (line,) = entries("1 a\u2028b\u00a0c\x1cd", "x")
    assert [field.text for field in fields(line)] == ["1", "a\u2028b\u00a0c\x1cd"]


def test_a_field_knows_its_column():
    line = Field(Place("x", 4, 1), "  12\tLV")
    assert fields(line) == [Field(Place("x", 4, 3), "12"), Field(Place("x", 4, 6), "LV")]


@pytest.mark.parametrize("text", ["7", "+7", "007"])
def test_integers_are_decimal(text):
    assert integer(Field(HERE, text), "index") == 7


@pytest.mark.parametrize("text", ["", "1.0", "0x10", "1_0", "²", "٣", "1e3", "9" * 19, "9" * 5000])
def test_what_is_no_integer_is_refused_with_its_place(text):
    with pytest.raises(ValueError, match=r"^heart.txt:3:7: expected index as an integer, got '"):
        integer(Field(HERE, text), "index")


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("255", 255), ("127.4", 127), ("127.5", 128), ("1e-05", 0)]
)
def test_a_channel_is_rounded(text, value):
    assert channel(Field(HERE, text), "red") == value


@pytest.mark.parametrize("text", ["-1", "256", "255.1", "nan", "inf", "1e400", "red", "", "9e999"])
def test_a_channel_out_of_range_is_refused(text):
    message = r"^heart.txt:3:7: expected red as a number from 0 to 255, got '"
    with pytest.raises(ValueError, match=message):
        channel(Field(HERE, text), "red")


def test_a_number_keeps_its_fraction():
    assert number(Field(HERE, "0.25"), "A", 1) == 0.25


def test_records_are_split_by_rfc_4180_and_know_their_first_line():
    text = 'a,b\r\n1,"x, ""y"""\r\n\r\n2,"two\r\nlines"\r\n3,c\r\n'
    rows = [(place.line, cells) for place, cells in records(text, "x", ",")]
    assert rows == [
        (1, ["a", "b"]),
        (2, ["1", 'x, "y"']),
        (4, ["2", "two\nlines"]),
        (6, ["3", "c"]),
    ]


@pytest.mark.parametrize("text", ['a,b\n1,"x', 'a,b\n1,"x"y'], ids=["open", "text after"])
def test_a_quotation_mark_out_of_place_is_refused(text):
    with pytest.raises(ValueError, match=r"^x:2:1: a row that cannot be read"):
        list(records(text, "x", ","))


def test_a_text_becomes_one_line():
    assert one_line("a\nb\rc\0d") == "a b c d"
