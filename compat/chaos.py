"""Forty ways in which servers misbehave. For each, arioso has to end with the right file or an
honest error within its timeouts: never a wrong file called complete, never a hang. What aria2c
makes of the same server is printed beside it.

An outcome is one of
  right       exit status 0 and the right bytes
  error N     exit status N
  WRONG FILE  exit status 0 and other bytes
  HANG        still running when twice its timeouts were over
"""

import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lib

SIZE = 5 * lib.MIB
DATA = random.Random("chaos").randbytes(SIZE)
OTHER = random.Random("other").randbytes(SIZE)
# Longer than connect-timeout, timeout and retries of the options below allow.
HANG = 75
OPTIONS = [
    "--no-conf", "--no-netrc", "-x4", "-s4", "-k1M", "--file-allocation=none", "--timeout=3",
    "--connect-timeout=3", "--max-tries=3", "--retry-wait=1", "--out=f", "--allow-overwrite=true",
    "--summary-interval=0", "--console-log-level=error", "--follow-metalink=false",
]


class Request:
    """One request: its connection and what a script needs to answer it."""

    def __init__(self, conn, number, method, path, headers):
        self.conn, self.number, self.method, self.path, self.headers = (
            conn, number, method, path, headers)
        span = headers.get("range", "")
        self.start = self.end = None
        if span.startswith("bytes="):
            first, _, last = span[6:].partition("-")
            self.start, self.end = int(first), min(SIZE, int(last) + 1 if last else SIZE)

    def send(self, data):
        self.conn.sendall(data)

    def head(self, status, *lines):
        self.send("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1"))

    def file(self, *lines, data=DATA, body=True):
        """What a well-behaved server sends."""
        if self.start is None:
            self.head("200 OK", f"Content-Length: {len(data)}", "Accept-Ranges: bytes", *lines)
            part = data
        else:
            part = data[self.start:self.end]
            self.head("206 Partial Content", f"Content-Length: {len(part)}",
                      f"Content-Range: bytes {self.start}-{self.end - 1}/{len(data)}", *lines)
        if body and self.method != "HEAD":
            self.send(part)
        return part

    def reset(self):
        self.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.conn.close()
        raise ConnectionError

    def close(self):
        raise ConnectionError

    def stall(self):
        self.conn.settimeout(HANG + 5)
        self.conn.recv(1)
        raise ConnectionError


