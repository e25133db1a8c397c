#!/usr/bin/env python3
"""Sends one corpus to aria2c and to the program under test, byte for byte, and prints what differs.

JSON bodies, GET queries, whole HTTP requests, XML-RPC, WebSocket frames, every method on a download
in every state, values of options. Ports, directories, session ids and times are replaced before
answers are compared. The requests stand in differential/corpus.py; what differs on purpose stands
in differential/intended.txt with its reason.

    compat/wire.py [PATTERN]     only checks whose name matches
"""

import contextlib
import fnmatch
import gzip
import json
import re
import socket
import struct
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent / "differential"
sys.path.insert(0, str(HERE))

import corpus  # noqa: E402
from lib import Server, aria2c, check, program, scratch, wait_for  # noqa: E402
from origin import Origin  # noqa: E402

# How long an answer may take, and how long a closing is waited for.
ANSWER_MAX, CLOSE_MAX = 5.0, 0.05
# Both programs find another of their own here; the rest of an option's answer is compared.
VERSION_KEYS = re.compile(r'"(product|productVersion|version)":"[^"]*",?')


class WireServer(Server):
    """Counts as up when it accepts: with HTTP Basic its methods cannot be asked plainly."""

    def _answers(self):
        check(self.process.poll() is None, "the server ended: " + self.tail())
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True


class Side:
    """One program, with its own origin and directory."""

    def __init__(self, binary, stack, *args):
        self.origin = stack.enter_context(Origin())
        self.home = str(stack.enter_context(scratch("wire")))
        self.server = stack.enter_context(
            WireServer(binary, self.home, "--file-allocation=none", "--rpc-max-request-size=64K", *args, secret="")
        )
        self.host = f"127.0.0.1:{self.origin.port}"

    def fill(self, data):
        return data.replace(b"HOST", self.host.encode())

    def plain(self, text):
        text = text.replace(self.home.replace("/", "\\/"), "HOME").replace(self.home, "HOME")
        text = text.replace(self.host, "HOST")
        text = re.sub(r"\b[0-9a-f]{40}\b", "SESSION", text)
        text = VERSION_KEYS.sub("", text)
        # When the copy of a mirror in use appears among the spare ones is a matter of milliseconds.
        text = re.sub(r'(\{"status":"used","uri":("[^"]*")\}),\{"status":"waiting","uri":\2\}', r"\1", text)
        # These fade or come at each program's own pace.
        return re.sub(r'"(downloadSpeed|connections)":"\d+"', r'"\1":"*"', text)

    def connect(self):
        if self.server.process.poll() is not None:
            sys.exit(f"{self.server.program} ended with status {self.server.process.returncode}: {self.server.tail()}")
        return socket.create_connection(("127.0.0.1", self.server.port), ANSWER_MAX)

    def raw(self, request, count=1):
        """The answers to a request, and whether the connection closed behind them."""
        with self.connect() as stream:
            stream.sendall(self.fill(request))
            reader = stream.makefile("rb")
            answers = []
            for _ in range(count):
                answer = read_answer(reader)
                if answer is None:
                    break
                answers.append(self.plain(answer))
            stream.settimeout(CLOSE_MAX)
            try:
                answers.append("closed" if stream.recv(1) == b"" else "more")
            except TimeoutError:
                answers.append("open")
            except OSError:
                answers.append("closed")
            return answers

    def post(self, body, path="/jsonrpc"):
        body = self.fill(body)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        return self.raw(head.encode() + body)

    def call(self, method, params="[]"):
        """Status and body of a call."""
        body = self.fill(corpus.call(method, params).encode())
        with self.connect() as stream:
            stream.sendall(f"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = self.plain(read_answer(stream.makefile("rb")) or "")
        head, _, body = answer.partition("\n\n")
        return head[9:12] + " " + body


def read_answer(reader):
    """One response as text, times replaced; None when the connection closes first."""
    head = []
    try:
        while (line := reader.readline()) not in (b"\r\n", b""):
            head.append(line.decode("latin-1").rstrip())
        if not head:
            return None
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = reader.read(int(fields.get("content-length", 0)))
    except OSError:
        return None
    if fields.get("content-encoding") == "gzip" and body:
        body = gzip.decompress(body)
    shown = [mask(line) for line in head]
    return "\n".join(shown) + "\n\n" + body.decode("utf-8", "surrogateescape")


def mask(line):
    """Times and lengths replaced; header names in small letters, since their case means nothing."""
    name, colon, value = line.partition(": ")
    if not colon:
        return line
    volatile = ("date", "expires", "content-length")
    return f"{name.lower()}: {'*' if name.lower() in volatile and value != '0' else value}"


# ---- WebSocket --------------------------------------------------------------------------------


def frames(side, script):
    """What comes back for a script of frames."""
    with side.connect() as stream:
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        stream.sendall(f"GET /jsonrpc HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n".encode())
        reader = stream.makefile("rb")
        while reader.readline() not in (b"\r\n", b""):
            pass
        seen = []
        for step in script:
            if step is None:
                seen.append(read_frame(reader))
            else:
                stream.sendall(frame(*step))
        stream.settimeout(CLOSE_MAX)
        with contextlib.suppress(TimeoutError):
            while (more := read_frame(reader)) != "closed":
                seen.append(more)
            seen.append("closed")
        return seen


def frame(first, payload):
    if first == "unmasked":
        return bytes((0x81, len(payload))) + payload
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = struct.pack(">BH", 0xFE, size)
    else:
        length = struct.pack(">BQ", 0xFF, size)
    return bytes((first,)) + length + bytes(4) + payload


def read_frame(reader):
    try:
        head = reader.read(2)
        if len(head) < 2:
            return "closed"
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", reader.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", reader.read(8))[0]
        payload = reader.read(size)
    except TimeoutError:
        raise
    except OSError:
        return "closed"
    if head[0] == 0x88:
        # The reason is for people.
        return f"close {payload[:2].hex()}"
    return f"{head[0]:02x} {payload.decode('utf-8', 'surrogateescape')}"


