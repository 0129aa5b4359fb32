"""Streams of messages through a multiprocessing.Queue.

A line with a number of messages comes in, a line with the nanoseconds that they took goes out.
Arguments: senders, receivers, capacity, the message as an expression, the CPUs to use.
"""

import multiprocessing
import os
import sys
import time


def send(queue, message, count):
    for _ in range(count):
        queue.put(message)


def receive(queue, message, count):
    for _ in range(count):
        assert queue.get() == message


def serve(work, queue, message, orders, start, reports, cpu):
    os.sched_setaffinity(0, {cpu})
    while True:
        count = orders.recv()
        start.wait()
        began = time.monotonic_ns()
        work(queue, message, count)
        reports.put((began, time.monotonic_ns()))


def main():
    senders, receivers, capacity = map(int, sys.argv[1:4])
    message = eval(sys.argv[4])
    cpus = [int(cpu) for cpu in sys.argv[5].split(",")]
    context = multiprocessing.get_context("fork")
    queue, reports = context.Queue(capacity), context.SimpleQueue()
    start = context.Barrier(senders + receivers)
    works = [(send, number, senders) for number in range(senders)]
    works += [(receive, number, receivers) for number in range(receivers)]
    crew = []
    for place, (work, number, of) in enumerate(works):
        inbox, orders = context.Pipe(False)
        cpu = cpus[place % len(cpus)]
        arguments = (work, queue, message, inbox, start, reports, cpu)
        context.Process(target=serve, args=arguments, daemon=True).start()
        crew.append((orders, number, of))
    for line in sys.stdin:
        count = int(line)
        for orders, number, of in crew:
            orders.send(count // of + (number < count % of))
        times = [reports.get() for _ in crew]
        began, ended = min(began for began, _ in times), max(ended for _, ended in times)
        print(ended - began, flush=True)


main()