class Server:
    """A raw socket; `script(request)` answers."""

    def __init__(self, script):
        self.script = script
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/f"
        self.count = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        reader = conn.makefile("rb")
        try:
            while line := reader.readline():
                method, path, _ = (line.decode("latin-1").split() + ["", "", ""])[:3]
                headers = {}
                while (line := reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                with self.lock:
                    number = self.count
                    self.count += 1
                self.script(Request(conn, number, method, path, headers))
        except OSError:
            pass
        finally:
            reader.close()
            conn.close()


CASES = []


def case(function):
    CASES.append((function.__name__.replace("_", " "), function))
    return function


@case
def a_well_behaved_server(r):
    r.file()


@case
def body_cut_at_half_every_time(r):
    part = r.file(body=False)
    r.send(part[: max(1, len(part) // 2)])
    r.close()


@case
def reset_after_a_tenth(r):
    part = r.file(body=False)
    r.send(part[: len(part) // 10 + 1])
    time.sleep(0.1)
    r.reset()


@case
def nothing_ever_said(r):
    r.stall()


@case
def closes_without_an_answer(r):
    r.close()


@case
def headers_trickle_for_ever(r):
    r.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        r.send(b"X-Y: z\r\n")
        time.sleep(0.5)


@case
def headers_without_end(r):
    r.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        r.send(b"X-Y: " + b"z" * 8000 + b"\r\n")


@case
def body_stalls_at_half(r):
    # Each try brings half of what is missing, which is progress; it has to end somewhere.
    part = r.file(body=False)
    r.send(part[: len(part) // 2] if len(part) > 200_000 else b"")
    r.stall()


@case
def one_connection_trickles(r):
    part = r.file(body=False)
    if r.number == 1:
        for byte in part[:400]:
            r.send(bytes([byte]))
            time.sleep(0.1)
        r.close()
    for at in range(0, len(part), 50_000):
        r.send(part[at : at + 50_000])
        time.sleep(0.02)


@case
def etag_changes_between_ranges(r):
    r.file(f'ETag: "{r.number}"', data=DATA if r.number == 0 else OTHER)


@case
def date_changes_between_ranges(r):
    data, second = (DATA, 37) if r.number == 0 else (OTHER, 38)
    r.file(f"Last-Modified: Sun, 06 Nov 1994 08:49:{second} GMT", data=data)


@case
def length_changes_between_ranges(r):
    r.file(data=DATA if r.number == 0 else OTHER + b"x")


@case
def ranges_ignored(r):
    r.start = None
    r.file()


@case
def ranges_ignored_from_the_second_on(r):
    if r.number:
        r.start = None
    r.file()


@case
def part_shifted_by_one(r):
    if r.start:
        r.head("206 Partial Content", f"Content-Length: {r.end - r.start}",
               f"Content-Range: bytes {r.start - 1}-{r.end - 2}/{SIZE}")
        r.send(DATA[r.start - 1 : r.end - 1])
    else:
        r.file()


@case
def part_without_its_range(r):
    if r.start:
        r.head("206 Partial Content", f"Content-Length: {r.end - r.start}")
        r.send(DATA[: r.end - r.start])
    else:
        r.file()


@case
def part_of_a_smaller_file(r):
    if r.start:
        r.head("206 Partial Content", f"Content-Length: {r.end - r.start}",
               f"Content-Range: bytes {r.start}-{r.end - 1}/{SIZE - 1}")
        r.send(OTHER[r.start : r.end])
    else:
        r.file()


@case
def part_longer_than_asked_for(r):
    if r.start is None:
        return r.file()
    r.head("206 Partial Content", f"Content-Length: {SIZE - r.start}",
           f"Content-Range: bytes {r.start}-{SIZE - 1}/*")
    r.send(DATA[r.start :])


@case
def part_shorter_than_asked_for(r):
    if r.start is None:
        return r.file()
    end = min(r.end, r.start + 100_000)
    r.head("206 Partial Content", f"Content-Length: {end - r.start}",
           f"Content-Range: bytes {r.start}-{end - 1}/{SIZE}")
    r.send(DATA[r.start : end])


@case
def parts_encoded_by_gzip(r):
    r.file("Content-Encoding: gzip", data=DATA if r.start is None else OTHER)


@case
def error_page_with_200_for_every_range(r):
    if r.start is None:
        part = r.file(body=False)
        r.send(part[:1_000_000])
        r.close()
    r.head("200 OK", "Content-Length: 6", "Content-Type: text/html")
    r.send(b"<html>")


@case
def error_page_of_the_same_length(r):
    if r.start is None:
        part = r.file('ETag: "a"', body=False)
        r.send(part[:1_000_000])
        r.close()
    r.head("200 OK", f"Content-Length: {SIZE}", "Content-Type: text/html")
    r.send(OTHER)


@case
def length_near_2_to_the_63(r):
    r.head("200 OK", "Content-Length: 9223372036854775807")
    r.send(DATA)
    r.close()


@case
def length_beyond_64_bits(r):
    r.head("200 OK", "Content-Length: 99999999999999999999999")
    r.send(DATA)
    r.close()


@case
def negative_length(r):
    r.head("200 OK", "Content-Length: -1")
    r.send(DATA)
    r.close()


@case
def two_lengths_that_differ(r):
    r.head("200 OK", f"Content-Length: {SIZE}", "Content-Length: 5")
    r.send(DATA)
    r.close()


@case
def length_beside_chunks(r):
    r.head("200 OK", "Content-Length: 5", "Transfer-Encoding: chunked")
    r.send(b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, DATA))
    r.close()


@case
def chunks_cut_off(r):
    r.head("200 OK", "Transfer-Encoding: chunked")
    r.send(b"%x\r\n%b\r\n" % (1000, DATA[:1000]))
    r.close()


@case
def chunk_size_nonsense(r):
    r.head("200 OK", "Transfer-Encoding: chunked")
    r.send(b"zz\r\n" + DATA[:1000])
    r.close()


@case
def chunk_size_overflow(r):
    r.head("200 OK", "Transfer-Encoding: chunked")
    r.send(b"ffffffffffffffffff\r\n" + DATA[:1000])
    r.close()


@case
def unknown_transfer_coding(r):
    r.head("200 OK", "Transfer-Encoding: rot13")
    r.send(DATA)
    r.close()


@case
def not_http_at_all(r):
    r.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    r.close()


@case
def binary_garbage(r):
    r.send(bytes(range(256)) * 16)
    r.close()


@case
def redirect_loop(r):
    r.head("302 Found", "Location: /f", "Content-Length: 0")


@case
def redirect_to_nowhere(r):
    r.head("302 Found", "Content-Length: 0")


@case
def redirect_to_a_closed_port(r):
    r.head("302 Found", "Location: http://127.0.0.1:1/f", "Content-Length: 0")


@case
def busy_every_other_time_503(r):
    if r.number % 2:
        r.head("503 Busy", "Content-Length: 0")
    else:
        r.file()


@case
def too_many_requests_then_fine_429(r):
    if r.number == 0:
        r.head("429 Slow Down", "Retry-After: 1", "Content-Length: 0")
    else:
        r.file()


@case
def internal_error_once_500(r):
    if r.number == 0:
        r.head("500 Oops", "Content-Length: 0")
    else:
        r.file()


@case
def for_ever_503(r):
    r.head("503 Busy", "Content-Length: 0")


@case
def gone_in_mid_file_403(r):
    if r.number < 2:
        part = r.file(body=False)
        r.send(part[:500_000])
        r.close()
    r.head("403 Forbidden", "Content-Length: 0")


@case
def no_content_204(r):
    r.head("204 No Content")


@case
def not_modified_without_being_asked_304(r):
    r.head("304 Not Modified")


@case
def early_hints_100_and_103(r):
    r.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    r.file()


@case
def body_longer_than_its_length(r):
    r.file(body=False)
    r.send((DATA if r.start is None else DATA[r.start : r.end]) + b"more and more")
    r.close()


@case
def unknown_length_cut_by_reset(r):
    r.head("200 OK", "Connection: close")
    r.send(DATA[:1_000_000])
    time.sleep(0.1)
    r.reset()


@case
def name_that_leads_out_of_the_directory(r):
    r.file('Content-Disposition: attachment; filename="../../evil"')


@case
def lines_end_with_bare_newlines(r):
    r.send(f"HTTP/1.1 200 OK\nContent-Length: {SIZE}\n\n".encode())
    r.start = None
    r.send(DATA)
    r.close()


def outcome(program, script):
    server = Server(script)
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=lib.WORK))
    began = time.monotonic()
    try:
        done = subprocess.run([program.path, *OPTIONS, f"--dir={folder}", server.url],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=HANG, check=False)
    except subprocess.TimeoutExpired:
        return "HANG", HANG
    finally:
        server.listener.close()
        got = folder / "f"
        right = got.exists() and got.read_bytes() == DATA
        escaped = (folder.parent.parent / "evil").exists()
        shutil.rmtree(folder, ignore_errors=True)
    took = time.monotonic() - began
    if escaped:
        return "WRONG FILE", took
    if done.returncode:
        return f"error {done.returncode}" if done.returncode > 0 else "CRASH", took
    return ("right" if right else "WRONG FILE"), took


def main():
    lib.WORK.mkdir(parents=True, exist_ok=True)
    ours, theirs = lib.program(), lib.aria2c()
    with ThreadPoolExecutor(12) as pool:
        runs = [(name, script, pool.submit(outcome, ours, script),
                 pool.submit(outcome, theirs, script)) for name, script in CASES]
        failed = 0
        print(f"{'server':<42} {str(ours):<20} aria2c")
        for name, script, mine, other in runs:
            (result, took), (their_result, their_took) = mine.result(), other.result()
            if result == "HANG":
                # Twelve at a time are slow on a busy machine: alone it has to end.
                result, took = outcome(ours, script)
            bad = result in ("WRONG FILE", "HANG", "CRASH")
            failed += bad
            print(f"{name:<42} {result:<11} {took:5.1f} s  {their_result:<11} {their_took:5.1f} s"
                  f"{'  FAILED' if bad else ''}", flush=True)
    print(f"chaos: {len(CASES) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


main()