# ---- downloads in a state ---------------------------------------------------------------------


def make(side, state, gid):
    """Brings a new download into a state."""
    path = {"active": "/stall/0/big.bin", "removed": "/stall/0/big.bin", "error": "/status/404", "complete": "/file/a.bin"}
    url = side.origin.url + path.get(state, "/stall/0/b.bin")
    options = {"gid": gid, "out": f"{gid}.bin"}
    if state == "paused":
        options["pause"] = "true"
    side.server.call("aria2.addUri", [url], options)
    if state == "active":
        wait_for("a length", lambda: side.server.status(gid)["totalLength"] != "0", interval=0.01)
    elif state == "removed":
        wait_for("a length", lambda: side.server.status(gid)["totalLength"] != "0", interval=0.01)
        side.server.call("aria2.forceRemove", gid)
        side.server.wait_status(gid, "removed")
    elif state in ("complete", "error"):
        wait_for(state, lambda: side.server.status(gid)["status"] == state, interval=0.01)


def in_state(side, state, gid, method, params):
    """The answer of a method on a new download, and how the download stands then."""
    if state == "waiting":
        # One that holds the only place.
        side.server.call("aria2.changeGlobalOption", {"max-concurrent-downloads": "1"})
        make(side, "active", "ffff" + gid[4:])
    make(side, state, gid)
    params = params.replace("HOST", side.host)
    answer = side.call("aria2." + method, params.format(gid=gid))
    quiet = lambda: side.call("aria2.tellStatus", f'["{gid}",["status","files","dir","errorCode"]]')
    after = quiet()
    # A state may be on its way to another for a moment.
    for _ in range(100):
        time.sleep(0.02)
        if (now := quiet()) == after:
            break
        after = now
    side.server.call("system.multicall", [
        {"methodName": "aria2.forceRemove", "params": [gid]}, {"methodName": "aria2.forceRemove", "params": ["ffff" + gid[4:]]},
        {"methodName": "aria2.changeGlobalOption", "params": [{"max-concurrent-downloads": "100"}]}])
    wait_for("quiet", lambda: side.server.call("aria2.getGlobalStat")["numActive"] == "0", interval=0.01)
    side.server.call("aria2.purgeDownloadResult")
    return [answer, after]


def option(side, scope, name, value):
    """What setting an option answers, and what is read back."""
    if scope == "global":
        answer = side.call("aria2.changeGlobalOption", f'[{{"{name}":{value}}}]')
        options = side.server.call("aria2.getGlobalOption")
    else:
        answer = side.call("aria2.changeOption", f'["{corpus.GID}",{{"{name}":{value}}}]')
        options = side.server.call("aria2.getOption", corpus.GID)
    taken = answer.startswith("200") and not value.startswith("[")
    # What was refused leaves behind what the tries before it have set.
    return [answer, side.plain(str(options.get(name))) if taken else None]


# ---- running ----------------------------------------------------------------------------------


