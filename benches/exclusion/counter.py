"""A multiprocessing.Value that is counted up under its lock, by one process alone.

A line with a number of times comes in, a line with the nanoseconds that they took goes out.
"""

import multiprocessing
import sys
import time

counter = multiprocessing.get_context("fork").Value("Q", 0)
for line in sys.stdin:
    count = int(line)
    began = time.monotonic_ns()
    for _ in range(count):
        with counter.get_lock():
            counter.value += 1
    print(time.monotonic_ns() - began, flush=True)
