"""A child of multiprocessing's that waits.

A line comes in, a line with the pid of the child goes out. Argument: the start method.
"""

import multiprocessing
import sys


def linger(ready, end):
    ready.send(1)
    end.poll(None)


def main():
    context = multiprocessing.get_context(sys.argv[1])
    told, ready = context.Pipe(False)
    end, _keep = context.Pipe(False)
    child = context.Process(target=linger, args=(ready, end), daemon=True)
    child.start()
    told.recv()
    for _ in sys.stdin:
        print(child.pid, flush=True)


if __name__ == "__main__":
    main()
