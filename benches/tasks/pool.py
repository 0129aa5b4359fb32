"""Tasks for a multiprocessing.Pool.

A line with a number of tasks comes in, a line with the nanoseconds that they took goes out.
Arguments: the method, the number of workers.
"""

import multiprocessing
import sys
import time

MAPPED = 100_000


def increment(number):
    return number + 1


def apply(pool, count):
    for number in range(count):
        assert pool.apply(increment, (number,)) == number + 1


def apply_async(pool, count):
    tasks = [pool.apply_async(increment, (number,)) for number in range(count)]
    for number, task in enumerate(tasks):
        assert task.get() == number + 1


def map(pool, count):
    for first in range(0, count, MAPPED):
        numbers = range(first, min(count, first + MAPPED))
        assert len(pool.map(increment, numbers)) == len(numbers)


def imap(pool, count):
    for number, result in enumerate(pool.imap(increment, range(count))):
        assert result == number + 1


def imap_unordered(pool, count):
    assert sum(1 for _ in pool.imap_unordered(increment, range(count))) == count


def main():
    method, workers = sys.argv[1], int(sys.argv[2])
    context = multiprocessing.get_context("fork")
    if method == "start":
        for line in sys.stdin:
            print(sum(start(context, workers) for _ in range(int(line))), flush=True)
        return
    pool = context.Pool(workers)
    work = globals()[method]
    for line in sys.stdin:
        began = time.perf_counter_ns()
        work(pool, int(line))
        print(time.perf_counter_ns() - began, flush=True)
    pool.terminate()


def start(context, workers):
    """Until each worker has said that it has run the initializer."""
    done = context.SimpleQueue()
    began = time.perf_counter_ns()
    pool = context.Pool(workers, done.put, (None,))
    for _ in range(workers):
        done.get()
    time_taken = time.perf_counter_ns() - began
    pool.terminate()
    return time_taken


main()
