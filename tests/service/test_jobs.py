"""The queue of generations: bounded, one at a time, cancelled between steps, let go of later."""

import threading

import pytest
from PIL import Image

from unidiff_cli.config.schema import Generate
from unidiff_cli.errors import NotReady
from unidiff_cli.generation.generator import GeneratedImage, Generator
from unidiff_cli.service.jobs import Full, Jobs, Wanted
from unidiff_cli.service.limits import Limits


class Record:
    def plain(self):
        return {"seed": 0}


class Held:
    """A generator of two steps an image, each of which waits for `go`."""

    def __init__(self):
        self.options, self.go, self.began = Generate(batch_size=1, steps=2), threading.Event(), 0
        self.running = threading.Event()

    def generate(self, prompts, seeds, options, *, negative, size, on_step):
        for prompt in prompts:
            for _ in range(options.steps):
                self.began += 1
                self.running.set()
                assert self.go.wait(30)
                on_step()
            if prompt == "broken":
                raise NotReady("The export is gone.")
            if prompt == "mistake":
                raise KeyError("ours")
            yield GeneratedImage(Image.new("RGB", (8, 8)), Record())


@pytest.fixture
def held(monkeypatch, finished):
    generator = Held()
    monkeypatch.setattr(Jobs, "_open", lambda self: generator)
    monkeypatch.setattr("unidiff_cli.service.jobs.write_image", lambda s, i, r: i.save(s, "PNG"))
    return generator


@pytest.fixture
def jobs(held, finished):
    jobs = Jobs(finished, None, Limits(queue=2, finished=1))
    yield jobs
    held.go.set()
    jobs.stop()
    jobs.join(30)
    assert not jobs._worker.is_alive()


def until(job):
    for _ in range(3000):
        if job.ended:
            return job.state
        threading.Event().wait(0.01)
    raise AssertionError(job)


def test_more_than_the_queue_holds_is_refused(jobs, held):
    first = jobs.add(Wanted("a", 1))
    assert held.running.wait(30)
    waiting = [jobs.add(Wanted(name, 1)) for name in "bc"]
    with pytest.raises(Full):
        jobs.add(Wanted("d", 1))
    assert len(jobs) == 2 and [job.state for job in waiting] == ["waiting"] * 2
    held.go.set()
    assert [until(job) for job in (first, *waiting)] == ["done"] * 3
    assert (first.done, first.steps, len(first.images)) == (2, 2, 1)


def test_a_generation_is_cancelled_where_it_stands(jobs, held):
    running = jobs.add(Wanted("a", 4))
    assert held.running.wait(30)
    waiting = jobs.add(Wanted("b", 1))
    jobs.cancel(waiting)
    jobs.cancel(running)
    assert waiting.state == "cancelled"
    held.go.set()
    assert until(running) == "cancelled" and held.began == 1 and not running.images
    jobs.cancel(running)
    assert running.state == "cancelled"


@pytest.mark.parametrize(("prompt", "words"), [("broken", "gone"), ("mistake", "log says why")])
def test_one_that_fails_says_why_and_the_next_goes_on(jobs, held, prompt, words):
    held.go.set()
    failed, after = jobs.add(Wanted(prompt, 1)), jobs.add(Wanted("a", 1))
    assert until(failed) == "failed" and words in failed.error
    assert until(after) == "done"


def test_those_that_ended_long_ago_are_let_go(jobs, held):
    held.go.set()
    done = []
    for name in "abcd":
        done.append(jobs.add(Wanted(name, 1)))
        until(done[-1])
    assert [jobs.get(job.id) is not None for job in done] == [False, False, True, True]


def test_what_waits_is_cancelled_at_the_end_and_what_runs_is_finished(held, finished):
    jobs = Jobs(finished, None, Limits())
    running = jobs.add(Wanted("a", 1))
    assert held.running.wait(30)
    waiting = jobs.add(Wanted("b", 1))
    jobs.stop()
    assert waiting.state == "cancelled"
    with pytest.raises(Full):
        jobs.add(Wanted("c", 1))
    held.go.set()
    jobs.join(30)
    assert running.state == "done" and len(running.images) == 1


def test_another_export_is_loaded_when_it_is_the_current_one(finished, monkeypatch):
    opened = []
    real = Generator.open.__func__
    monkeypatch.setattr(
        Generator, "open", classmethod(lambda c, *a: opened.append(a) or real(c, *a))
    )
    jobs = Jobs(finished, None, Limits())
    first = jobs._open()
    assert jobs._open() is first and len(opened) == 1
    first.weights_hash = "of the export before"
    assert jobs._open() is not first and len(opened) == 2
    jobs.stop()
