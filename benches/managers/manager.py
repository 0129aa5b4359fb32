"""Calls of objects of a multiprocessing.Manager.

A line with a number of calls comes in, a line with the nanoseconds that they took goes out.
Arguments: the method, the number of clients.
"""

import multiprocessing
import sys
import time
from multiprocessing.managers import SyncManager

KIB = "x" * 1024
MIB = "x" * (1 << 20)


class Thing:
    def take(self, argument=None):
        return None


class Manager(SyncManager):
    pass


Manager.register("Thing", Thing)


def insert(numbers, thing, count):
    for number in range(count):
        numbers[number % 1000] = number


def get(numbers, thing, count):
    numbers[1] = 1
    for _ in range(count):
        assert numbers[1] == 1


def call(numbers, thing, count):
    for _ in range(count):
        thing.take()


def call_kib(numbers, thing, count):
    for _ in range(count):
        thing.take(KIB)


def call_mib(numbers, thing, count):
    for _ in range(count):
        thing.take(MIB)


def host(manager, count):
    for _ in range(count):
        manager.Thing()


def client(inbox, done, work, numbers, thing):
    for count in iter(inbox.recv, None):
        work(numbers, thing, count)
        done.release()


def started(context):
    began = time.perf_counter_ns()
    manager = Manager(ctx=context)
    manager.start()
    manager.dict()
    taken = time.perf_counter_ns() - began
    manager.shutdown()
    return taken


def crew(context, work, clients, numbers, thing):
    """Gives the clients their shares, and waits until all are done."""
    done = context.Semaphore(0)
    pipes = [context.Pipe() for _ in range(clients)]
    for _, inbox in pipes:
        args = (inbox, done, work, numbers, thing)
        context.Process(target=client, args=args, daemon=True).start()

    def run(count):
        for orders, _ in pipes:
            orders.send(-(-count // clients))
        for _ in pipes:
            done.acquire()

    return run


def main():
    method, clients = sys.argv[1], int(sys.argv[2])
    context = multiprocessing.get_context("fork")
    if method == "start":
        for line in sys.stdin:
            print(sum(started(context) for _ in range(int(line))), flush=True)
        return
    manager = Manager(ctx=context)
    manager.start()
    numbers, thing = manager.dict(), manager.Thing()
    if method == "host":
        run = lambda count: host(manager, count)
    elif clients > 1:
        run = crew(context, globals()[method], clients, numbers, thing)
    else:
        run = lambda count: globals()[method](numbers, thing, count)
    for line in sys.stdin:
        count = int(line)
        began = time.perf_counter_ns()
        run(count)
        print(time.perf_counter_ns() - began, flush=True)
    manager.shutdown()


main()
