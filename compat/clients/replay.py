"""What the replayed clients talk to, and through what."""

import contextlib
import http.client
import json
import re
import socket
import subprocess

import websocket

from lib import Server, check, program, quiet_environment, scratch, sha256, wait_for
from origin import Origin, digest

# Every download, whatever it is.
ALWAYS = {
    "gid",
    "status",
    "totalLength",
    "completedLength",
    "downloadSpeed",
    "uploadSpeed",
    "connections",
}


class Guarded(Server):
    """Up when it accepts: with HTTP Basic its methods cannot be asked plainly."""

    def _answers(self):
        check(self.process.poll() is None, "the server ended: " + self.tail())
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True


class Site:
    """A server, an origin and ways to talk to it. `flags` go to the program as they are."""

    def __init__(self, *flags, secret="shape", kind=Server):
        self.stack = contextlib.ExitStack()
        self.home = self.stack.enter_context(scratch("shape"))
        self.origin = self.stack.enter_context(Origin())
        self.secret = secret
        self.server = self.stack.enter_context(
            kind(program(), self.home, "--file-allocation=none", *flags, secret=secret)
        )
        self.port = self.server.port
        self.file = f"{self.origin.url}/file/a.bin"
        self.endless = f"{self.origin.url}/stall/20000/big.bin"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def http(self, method, path, body=None, headers=None):
        """(status, headers by lower-case name, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                body = body if isinstance(body, bytes) else body.encode()
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, response.read()

    def post(self, request, **headers):
        """(status, decoded answer) of a JSON body."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, body = self.http("POST", "/jsonrpc", json.dumps(request), headers)
        return status, json.loads(body)

    def socket(self, **options):
        opened = websocket.create_connection(
            f"ws://127.0.0.1:{self.port}/jsonrpc", timeout=20, **options
        )
        self.stack.callback(opened.close)
        return Socket(opened)

    def token(self):
        return f"token:{self.secret}"

    def multicall(self, *calls):
        """Parameters of system.multicall, each call with its token."""
        return [
            [{"methodName": name, "params": [self.token(), *params]} for name, *params in calls]
        ]

    def arrived(self):
        """Waits until a.bin, the only download that ends, has come to its end, and checks it."""
        stopped = lambda: self.server.call("aria2.getGlobalStat")["numStopped"] == "1"
        wait_for("the end of a.bin", stopped, 20)
        check(sha256(self.server.downloads / "a.bin") == digest("a.bin"), "SHA-256 differs")


class Socket:
    """A WebSocket whose notifications are kept apart from its answers."""

    def __init__(self, socket):
        self.socket = socket
        self.events = []

    def read(self):
        message = json.loads(self.socket.recv())
        if isinstance(message, dict) and "method" in message:
            check("id" not in message and message["jsonrpc"] == "2.0", f"notification {message}")
            self.events.append(
                (message["method"].removeprefix("aria2.onDownload"), message["params"][0]["gid"])
            )
            return None
        return message

    def ask(self, request):
        self.socket.send(json.dumps(request))
        while True:
            message = self.read()
            if message is not None:
                return message

    def wait(self, *events):
        wait_for(
            events, lambda: all(event in self.events for event in events) or self.read(), 20, 0
        )


def ok(answer, id="absent"):
    status, body = answer if isinstance(answer, tuple) else (200, answer)
    check(status == 200 and "result" in body, f"HTTP {status}: {body}")
    if id != "absent":
        check(body["id"] == id and type(body["id"]) is type(id), f"id {body['id']!r}, sent {id!r}")
    return body["result"]


def refused(answer, status, code, message):
    check(answer[0] == status, f"HTTP {answer[0]}, wanted {status}")
    error = answer[1]["error"]
    check(
        error["code"] == code and re.search(message, error["message"]), f"{error}, wanted {message}"
    )


def linked(home, target):
    """The program under the name aria2c, which is what applications run."""
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    link = folder / "aria2c"
    if not link.exists():
        link.symlink_to(target.path)
    return str(link)


@contextlib.contextmanager
def spawned(home, *args):
    """The program as an application starts it; waited for like one."""
    process = subprocess.Popen(
        [linked(home, program()), *args],
        cwd=home,
        env=quiet_environment(home),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        process.stdout.close()


class Attached(Site):
    """Talks to a server that somebody else has started on `port`."""

    def __init__(self, stack, home, port, secret):
        self.stack, self.home, self.port, self.secret = stack, home, port, secret
        self.origin = stack.enter_context(Origin())
        self.file = f"{self.origin.url}/file/a.bin"
        self.endless = f"{self.origin.url}/stall/20000/big.bin"
        wait_for("RPC", self.answers, 20)

    def answers(self):
        with contextlib.suppress(OSError):
            return self.http("POST", "/rpc", b"")[0]
