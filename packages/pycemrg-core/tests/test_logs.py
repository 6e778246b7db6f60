import io
import logging
import os
import re
import sys

import pytest

from pycemrg.core import setup_logging


@pytest.fixture(autouse=True)
def root():
    """Give each test a bare root logger, and put pytest's own handlers back afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    logger.handlers[:] = []
    logger.setLevel(logging.WARNING)
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_the_console_shows_name_and_message_on_stderr(capsys):
    setup_logging()
    logging.getLogger("pipeline").info("meshing %s", "case_01")
    logging.getLogger("pipeline").debug("hidden")
    assert capsys.readouterr() == ("", "[pipeline] meshing case_01\n")


@pytest.mark.parametrize("level", [logging.DEBUG, "DEBUG"], ids=["number", "name"])
def test_the_level_is_the_first_positional_argument(capsys, level):
    setup_logging(level)
    logging.getLogger("pipeline").debug("shown")
    assert capsys.readouterr().err == "[pipeline] shown\n"


def test_the_file_holds_debug_messages_with_time_level_and_logger(tmp_path, capsys):
    path = tmp_path / "logs" / "run" / "pipeline.log"
    setup_logging(logging.WARNING, path)
    logging.getLogger("mesh.tool").debug("starting ü")
    assert capsys.readouterr().err == ""
    line = path.read_text(encoding="utf-8")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} DEBUG mesh\.tool: starting ü\n", line
    )


def test_the_file_may_be_named_by_a_text_and_is_appended_to(tmp_path):
    path = tmp_path / "pipeline.log"
    path.write_text("earlier run\n")
    setup_logging(log_file=str(path))
    logging.getLogger("x").info("now")
    assert path.read_text().startswith("earlier run\n")
    assert path.read_text().endswith("now\n")


def test_a_second_call_replaces_the_first(tmp_path, capsys):
    setup_logging(logging.INFO, tmp_path / "one.log")
    setup_logging(logging.INFO, tmp_path / "two.log")
    logging.getLogger("x").info("once")
    assert capsys.readouterr().err == "[x] once\n"
    assert (tmp_path / "one.log").read_text() == ""
    assert (tmp_path / "two.log").read_text().count("once") == 1


def test_a_plain_console_handler_of_basic_config_does_not_double_the_lines(capsys):
    logging.basicConfig()
    setup_logging()
    logging.getLogger("x").info("once")
    assert capsys.readouterr().err == "[x] once\n"


def test_handlers_of_others_stay_and_see_no_debug_because_of_the_file(root, tmp_path):
    stream = io.StringIO()
    other = logging.StreamHandler(stream)
    root.addHandler(other)
    setup_logging(logging.INFO, tmp_path / "pipeline.log")
    logging.getLogger("x").debug("fine")
    logging.getLogger("x").info("normal")
    assert other in root.handlers
    assert stream.getvalue() == "normal\n"


def test_a_handler_that_saw_debug_before_goes_on_to_see_it(root, tmp_path):
    stream = io.StringIO()
    root.addHandler(logging.StreamHandler(stream))
    root.setLevel(logging.DEBUG)
    setup_logging(logging.INFO, tmp_path / "pipeline.log")
    setup_logging(logging.INFO, tmp_path / "pipeline.log")
    logging.getLogger("x").debug("fine")
    assert stream.getvalue() == "fine\n"


def test_a_handler_that_is_given_another_level_later_follows_it(root, tmp_path):
    stream = io.StringIO()
    other = logging.StreamHandler(stream)
    root.addHandler(other)
    setup_logging(logging.INFO, tmp_path / "pipeline.log")
    other.setLevel(logging.DEBUG)
    logging.getLogger("x").debug("wanted")
    assert stream.getvalue() == "wanted\n"


def test_without_a_file_nothing_holds_other_handlers_back(root):
    other = logging.StreamHandler(io.StringIO())
    root.addHandler(other)
    setup_logging()
    assert other.filters == []


def test_repeated_calls_put_one_filter_on_a_handler_of_others(root, tmp_path):
    other = logging.StreamHandler(io.StringIO())
    root.addHandler(other)
    for _ in range(3):
        setup_logging(logging.INFO, tmp_path / "pipeline.log")
    assert len(other.filters) == 1


def test_the_console_follows_a_redirected_stderr(monkeypatch):
    setup_logging()
    later = io.StringIO()
    monkeypatch.setattr(sys, "stderr", later)
    logging.getLogger("x").info("redirected")
    assert later.getvalue() == "[x] redirected\n"


def test_an_unknown_level_is_refused_and_nothing_changes(root):
    setup_logging()
    before = root.handlers[:]
    with pytest.raises(ValueError, match="LOUD"):
        setup_logging("LOUD")
    assert root.handlers == before


def test_a_log_file_that_cannot_be_opened_leaves_the_logging_as_it_was(root, tmp_path):
    setup_logging()
    before = root.handlers[:]
    with pytest.raises(OSError, match=re.escape(tmp_path.name)):
        setup_logging(log_file=tmp_path)
    assert root.handlers == before


def test_a_name_that_is_not_utf8_reaches_the_file(tmp_path, capsys):
    path = tmp_path / "pipeline.log"
    setup_logging(logging.CRITICAL, path)
    logging.getLogger("x").info("case %s", os.fsdecode(b"\xff"))
    assert path.read_text().endswith("case \\udcff\n")
    assert capsys.readouterr().err == ""


def test_a_file_in_the_place_of_the_logs_folder_is_called_that(tmp_path):
    (tmp_path / "good.txt").touch()
    with pytest.raises(NotADirectoryError, match=r"good\.txt is a file; a folder was expected"):
        setup_logging(log_file=tmp_path / "good.txt" / "x.log")
