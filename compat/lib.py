"""What the compat scripts share: the program under test, nginx, big files, logs, counting.

Every script takes the program from the environment variable ARIOSO (default
target/release/arioso). With ARIOSO=aria2c a script judges aria2c by its own rules, which shows
that the script itself is right.
"""

import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "compat"
MIB = 1 << 20

# What a cut connection may cost: what nginx had put into the socket when the reader left.
SOCKET_SLACK = 256 * 1024


class Program:
    """An aria2c or an arioso: its path, and which of the two it says it is."""

    def __init__(self, path):
        found = shutil.which(str(path))
        if found is None:
            sys.exit(f"{path}: no such program")
        self.path = str(Path(found).absolute())
        version = subprocess.run([self.path, "--version"], capture_output=True, text=True).stdout
        self.name = "arioso" if "arioso" in version.lower() else "aria2c"

    def __str__(self):
        return self.name


def program():
    """The program under test."""
    return Program(os.environ.get("ARIOSO") or ROOT / "target" / "release" / "arioso")


def aria2c():
    """The real aria2c."""
    return Program("aria2c")


# ---- counting ---------------------------------------------------------------------------------


class Failed(Exception):
    """A check did not hold."""


class NotInTime(Failed):
    """What was waited for did not come."""


def check(holds, message):
    if not holds:
        raise Failed(message)


# How a reason reads when a program left wrong bytes behind.
WRONG_FILE = re.compile(r"SHA-256|not the file's|(file|\.\w+) (differs|is wrong)")


