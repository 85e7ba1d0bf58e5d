"""Threads for jobs: never too few, and used again."""

import threading

from a3s_power.runner.workers import Workers

_DEADLINE = 30.0


def test_jobs_never_wait_for_one_another() -> None:
    workers, together = Workers(), threading.Barrier(6)
    for _ in range(5):
        workers.do(lambda: together.wait(_DEADLINE))
    # It breaks, and this raises, unless all five are there at once.
    together.wait(_DEADLINE)


def test_a_thread_takes_the_next_job() -> None:
    workers, ran = Workers(), list[threading.Thread]()
    for _ in range(50):
        done = threading.Event()

        def work(done: threading.Event = done) -> None:
            ran.append(threading.current_thread())
            done.set()

        workers.do(work)
        assert done.wait(_DEADLINE)
    assert len(ran) == 50
    # A thread needs a moment between its job's end and being free, and a new one is made meanwhile.
    assert len(set(ran)) < 25
