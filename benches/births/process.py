"""Processes of multiprocessing's, one after the other, from start to join.

A line with a number of processes comes in, a line with the nanoseconds that they took goes out.
Argument: the start method.
"""

import multiprocessing
import sys
import time


def increment(question):
    return question + 1


def main():
    context = multiprocessing.get_context(sys.argv[1])
    for line in sys.stdin:
        began = time.perf_counter_ns()
        for _ in range(int(line)):
            process = context.Process(target=increment, args=(41,))
            process.start()
            process.join()
            assert process.exitcode == 0
        print(time.perf_counter_ns() - began, flush=True)


if __name__ == "__main__":
    main()