class Suite:
    """Runs named checks, prints a line for each and the totals at the end.

    again: what failed is tried once more, with nothing beside it, and that is told. Other people's
    programs have a pace of their own. A wrong file counts at once.
    """

    def __init__(self, title, again=True):
        self.title = title
        self.again = again
        self.passed = 0
        self.failed = 0
        self._lock = threading.Lock()

    def run(self, name, function, *args):
        self._judge(self._try(name, function, *args), name, function, *args)

    def _judge(self, reason, name, function, *args):
        """Counts a check that failed, unless it deserves another try and holds then."""
        if reason and self.again and not WRONG_FILE.search(reason):
            print(f"again   {name}: {reason}", flush=True)
            reason = self._try(name, function, *args)
        if reason:
            self.failed += 1
            print(f"FAILED  {name}: {reason}", flush=True)

    def _try(self, name, function, *args):
        """Runs a check; the reason if it failed."""
        began = time.monotonic()
        try:
            note = function(*args)
        except Exception as error:  # a broken check is a failed one, and the rest still run
            return str(error) if isinstance(error, Failed) else traceback.format_exc()
        with self._lock:
            self.passed += 1
            took = time.monotonic() - began
            print(f"ok      {name} ({took:.1f} s){': ' + note if note else ''}", flush=True)

    def run_all(self, cases, workers=4):
        """Runs (name, function, *args) tuples side by side."""
        with ThreadPoolExecutor(workers) as pool:
            reasons = [pool.submit(self._try, *case) for case in cases]
        for case, reason in zip(cases, reasons):
            self._judge(reason.result(), *case)

    def finish(self):
        print(f"{self.title}: {self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


# ---- small helpers ----------------------------------------------------------------------------


_ports = iter(random.sample(range(20000, 32000), 12000))


def free_port():
    """A port below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    for port in _ports:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return port
    raise Failed("no port is free")


@contextlib.contextmanager
def scratch(prefix):
    """A directory below target/compat that is gone afterwards."""
    WORK.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=prefix + "-", dir=WORK))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def fresh(path):
    """The directory of a check, empty even where the check runs once more."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def wait_for(what, probe, timeout=60.0, interval=0.05):
    """Calls `probe` until it returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise NotInTime(f"waited {timeout:.0f} s for {what}")
        time.sleep(interval)


def standstill(pid):
    """What the threads of a process wait for in the kernel, and whether the disk is behind."""
    def read(path):
        with contextlib.suppress(OSError):
            return Path(path).read_text(errors="replace")
        return ""

    threads = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        state = read(task / "stat").rpartition(")")[2][:2].strip()
        calls = [line.partition("] ")[2].partition("+")[0] for line in read(task / "stack").splitlines()]
        threads.append(f"{read(task / 'comm').strip()} {state} {' < '.join(calls[:5]) or read(task / 'wchan')}")
    memory = [line for line in read("/proc/meminfo").splitlines() if line.startswith(("Dirty:", "Writeback:"))]
    return "\n".join(threads + memory + read("/proc/pressure/io").splitlines())


@contextlib.contextmanager
def killed_on_failure(process):
    """Leaves no process behind (nor its workers) that did not come up."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        raise


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(4 * MIB):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass
class Sample:
    """A generated file and what is known of it."""

    path: Path
    size: int
    sha256: str

    @property
    def name(self):
        return self.path.name


def sample(name, size):
    """A file of pseudo-random bytes, the same on every machine, kept in target/compat/samples."""
    folder = WORK / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    path, note = folder / name, folder / (name + ".sha256")
    if not (path.exists() and path.stat().st_size == size and note.exists()):
        source, digest = random.Random(name), hashlib.sha256()
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            for at in range(0, size, MIB):
                chunk = source.randbytes(min(MIB, size - at))
                digest.update(chunk)
                file.write(chunk)
        part.rename(path)
        note.write_text(digest.hexdigest())
    return Sample(path, size, note.read_text())


# ---- ranges and control files -----------------------------------------------------------------


class Ranges:
    """A set of bytes as sorted, disjoint [start, end) pairs."""

    def __init__(self, pairs=()):
        self.pairs = []
        for start, end in sorted(pair for pair in pairs if pair[0] < pair[1]):
            if self.pairs and start <= self.pairs[-1][1]:
                self.pairs[-1] = (self.pairs[-1][0], max(end, self.pairs[-1][1]))
            else:
                self.pairs.append((start, end))

    def __len__(self):
        return sum(end - start for start, end in self.pairs)

    def overlap(self, start, end):
        return sum(max(0, min(end, e) - max(start, s)) for s, e in self.pairs)


@dataclass
class ControlFile:
    """What an aria2 control file says is done."""

    total: int
    done: Ranges


BLOCK = 16 * 1024


def read_control_file(path):
    """Reads version 1 of aria2's control file (big-endian)."""
    data = Path(path).read_bytes()
    version, _extension, hash_len = struct.unpack_from(">HII", data)
    check(version == 1, f"{path}: control file version {version}")
    at = 10 + hash_len
    piece_len, total, _uploaded, bits_len = struct.unpack_from(">IQQI", data, at)
    at += 24
    done = [
        (index * piece_len, min(total, (index + 1) * piece_len))
        for index in set_bits(data[at : at + bits_len])
    ]
    at += bits_len
    (in_flight,) = struct.unpack_from(">I", data, at)
    at += 4
    for _ in range(in_flight):
        index, length, bits_len = struct.unpack_from(">III", data, at)
        at += 12
        start = index * piece_len
        for block in set_bits(data[at : at + bits_len]):
            begin = start + block * BLOCK
            done.append((begin, min(start + length, begin + BLOCK)))
        at += bits_len
    check(at == len(data), f"{path}: {len(data) - at} bytes too many")
    return ControlFile(total, Ranges(done))


def set_bits(data):
    return [
        8 * at + bit for at, byte in enumerate(data) for bit in range(8) if byte & (0x80 >> bit)
    ]


# ---- nginx ------------------------------------------------------------------------------------


@dataclass
class Request:
    """A line of nginx's access log. `sent` counts body bytes put into the socket."""

    method: str
    path: str
    range: str
    status: int
    sent: int
    # Seconds since 1970.
    began: float = 0
    ended: float = 0

    def start(self):
        """First byte asked for."""
        match = re.match(r"bytes=(\d+)-", self.range)
        return int(match[1]) if match else 0

    def end(self, size):
        """One past the last byte asked for, of a resource of `size` bytes."""
        match = re.match(r"bytes=\d+-(\d+)$", self.range)
        return int(match[1]) + 1 if match else size


NGINX_CONF = """\
daemon off;
{user}
worker_processes 2;
pid {state}/nginx.pid;
error_log {state}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format requests '$request_method|$uri|$http_range|$status|$body_bytes_sent|$msec|$request_time';
    access_log {state}/access.log requests;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    types {{ }}
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=1024{listen};
        root {root};
        {limit}
        {lines}
    }}
}}
"""


class Nginx:
    """A real nginx that serves `root` and logs each request.

    rate: bytes a second for each connection (None: as fast as it goes).
    lines: more of its configuration.
    """

    def __init__(self, root, state, rate=None, port=None, lines=""):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = Path(state)
        self.state.mkdir(parents=True, exist_ok=True)
        conf = self.state / "nginx.conf"
        # A small send buffer keeps what is sent in vain to a reader that left small as well.
        conf.write_text(
            NGINX_CONF.format(
                user="user root;" if os.geteuid() == 0 else "",
                state=self.state,
                port=self.port,
                listen=" sndbuf=64k" if rate else "",
                root=root,
                limit=f"limit_rate {rate};" if rate else "",
                lines=lines,
            )
        )
        nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if nginx is None:
            sys.exit("nginx is not installed")
        self.process = subprocess.Popen(
            [nginx, "-c", str(conf), "-p", str(self.state)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.state / "stderr.txt", "wb"),
            start_new_session=True,
        )
        with killed_on_failure(self.process):
            wait_for("nginx to listen", self._listens, timeout=10)

    def _listens(self):
        check(self.process.poll() is None, "nginx ended: " + self._errors())
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True

    def _errors(self):
        return (self.state / "stderr.txt").read_text()[-2000:]

    def stop(self):
        """Ends it; requests still running are cut and logged."""
        self._end(signal.SIGTERM)

    def die(self):
        """Ends it without a word: its sockets are closed by the kernel, nothing is logged."""
        self._end(signal.SIGKILL)

    def _end(self, sign):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if sign == signal.SIGKILL:
                    os.killpg(self.process.pid, sign)
                else:
                    self.process.send_signal(sign)
            self.process.wait(20)

    def requests(self, path=None):
        """What was logged so far, only for `path` if given."""
        found = []
        for line in (self.state / "access.log").read_text().splitlines():
            method, uri, span, status, sent, ended, took = line.split("|")
            if path is None or uri == path:
                found.append(
                    Request(
                        method, uri, "" if span == "-" else span, int(status), int(sent),
                        float(ended) - float(took), float(ended),
                    )
                )
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


# ---- the program as a server ------------------------------------------------------------------


class RpcError(Exception):
    """A JSON-RPC error answer."""

    def __init__(self, status, error):
        super().__init__(f"HTTP {status}: {error}")
        self.status = status
        self.code = error.get("code")
        self.message = error.get("message")


# So long a start may take, in seconds, also where the disk is behind.
START_MAX = 20.0


class Server:
    """`program --enable-rpc` on a free port.

    state: directory that survives a crash; arioso's --state-dir, for aria2c a session file that
    it saves every second. Without it nothing is kept.
    """

    def __init__(self, program, home, *args, state=None, port=None, secret="compat", env=None,
                 wrap=()):
        self.program = program
        self.home = Path(home)
        self.downloads = self.home / "downloads"
        self.downloads.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.secret = secret
        self.output = self.home / "output.txt"
        command = [
            *map(str, wrap),
            program.path,
            "--no-conf",
            "--enable-rpc",
            f"--rpc-listen-port={self.port}",
            *([f"--rpc-secret={secret}"] if secret else []),
            f"--dir={self.downloads}",
            *self._state_args(state),
            *args,
        ]
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=quiet_environment(self.home) | (env or {}),
                start_new_session=True,
            )
        with killed_on_failure(self.process):
            try:
                wait_for("the RPC server to answer", self._answers, timeout=START_MAX, interval=0.02)
            except NotInTime as error:
                raise NotInTime(f"{error}\n{standstill(self.process.pid)}\n{self.tail()}") from None

    def _state_args(self, state):
        if self.program.name == "arioso":
            return [f"--state-dir={state or ''}"]
        if state is None:
            return []
        state.mkdir(parents=True, exist_ok=True)
        session = state / "session.txt"
        session.touch()
        return [
            f"--input-file={session}",
            f"--save-session={session}",
            "--save-session-interval=1",
        ]

    def _answers(self):
        check(self.process.poll() is None, "the server ended: " + self.tail())
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("aria2.getVersion")

    def tail(self):
        return self.output.read_text(errors="replace")[-3000:]

    def call(self, method, *params):
        """One JSON-RPC call on a connection of its own; returns the result."""
        if method.startswith("aria2.") and self.secret:
            params = (f"token:{self.secret}", *params)
        body = json.dumps({"jsonrpc": "2.0", "id": "c", "method": method, "params": params})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/jsonrpc", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if "error" in answer:
            raise RpcError(response.status, answer["error"])
        return answer["result"]

    def status(self, gid, *keys):
        return self.call("aria2.tellStatus", gid, *([list(keys)] if keys else []))

    def wait_status(self, gid, *wanted, timeout=60):
        """Waits until the download's status is one of `wanted`."""

        def probe():
            status = self.status(gid)
            if status["status"] in wanted:
                return status
            check(status["status"] != "error", f"{gid} failed: {status.get('errorMessage')!r}")

        return wait_for(f"{gid} to be {' or '.join(wanted)}", probe, timeout)

    def wait_bytes(self, gid, count, timeout=60):
        """Waits until this many bytes of the download are there."""

        def probe():
            status = self.status(gid, "completedLength", "status", "errorMessage")
            check(status["status"] != "error", f"{gid} failed: {status.get('errorMessage')!r}")
            return int(status["completedLength"]) >= count

        wait_for(f"{count} bytes of {gid}", probe, timeout, interval=0.02)

    def kill(self):
        """SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def terminate(self):
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def quiet_environment(home):
    """The environment with a home of its own and no proxies."""
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env.update(HOME=str(home), XDG_STATE_HOME=f"{home}/state", XDG_CONFIG_HOME=f"{home}/config")
    env.pop("XDG_CACHE_HOME", None)
    return env


def start(program, *args, cwd, home=None, stdin=subprocess.DEVNULL):
    """Starts the program as a plain command."""
    return subprocess.Popen(
        [program.path, *map(str, args)],
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=quiet_environment(home or cwd),
        start_new_session=True,
    )
