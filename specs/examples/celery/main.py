"""A walk through Celery's canvas: chains, groups, chords, map, starmap, chunks, callbacks, errors, dynamic work.

    flowc node &                 # in this folder: a server, a coordinator and workers
    python main.py
"""

from flowrun.canvas import chain, chord, group

from tasks import add, app, cascade, divide, error_handler, fetch, mul, total, tsum, xsum


def first_steps():
    result = add.delay(4, 4)
    assert result.get(timeout=30) == 8
    assert result.ready() and result.state == "SUCCESS"

    failed = divide.delay(1, 0)
    assert isinstance(failed.get(timeout=30, propagate=False), ZeroDivisionError)
    assert failed.failed() and "ZeroDivisionError: division by zero" in failed.traceback

    later = add.apply_async((2, 2), countdown=0.2, expires=60)
    assert later.get(timeout=30) == 4
    assert fetch.delay("https://example.org").get(timeout=30)["retries"] == 2


def signatures():
    assert add.signature((2, 2), countdown=0.1).delay().get(timeout=30) == 4
    partial = add.s(2)
    assert partial.delay(4).get(timeout=30) == 6  # add(4, 2)
    assert add.s(2, 2)() == 4  # calls the function itself, here
    fixed = add.si(2, 2)  # takes nothing from what stands before it
    assert (mul.s(3, 3) | fixed).delay().get(timeout=30) == 4
    assert (~add.s(16, 16)) == 32


def chains():
    result = chain(add.s(2, 2), add.s(4), add.s(8))()
    assert result.get(timeout=30) == 16
    assert result.parent.get() == 8
    assert result.parent.parent.get() == 4
    assert (add.s(2, 2) | mul.s(8) | mul.s(10))().get(timeout=30) == 320


def groups():
    result = group(add.s(i, i) for i in range(10))()
    assert result.get(timeout=30) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert result.completed_count() == 10 and result.successful()
    assert [member.get() for member in result] == result.join()
    assert group(add.s(i) for i in range(3))(10).get(timeout=30) == [10, 11, 12]
    assert group([add.s(1, 1)])().get(timeout=30) == [2]  # a group of one is a list

    mixed = group(add.s(2, 2), divide.s(1, 0), mul.s(2, 3))()
    assert [type(value) for value in mixed.get(timeout=30, propagate=False)] == [int, ZeroDivisionError, int]
    assert mixed.failed() and mixed.completed_count() == 2


def chords():
    assert chord(add.s(i, i) for i in range(100))(xsum.s()).get(timeout=30) == 9900
    assert chord((add.s(i, i) for i in range(3)), tsum.s()).delay().get(timeout=30) == 6
    three = group(add.s(4, 4), mul.s(4, 4)) | xsum.s()  # a chain of a group is a chord
    assert three.delay().get(timeout=30) == 24
    assert chord([])(xsum.s()).get(timeout=30) == 0  # an empty group gives [], and its body runs


def map_and_chunks():
    assert ~tsum.map([list(range(10)), list(range(100))]) == [45, 4950]
    assert ~add.starmap(zip(range(10), range(10))) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    result = add.chunks(zip(range(100), range(100)), 10)()
    assert result.get(timeout=30)[0] == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert len(result.get()) == 10


def callbacks():
    result = add.apply_async((2, 2), link=mul.s(16))
    assert result.get(timeout=30) == 4
    assert [child.get() for child in result.children] == [64]

    failed = (add.s(2, 2) | divide.s(0) | mul.s(2)).on_error(error_handler.s()).delay()
    try:
        failed.get(timeout=30)
    except ZeroDivisionError as error:
        print("as it should be:", error)
    else:
        raise AssertionError("it should have failed")
    assert failed.parent.failed() and failed.parent.parent.get() == 4


def dynamic_work():
    assert total.delay(10).get(timeout=30) == 90  # the canvas takes the task's place
    assert (group(total.s(n) for n in range(4)) | xsum.s()).delay().get(timeout=30) == 8


def tasks_that_submit_others():
    for i, found in enumerate(cascade.delay(3).get(timeout=30)):
        assert app.AsyncResult(found).get(timeout=30) == 2 * i


def main():
    parts = (first_steps, signatures, chains, groups, chords, map_and_chunks, callbacks, dynamic_work,
             tasks_that_submit_others)
    for part in parts:
        part()
        print(part.__name__, "✓")


if __name__ == "__main__":
    with app:
        main()
