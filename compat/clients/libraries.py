"""The client libraries: each is called as `call(method, *params)`, with aria2's names of methods,
and keeps the notifications it was given in `events`, as (name, gid)."""

import asyncio
import base64
import json
import queue
import re
import shutil
import subprocess
import threading
import time
import xmlrpc.client
from dataclasses import dataclass, field
from pathlib import Path

import aioaria2
import aria2p

from lib import ROOT, quiet_environment

ANSWER_MAX = 20.0
NPM = ROOT / "target" / "npm"
BRIDGE = Path(__file__).parent / "bridge.mjs"
EVENT_NAMES = (
    "onDownloadStart",
    "onDownloadPause",
    "onDownloadStop",
    "onDownloadComplete",
    "onDownloadError",
    "onBtDownloadComplete",
)


class Aria2p:
    """aria2p.Client: calls over HTTP, notifications over a WebSocket that never sends the token."""

    def __init__(self, port, secret):
        self.client = aria2p.Client("http://127.0.0.1", port, secret)
        self.events = []
        snake = [re.sub("(?<!^)(?=[A-Z])", "_", name).lower() for name in EVENT_NAMES]
        handlers = {
            handler: lambda gid, name=name: self.events.append((name, gid))
            for handler, name in zip(snake, EVENT_NAMES)
        }
        threading.Thread(
            target=self.client.listen_to_notifications,
            kwargs={"timeout": 1, "handle_signals": False, **handlers},
            daemon=True,
        ).start()
        time.sleep(0.5)  # aria2p does not say when its socket is open

    def call(self, method, *params):
        snake = re.sub("(?=[A-Z])", "_", method).lower()
        if method == "batch":
            calls = [(each["methodName"], each["params"], at) for at, each in enumerate(params[0])]
            return self.client.batch_call(calls, insert_secret=True)
        return getattr(self.client, snake)(*params)

    def close(self):
        self.client.stop_listening()


class AioAria2:
    """aioaria2, over HTTP or over a WebSocket."""

    def __init__(self, port, secret, websocket):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.events = [] if websocket else None
        self.client = self._wait(self._open(port, secret, websocket))

    async def _open(self, port, secret, websocket):
        if not websocket:
            return aioaria2.Aria2HttpClient(f"http://127.0.0.1:{port}/jsonrpc", token=secret)
        client = await aioaria2.Aria2WebsocketClient.new(
            f"ws://127.0.0.1:{port}/jsonrpc", token=secret
        )
        for name in EVENT_NAMES:
            client.register(self._note, "aria2." + name)
        return client

    async def _note(self, _client, data):
        self.events.append((data["method"].removeprefix("aria2."), data["params"][0]["gid"]))

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(ANSWER_MAX)

    def call(self, method, *params):
        if method == "addTorrent" or method == "addMetalink":
            # Its own methods read files.
            return self._wait(self.client.jsonrpc(method, list(params)))
        return self._wait(getattr(self.client, method)(*params))

    def close(self):
        self._wait(self.client.close())
        self.loop.call_soon_threadsafe(self.loop.stop)


class XmlRpc:
    """Python's own xmlrpc.client."""

    events = None

    def __init__(self, port, secret):
        self.proxy = xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}/rpc")
        self.token = f"token:{secret}"

    def call(self, method, *params):
        if method.startswith("list"):
            return getattr(self.proxy.system, method)()
        if method == "multicall":
            calls = [{**each, "params": [self.token, *each["params"]]} for each in params[0]]
            return self.proxy.system.multicall(calls)
        if method in ("addTorrent", "addMetalink"):
            params = (xmlrpc.client.Binary(base64.b64decode(params[0])), *params[1:])
        return getattr(self.proxy.aria2, method)(self.token, *params)

    def close(self):
        self.proxy("close")()


class Npm:
    """A library of the npm registry, behind bridge.mjs."""

    def __init__(self, library, transport, port, secret):
        node = shutil.which("node")
        major = int(
            subprocess.run([node, "--version"], capture_output=True, text=True)
            .stdout[1:]
            .split(".")[0]
        )
        flags = ["--experimental-websocket", "--no-warnings"] if major < 22 else []
        self.process = subprocess.Popen(
            [node, *flags, BRIDGE, library, transport, str(port), secret],
            cwd=NPM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=quiet_environment(NPM),
        )
        self.events = [] if transport == "ws" else None
        self.answers = queue.Queue()
        self.calls = 0
        threading.Thread(target=self._read, daemon=True).start()
        self._answer("ready")

    def _read(self):
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                message = {"noise": line}
            if "event" in message:
                if self.events is not None:
                    self.events.append((message["event"], message["gid"]))
            else:
                self.answers.put(message)

    def _answer(self, key, wanted=True):
        """The next answer, in which `key` is to be `wanted`."""
        noise = []
        while True:
            try:
                message = self.answers.get(timeout=ANSWER_MAX)
            except queue.Empty:
                raise TimeoutError(f"no answer: {''.join(noise)}") from None
            if message.get(key) == wanted:
                return message
            noise.append(message.get("noise", str(message)))

    def call(self, method, *params):
        self.calls += 1
        request = {"id": self.calls, "method": method, "params": params}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self._answer("id", self.calls)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("result")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Library:
    """How it is opened, with (port, secret), and what of the walk it cannot do: name and reason,
    faults of its own with which aria2c is no better served."""

    open: object
    cannot: dict = field(default_factory=dict)
    batches: bool = False


def npm(library, transport, **more):
    return Library(lambda *at: Npm(library, transport, *at), **more)


MARIA2 = {"multicall": "it sends the calls as parameters instead of in one list"}
LIBARIA2 = {
    "getSessionInfo": "it asks for aria2.getSessioninfo",
    "lists": "it takes no lists as option values",
}
LIBRARIES = {
    "aria2p": Library(Aria2p, batches=True),
    "aioaria2 over HTTP": Library(lambda *at: AioAria2(*at, websocket=False)),
    "aioaria2 over WebSocket": Library(lambda *at: AioAria2(*at, websocket=True)),
    "xmlrpc.client": Library(XmlRpc),
    "npm aria2 over HTTP": npm("aria2", "http", batches=True),
    "npm aria2 over WebSocket": npm("aria2", "ws", batches=True),
    "npm maria2 over HTTP": npm("maria2", "http", cannot=MARIA2),
    "npm maria2 over WebSocket": npm("maria2", "ws", cannot=MARIA2),
    "npm libaria2-ts over WebSocket": npm("libaria2-ts", "ws", cannot=LIBARIA2),
}
# Not driven: the HTTP client of libaria2-ts 1.0.91 throws a TypeError in its own copy of axios
# before it sends anything; clients/browsers.py sends what its source says it would.
