"""Messages through a multiprocessing.Pipe or Queue, to another process and back.

A line with a number of round trips comes in. Out goes a line with the nanoseconds of each of them
(`latency`), or of all of them (`size`).
Arguments: latency, pipe or queue, both CPUs; or size, bytes, both CPUs.
"""

import multiprocessing
import os
import sys
import time


def echo(receive, send, cpu):
    os.sched_setaffinity(0, {cpu})
    while (message := receive()) is not None:
        send(message if isinstance(message, int) else len(message))


def swallow(inbox, outbox, cpu):
    os.sched_setaffinity(0, {cpu})
    while message := inbox.recv_bytes():
        outbox.send_bytes(len(message).to_bytes(8, "little"))


def start(context, target, *arguments):
    context.Process(target=target, args=arguments, daemon=True).start()


def latency(context, how, here, there):
    if how == "pipe":
        end, other = context.Pipe()
        send, receive = end.send, end.recv
        start(context, echo, other.recv, other.send, there)
    else:
        requests, answers = context.Queue(), context.Queue()
        send, receive = requests.put, answers.get
        start(context, echo, requests.get, answers.put, there)
    os.sched_setaffinity(0, {here})
    for line in sys.stdin:
        times = []
        for number in range(int(line)):
            began = time.perf_counter_ns()
            send(number)
            assert receive() == number
            times.append(time.perf_counter_ns() - began)
        print(*times, flush=True)
    send(None)


def size(context, length, here, there):
    end, other = context.Pipe()
    start(context, swallow, other, other, there)
    os.sched_setaffinity(0, {here})
    message, answer = bytes(length), length.to_bytes(8, "little")
    for line in sys.stdin:
        began = time.perf_counter_ns()
        for _ in range(int(line)):
            end.send_bytes(message)
            assert end.recv_bytes() == answer
        print(time.perf_counter_ns() - began, flush=True)
    end.close()


def main():
    context = multiprocessing.get_context("fork")
    mode, what, here, there = sys.argv[1:5]
    if mode == "latency":
        latency(context, what, int(here), int(there))
    else:
        size(context, int(what), int(here), int(there))


main()