class Report:
    def __init__(self, pattern):
        self.pattern = pattern
        self.passed = self.equal = 0
        # What differs in the group of checks that runs, by name; and in the groups before it.
        self.differing, self.failed = set(), 0
        lines = (HERE / "intended.txt").read_text().splitlines()
        pairs = [line.partition(" | ") for line in lines if line and not line.startswith("#")]
        self.intended = [(name, reason) for name, _, reason in pairs]
        # Whether a group runs a second time, for those of its answers that differed.
        self.again = False

    def compare(self, name, theirs, ours, ask):
        if not fnmatch.fnmatchcase(name, self.pattern):
            return
        wanted, got = attempt(ask, theirs), attempt(ask, ours)
        if self.again and name not in self.differing:
            return
        if wanted == got:
            self.differing.discard(name)
            self.passed += 1
            self.equal += 1
            return
        for pattern, reason in self.intended:
            # Brackets are common in names, so only `*` has a meaning.
            if re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name):
                self.passed += 1
                print(f"intended  {name}: {reason}")
                return
        self.differing.add(name)
        print(f"{'DIFFERS' if self.again else 'again'}   {name}\n  aria2c: {wanted!r}\n  ours:   {got!r}", flush=True)

    def group(self, run):
        """Runs a group of checks. One that differs is asked a second time, in a second run of the whole group:
        an answer may be late on a busy machine."""
        self.again, self.differing = False, set()
        run()
        if self.differing:
            self.again = True
            run()
        self.failed += len(self.differing)

    def finish(self):
        total = self.passed + self.failed
        print(f"{self.equal} of {total} answers are equal")
        print(f"wire: {self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)


def attempt(ask, side):
    try:
        return ask(side)
    except Exception as error:  # a broken answer differs from a good one
        return f"{type(error).__name__}: {error}"


def option_names(side, scope):
    """Names aria2c knows, and their values as they were."""
    if scope == "global":
        return side.server.call("aria2.getGlobalOption")
    return side.server.call("aria2.getOption", corpus.GID)


# Changing these changes the run itself.
KEPT = {"dir", "log", "max-concurrent-downloads", "save-session", "enable-rpc", "rpc-listen-port", "daemon", "quiet", "stop"}


def run_options(report, theirs, ours):
    for side in (theirs, ours):
        side.server.call("aria2.addUri", [side.origin.url + "/file/b.bin"], {"gid": corpus.GID, "pause": "true"})
    for scope in ("download", "global"):
        for name in sorted(set(option_names(theirs, scope)) - KEPT):
            for value in corpus.OPTION_VALUES:
                report.compare(f"option: {scope} {name}={value}", theirs, ours, lambda side: option(side, scope, name, value))


def run_states(report, theirs, ours):
    for number, (state, (method, params)) in enumerate(
        (state, method) for state in corpus.STATES for method in corpus.BY_GID
    ):
        gid = f"{number + 0x1000:04x}000000000001"
        name = f"state: {state} {method} {params.format(gid='G')}"
        report.compare(name, theirs, ours, lambda side: in_state(side, state, gid, method, params))


def run_wire(report, theirs, ours):
    def all_of(kind, cases, ask):
        for name, sent in cases:
            report.compare(f"{kind}: {name}", theirs, ours, lambda side: ask(side, sent))

    def get(side, query):
        return side.raw(f"GET /jsonrpc{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def whole(side, request):
        return side.raw(request, count=request.count(b"Host: x") or 1)

    for side in (theirs, ours):
        side.server.call("aria2.addUri", [side.origin.url + "/file/b.bin"], {"gid": corpus.GID, "pause": "true"})
    all_of("json", corpus.JSON, lambda side, body: side.post(body))
    all_of("get", [(query, query) for query in corpus.QUERIES], get)
    all_of("http", corpus.HTTP, whole)
    all_of("xml", corpus.XML, lambda side, body: side.post(body, "/rpc"))
    all_of("websocket", corpus.WEBSOCKET, frames)


def run_guarded(report, theirs, ours):
    """The same requests where origins are allowed and HTTP Basic is asked for."""
    basic = b"Authorization: Basic dTpw\r\n"
    for name, request in corpus.HTTP:
        with_basic = request if b"uthorization" in request else request.replace(b"Host: x\r\n", b"Host: x\r\n" + basic)
        count = request.count(b"Host: x") or 1
        report.compare(f"refused: {name}", theirs, ours, lambda side: side.raw(request, count))
        report.compare(f"granted: {name}", theirs, ours, lambda side: side.raw(with_basic, count))


def beside(run, report, args):
    """A group of checks with two new servers."""
    with contextlib.ExitStack() as stack:
        theirs, ours = (Side(binary, stack, *args) for binary in (aria2c(), program()))
        run(report, theirs, ours)


def main():
    report = Report(sys.argv[1] if len(sys.argv) > 1 else "*")
    for run, args in (
        (run_wire, ()),
        (run_guarded, ("--rpc-allow-origin-all", "--rpc-user=u", "--rpc-passwd=p")),
        (run_states, ("-j100",)),
        (run_options, ()),
    ):
        report.group(lambda: beside(run, report, args))
    report.finish()


if __name__ == "__main__":
    check(sys.version_info >= (3, 11), "Python 3.11 is needed")
    main()
