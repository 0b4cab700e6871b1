"""A run's log: whole lines only, cut back to a step, followed while it grows."""

import pytest

from unidiff_cli.project import run_log


@pytest.fixture
def run(tmp_path):
    """The folder of a run that logged five steps."""
    for step in range(1, 6):
        run_log.append(tmp_path, step=step, loss=1 / 3)
    return tmp_path


def steps(lines):
    return [line["step"] for line in lines]


def test_a_run_without_a_log_has_no_lines(tmp_path):
    assert run_log.read(tmp_path) == [] and run_log.tail(tmp_path, 0) == (0, [])


def test_numbers_are_rounded_to_seven_digits(run):
    assert run_log.read(run)[2] == {"step": 3, "loss": 0.3333333}


@pytest.mark.parametrize("junk", [b'{"step": 6, "lo\xff', b'5\n{"step": 6, "lo', b"[]\n", b"\n"])
def test_a_line_that_is_not_whole_is_left_out(run, junk):
    with open(run / run_log.FILE, "ab") as stream:
        stream.write(junk)
    assert steps(run_log.read(run)) == [1, 2, 3, 4, 5]


def test_the_log_is_cut_to_a_step_and_goes_on_from_there(run):
    run_log.trim(run, 3)
    run_log.append(run, step=4, loss=0.25)
    assert [(line["step"], line["loss"]) for line in run_log.read(run)][2:] == [
        (3, 0.3333333),
        (4, 0.25),
    ]
    assert [p.name for p in run.iterdir()] == [run_log.FILE]


def test_a_follower_gets_each_whole_line_once(run):
    end, lines = run_log.tail(run, 0)
    assert steps(lines) == [1, 2, 3, 4, 5] and run_log.tail(run, end) == (end, [])
    with open(run / run_log.FILE, "a") as stream:
        stream.write('{"step": 6}\n{"step"')
    later, lines = run_log.tail(run, end)
    assert steps(lines) == [6]
    with open(run / run_log.FILE, "a") as stream:
        stream.write(": 7}\n")
    assert steps(run_log.tail(run, later)[1]) == [7]


def test_a_follower_survives_a_trimmed_log(run):
    end, _ = run_log.tail(run, 0)
    run_log.trim(run, 2)
    start, lines = run_log.tail(run, end)
    assert lines == [] and start < end
    run_log.append(run, step=3, loss=1.0)
    assert steps(run_log.tail(run, start)[1]) == [3]
