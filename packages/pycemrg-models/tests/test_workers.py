import os
import threading

import pytest

from pycemrg.models.workers import ReportError, StoppedError, Tally, until, work_off


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


def test_what_is_read_ends_when_somebody_wants_it_to():
    stop = threading.Event()
    pieces = until(stop, iter("abc"))
    assert next(pieces) == "a"
    stop.set()
    with pytest.raises(StoppedError):
        next(pieces)


def test_what_is_read_is_the_same_while_nobody_does():
    assert list(until(threading.Event(), "abc")) == ["a", "b", "c"]


def test_a_tally_counts_what_all_threads_add_and_reports_one_at_a_time():
    calls, busy = [], threading.Lock()

    def report(done, total):
        assert busy.acquire(blocking=False), "two calls at once"
        threading.Event().wait(0.002)  # in which another comes, if nothing holds it back
        calls.append((done, total))
        busy.release()

    tally = Tally(report)
    tally.expect(60)
    work_off(range(20), lambda *_: tally.add(3))
    assert calls == [(done, 60) for done in range(0, 61, 3)]


def test_a_tally_tells_an_error_of_its_receiver_from_other_errors():
    def report(*_):
        raise ValueError("of the receiver")

    with pytest.raises(ReportError, match="of the receiver") as caught:
        Tally(report).expect(1)
    assert isinstance(caught.value.original, ValueError)
