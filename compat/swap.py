#!/usr/bin/env python3
"""Swaps half-finished downloads between aria2c and the program under test.

One program downloads half of a file and is ended (orderly or by SIGKILL); the other goes on
from the data and the control file it finds. nginx's log has to show that only the remainder was
asked for, and the file has to be right.
"""

import signal

from lib import (
    MIB, SOCKET_SLACK, Nginx, Suite, aria2c, check, free_port, program, read_control_file,
    sample, scratch, sha256, start, wait_for,
)

SIZE = 48 * MIB + 4321
RATE_TOTAL = 12 * MIB


def swap(first, second, sign, connections):
    big = sample("swap.bin", SIZE)
    port = free_port()
    url = f"http://127.0.0.1:{port}/{big.name}"
    with scratch("swap") as work:
        args = [
            "--no-conf", "--auto-save-interval=1", "--file-allocation=none", "-k1M",
            f"-x{connections}", f"-s{connections}", "-d", work, url,
        ]
        control = work / (big.name + ".aria2")
        done = first_half(first, args, sign, control, big, port, work, connections)
        begun = work / big.name
        check(begun.exists() and control.exists(), f"{first} left no file or no control file")

        rate = f"{16 * MIB}"
        with Nginx(big.path.parent, work / "nginx2", rate=rate, port=port) as origin:
            process = start(second, *args, cwd=work)
            output, _ = process.communicate(timeout=60)
        check(process.returncode == 0, f"{second} exited {process.returncode}:\n{output[-2000:]}")
        check(sha256(begun) == big.sha256, "SHA-256 differs")
        check(not control.exists(), "the control file is still there")
        return only_remainder(second, origin.requests("/" + big.name), done, connections)


def first_half(first, args, sign, control, big, port, work, connections):
    """Downloads about half; returns the bytes the control file says are there."""
    rate = f"{RATE_TOTAL // connections}"
    with Nginx(big.path.parent, work / "nginx1", rate=rate, port=port):
        process = start(first, *args, cwd=work)
        try:
            half = lambda: control.exists() and len(read_control_file(control).done) > SIZE * 0.4
            wait_for("half of the file", half, timeout=40)
            process.send_signal(sign)
            process.communicate(timeout=20)
        finally:
            if process.poll() is None:
                process.kill()
    check(process.returncode in (7, -sign), f"{first} exited {process.returncode} on {sign.name}")
    left = read_control_file(control)
    check(left.total == SIZE, f"control file says {left.total} bytes")
    check(len(left.done) < SIZE * 0.95, "the first program was too fast for this test")
    return left.done


def only_remainder(second, requests, done, connections):
    """Every request after the swap asked for missing bytes only.

    aria2c's first request never has a Range: it reads the length from the answer and drops it.
    """
    missing = SIZE - len(done)
    sent = sum(request.sent for request in requests)
    slack = SOCKET_SLACK * max(connections, len(requests))
    check(sent <= missing + slack, f"{sent} bytes sent where {missing} were missing")
    again = sum(done.overlap(r.start(), r.start() + r.sent) for r in requests)
    check(again <= slack, f"{again} bytes sent again")
    whole = sum(not r.range for r in requests) if done.overlap(0, 1) else 0
    check(whole <= (second.name == "aria2c"), f"asked for the whole file {whole} times")
    return f"{missing} missing, {sent} sent in {len(requests)} requests"


def main():
    ours, theirs = program(), aria2c()
    sample("swap.bin", SIZE)
    suite = Suite("swap")
    suite.run_all(
        [
            (f"{first} to {second}, {sign.name}, {connections} connections",
             swap, first, second, sign, connections)
            for first, second in ((theirs, ours), (ours, theirs))
            for sign in (signal.SIGTERM, signal.SIGKILL)
            for connections in (1, 4)
        ],
    )
    suite.finish()


main()
