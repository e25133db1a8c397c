#!/usr/bin/env python3
"""Web pages in a real Chromium against the program under test: whom the RPC server lets in and whom
not, and what a page of this machine does with it.

    compat/browser.py [PATTERN]     only checks whose name matches

Chromium is driven by its chromedriver. `evil.example` and `rebind.example` are this machine to it,
and it can look up no other name.
"""

import contextlib
import fnmatch
import http.client
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading

from lib import (Failed, Server, Suite, check, free_port, killed_on_failure, program, quiet_environment,
                 scratch, sha256, wait_for)
from origin import Origin, digest
from peers import noise, torrent

SECRET = "tea"
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-default-apps --disable-extensions
    --disable-dev-shm-usage
""".split()
NAMES = ("--host-resolver-rules=MAP evil.example 127.0.0.1,MAP rebind.example 127.0.0.1,"
         "MAP * ~NOTFOUND,EXCLUDE localhost,EXCLUDE 127.0.0.1")

# What every page brings. Whatever is refused comes to "refused".
PAGE = b"""<!doctype html><meta charset=utf-8><title>page</title><input type=file id=file>
<iframe name=frame id=frame></iframe><script>
const call = (method, ...params) => ({jsonrpc: '2.0', id: 'page', method, params});
async function post(url, body, options) {
  try {
    const answer = await fetch(url, {method: 'POST', body, ...options});
    return answer.type == 'opaque' ? 'opaque' : answer.ok ? await answer.json() : 'refused';
  } catch { return 'refused'; }
}
const jsonp = (url, method, params) => new Promise(done => {
  const script = document.createElement('script');
  window.heard = done;
  script.onerror = () => done('refused');
  script.src = `${url}?jsoncallback=heard&id=page&method=${method}&params=`
    + encodeURIComponent(btoa(JSON.stringify(params)));
  document.head.append(script);
});
const form = (url, call) => new Promise(done => {
  const form = document.createElement('form'), field = document.createElement('input');
  const [name, value] = JSON.stringify({...call, rest: '='}).split('=');
  Object.assign(form, {action: url, method: 'post', enctype: 'text/plain', target: 'frame'});
  Object.assign(field, {name, value, type: 'hidden'});
  form.append(field);
  document.body.append(form);
  // What is refused is shown; an answer to keep is not.
  document.getElementById('frame').onload = () => done('sent');
  setTimeout(done, 1500, 'sent');
  form.submit();
});
// A WebSocket that keeps notifications apart from answers.
const open = url => new Promise(done => {
  const socket = new WebSocket(url), waiting = [], told = {events: []};
  told.ask = message => new Promise(answered => {
    waiting.push(answered);
    socket.send(JSON.stringify(message));
  });
  told.event = (name, gid) => new Promise(heard => {
    const look = () => told.events.includes(name + ' ' + gid) ? heard(true) : setTimeout(look, 20);
    look();
  });
  socket.onopen = () => done(told);
  socket.onerror = () => done('refused');
  socket.onmessage = ({data}) => {
    const message = JSON.parse(data);
    if (message.method) told.events.push(message.method + ' ' + message.params[0].gid);
    else waiting.shift()(message);
  };
});
const text = () => new Promise(done => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(',')[1]);
  reader.readAsDataURL(document.getElementById('file').files[0]);
});
</script>"""

# Each way in, to call `method` with `params`; what comes back is "refused", "sent", "opaque" (a
# browser keeps the answer to itself) or the answer.
WAYS = {
    "fetch": "return post(rpc, JSON.stringify(call(method, ...params)), "
             "{headers: {'Content-Type': 'application/json'}})",
    "fetch of plain text": "return post(rpc, JSON.stringify(call(method, ...params)))",
    "fetch without CORS": "return post(rpc, JSON.stringify(call(method, ...params)), {mode: 'no-cors'})",
    "form": "return form(rpc, call(method, ...params))",
    "JSONP": "return jsonp(rpc, method, params)",
    "WebSocket": "return open(rpc.replace('http', 'ws')).then("
                 "way => way == 'refused' ? way : way.ask(call(method, ...params)))",
}


class Pages(socketserver.ThreadingTCPServer):
    """Serves the page at `/`; whatever else comes goes to the RPC server on port `behind`, as it
    does when a name that was the page's becomes that of this machine."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, behind=None):
        super().__init__(("127.0.0.1", 0), PageHandler)
        self.port, self.behind = self.server_address[1], behind
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_):
        pass  # browsers open connections that they do not need

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class PageHandler(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        if head.startswith(b"GET / "):
            kind = b"Content-Type: text/html\r\nConnection: close\r\n"
            self.wfile.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (kind, len(PAGE), PAGE))
        elif self.server.behind is None:
            self.wfile.write(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        else:
            self.relay(head)

    def relay(self, head):
        with socket.create_connection(("127.0.0.1", self.server.behind)) as rpc:
            rpc.sendall(head)
            back = threading.Thread(target=copy, args=(rpc.makefile("rb"), self.connection), daemon=True)
            back.start()
            copy(self.rfile, rpc)
            back.join()


def copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.read1(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Chromium:
    """A browser with a profile of its own, and one page."""

    def __init__(self, home):
        self.port = free_port()
        driver = shutil.which("chromedriver") or sys.exit("chromedriver is not installed")
        binary = shutil.which("chromium") or sys.exit("chromium is not installed")
        self.process = subprocess.Popen(
            [driver, f"--port={self.port}"], stdin=subprocess.DEVNULL,
            stdout=open(home / "chromedriver.txt", "wb"), stderr=subprocess.STDOUT,
            env=quiet_environment(home), start_new_session=True)
        with killed_on_failure(self.process):
            wait_for("chromedriver", self._answers)
            options = {"binary": binary, "args": [*FLAGS, NAMES, f"--user-data-dir={home}/profile"]}
            wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options,
                                      "timeouts": {"script": 60_000}}}
            self.session = "/session/" + self.ask("POST", "/session", {"capabilities": wanted})["sessionId"]

    def _answers(self):
        with contextlib.suppress(OSError):
            return self.ask("GET", "/status")["ready"]

    def ask(self, verb, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        with contextlib.closing(connection):
            connection.request(verb, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        if answer.status != 200:
            raise Failed(f"{value['error']}: {value['message'][:500]}")
        return value

    def visit(self, host, pages):
        self.ask("POST", self.session + "/url", {"url": f"http://{host}:{pages.port}/"})

    def run(self, script, **values):
        """Runs a function body in the page; gives what its promise comes to."""
        names = ",".join(values)
        body = f"return (async ({names}) => {{ {script} }})(...arguments)"
        return self.ask("POST", self.session + "/execute/sync", {"script": body, "args": list(values.values())})

    def way(self, name, rpc, method, *params):
        return self.run(WAYS[name], rpc=rpc, method=method, params=list(params))

    def choose(self, path):
        """Chooses a file in the page's <input type=file>."""
        found = self.ask("POST", self.session + "/element", {"using": "css selector", "value": "#file"})
        element = next(iter(found.values()))
        self.ask("POST", f"{self.session}/element/{element}/value", {"text": str(path)})

    def close(self):
        with contextlib.suppress(OSError, Failed, http.client.HTTPException):
            self.ask("DELETE", self.session)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Scene:
    """The browser, pages, an origin, and servers by what they let in."""

    def __init__(self, stack, home):
        self.home = home
        binary = program()
        servers = {
            "plain": [], "all": ["--rpc-allow-origin-all=true"], "secret": [],
            "named": ["--rpc-allowed-host=rebind.example"],
        }
        self.servers = {}
        for name, flags in servers.items():
            (home / name).mkdir()
            secret = SECRET if name == "secret" else ""
            server = Server(binary, home / name, "--file-allocation=none", *flags, secret=secret)
            self.servers[name] = stack.enter_context(server)
        self.pages = stack.enter_context(Pages())
        self.origin = stack.enter_context(Origin())
        self.browser = Chromium(home)
        stack.callback(self.browser.close)

    def rpc(self, name):
        return f"http://127.0.0.1:{self.servers[name].port}/jsonrpc"

    def count(self, name):
        """Downloads that were ever added to a server."""
        stat = self.servers[name].call("aria2.getGlobalStat")
        return sum(int(stat[key]) for key in ("numActive", "numWaiting", "numStoppedTotal"))

    def add(self, way, name, *token):
        """A page adds a download that waits."""
        return self.browser.way(way, self.rpc(name), "aria2.addUri", *token,
                                [f"{self.origin.url}/file/a.bin"], {"pause": "true"})


def foreign(scene, way):
    """A page of another host, no secret: it reads nothing, and nothing is done."""
    scene.browser.visit("evil.example", scene.pages)
    answer = scene.add(way, "plain")
    # Of what is sent without asking a page learns nothing, not even that it was refused.
    expected = {"form": "sent", "fetch without CORS": "opaque"}.get(way, "refused")
    check(answer == expected, f"{answer}")
    check(scene.count("plain") == 0, "it was done all the same")


def taken(scene, way, name, token, readable):
    """A page of another host that is let in; whether it may read the answer."""
    scene.browser.visit("evil.example", scene.pages)
    before = scene.count(name)
    answer = scene.add(way, name, *token)
    if readable:
        check(isinstance(answer, dict) and len(answer.get("result", "")) == 16, f"{answer}")
    else:
        check(answer in ("sent", "opaque", "refused"), f"read: {answer}")
    wait_for("the download", lambda: scene.count(name) == before + 1, 30)


def wrong_secret(scene):
    """The wrong secret is as good as none."""
    scene.browser.visit("evil.example", scene.pages)
    before = scene.count("secret")
    for token in ([], ["token:coffee"]):
        answer = scene.add("WebSocket", "secret", *token)
        check(answer["error"]["message"] == "Unauthorized", f"{answer}")
    check(scene.count("secret") == before, "it was done all the same")


def rebinding(scene):
    """A page whose name has become that of this machine: of one origin with the RPC server."""
    with Pages(scene.servers["plain"].port) as pages:
        scene.browser.visit("rebind.example", pages)
        for way in WAYS:
            answer = scene.browser.way(way, f"http://rebind.example:{pages.port}/jsonrpc",
                                       "aria2.addUri", [scene.origin.url], {"pause": "true"})
            check(answer in ("refused", "sent"), f"{way}: {answer}")
        check(scene.count("plain") == 0, "it was done all the same")
    with Pages(scene.servers["named"].port) as pages:
        scene.browser.visit("rebind.example", pages)
        for way in ("fetch", "WebSocket", "JSONP"):
            rpc = f"http://rebind.example:{pages.port}/jsonrpc"
            answer = scene.browser.way(way, rpc, "aria2.getVersion")
            check("version" in answer["result"], f"{way}, allowed by name: {answer}")


def own_page(scene, host):
    """A page of this machine, as a front end on another port is: everything over one WebSocket."""
    browser, server = scene.browser, scene.servers["plain"]
    made = torrent(scene.home, f"of {host}", noise(host, 300_000))
    browser.visit(host, scene.pages)
    browser.choose(made.path)
    before = scene.count("plain")
    told = browser.run(
        """
        const way = await open(rpc.replace('http', 'ws'));
        if (way == 'refused') return way;
        const gid = (await way.ask(call('aria2.addUri', [url], {out: name}))).result;
        await way.event('aria2.onDownloadStart', gid);
        await way.event('aria2.onDownloadComplete', gid);
        const batch = await way.ask([
          call('aria2.tellStatus', gid, ['status', 'errorCode']), call('aria2.nothing')]);
        const multi = (await way.ask(call('system.multicall', [
          {methodName: 'aria2.getFiles', params: [gid]}, {methodName: 'aria2.nothing'}]))).result;
        const of = (await way.ask(call('aria2.addTorrent', await text(), [], {pause: 'true'}))).result;
        const hash = (await way.ask(call('aria2.tellStatus', of, ['infoHash']))).result.infoHash;
        return {batch, multi, hash};
        """,
        rpc=scene.rpc("plain").replace("127.0.0.1", host), url=f"{scene.origin.url}/file/a.bin",
        name=f"{host}.bin")
    check("batch" in told, f"{told}")
    check(told["batch"][0]["result"] == {"status": "complete", "errorCode": "0"}, f"{told}")
    check(told["batch"][1]["error"]["code"] == 1, f"{told}")
    check(told["multi"][0][0][0]["length"] == "300000", f"{told}")
    check(told["multi"][1]["message"] == "No such method: aria2.nothing", f"{told}")
    check(told["hash"] == made.hash, f"{told}")
    check(sha256(server.downloads / f"{host}.bin") == digest("a.bin"), "SHA-256 differs")
    # fetch is let in too; for the answer the browser wants --rpc-allow-origin-all.
    check(scene.add("fetch without CORS", "plain") == "opaque", "fetch without CORS")
    wait_for("the download", lambda: scene.count("plain") == before + 3, 30)
    for waiting in server.call("aria2.tellWaiting", 0, 99, ["gid"]):
        server.call("aria2.remove", waiting["gid"])


def read_by_all(scene):
    """With --rpc-allow-origin-all: batches, multicall and a torrent by fetch, from a foreign page."""
    made = torrent(scene.home, "by fetch", noise("fetch", 300_000))
    scene.browser.visit("evil.example", scene.pages)
    scene.browser.choose(made.path)
    told = scene.browser.run(
        """
        const send = body => post(rpc, JSON.stringify(body), {headers: {'Content-Type': 'application/json'}});
        const gid = (await send(call('aria2.addTorrent', await text(), [], {pause: 'true'}))).result;
        const batch = await send([call('aria2.tellStatus', gid), call('aria2.getGlobalStat')]);
        const multi = await send(call('system.multicall', [{methodName: 'aria2.getOption', params: [gid]}]));
        return {batch, multi};
        """, rpc=scene.rpc("all"))
    check(told["batch"][0]["result"]["infoHash"] == made.hash, f"{told}")
    check(told["batch"][1]["result"]["numWaiting"] != "0", f"{told}")
    check(told["multi"]["result"][0][0]["dir"] == str(scene.servers["all"].downloads), f"{told['multi']}")


def main():
    pattern = sys.argv[1] if len(sys.argv) > 1 else "*"
    suite = Suite("browser")
    readable = ("fetch", "fetch of plain text", "JSONP", "WebSocket")
    with contextlib.ExitStack() as stack:
        scene = Scene(stack, stack.enter_context(scratch("browser")))
        checks = [
            *((f"foreign page, {way}", foreign, scene, way) for way in WAYS),
            ("DNS rebinding", rebinding, scene),
            *((f"all origins, {way}", taken, scene, way, "all", [], way in readable) for way in WAYS),
            # fetch asks first where it wants to read JSON, and is told no.
            *((f"secret, {way}", taken, scene, way, "secret", [f"token:{SECRET}"], way in readable[2:])
              for way in WAYS if way != "fetch"),
            ("wrong secret", wrong_secret, scene),
            ("front end on 127.0.0.1", own_page, scene, "127.0.0.1"),
            ("front end on localhost", own_page, scene, "localhost"),
            ("fetch for all origins", read_by_all, scene),
        ]
        for name, *case in checks:
            if fnmatch.fnmatch(name, pattern):
                suite.run(name, *case)
    suite.finish()


main()
