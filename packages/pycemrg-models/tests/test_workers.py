import os
import threading

import pytest

from pycemrg.models.workers import StoppableReader, StoppedError, work_off


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_each_job_is_done_once():
    done = []
    work_off(range(1_000), lambda job, _: done.append(job))
    assert sorted(done) == list(range(1_000))


def test_no_jobs_are_no_work():
    work_off([], lambda *_: 1 / 0)


def test_the_first_error_ends_the_others_and_is_raised():
    meeting, begun = threading.Barrier(2), []

    def work(job, stop):
        begun.append(job)
        meeting.wait(30)
        if job == 0:
            raise IndexError("the first")
        assert stop.wait(30)
        raise StoppedError

    with pytest.raises(IndexError, match="the first"):
        work_off(range(1_000), work)
    assert sorted(begun) == [0, 1]


def test_a_reader_ends_when_it_is_told_to(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    stop = threading.Event()
    with (tmp_path / "a").open("rb") as file:
        reader = StoppableReader(file, stop)
        assert reader.read(2) == b"ab"
        stop.set()
        with pytest.raises(StoppedError):
            reader.read(1)
