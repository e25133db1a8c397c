#!/usr/bin/env python3
"""Calls every RPC method on aria2c and on the program under test, in the same scripted state.

Both are brought into the same state: one active download, waiting and paused ones, results of
every kind. Answers are compared byte for byte after ports, directories, session ids and times are
replaced. What differs on purpose stands in INTENDED with its reason.
"""

import base64
import contextlib
import http.client
import json
import re
import sys
import time

import websocket

from lib import Failed, Server, Suite, aria2c, check, program, scratch, wait_for
from origin import Origin

# Downloads of the scripted state, by role.
ACTIVE, WAIT1, WAIT2, PAUSED = "aa00000000000001", "bb00000000000001", "bb00000000000002", "bb00000000000003"
DONE, LOST, REMOVED = "cc00000000000001", "cc00000000000002", "cc00000000000003"
UNKNOWN = "dd00000000000001"

WIDER = "we are 1.37 with options of our own; every option of aria2c's answer has to be in ours"
INTENDED = {
    "getVersion": "we are 1.37, add our own name, and list the features that are built in",
    "getSessionInfo": "we add our own name",
    **dict.fromkeys(
        ("addUri 'gopher://x/'", "addUri 'HTTP://x/'", "addUri ' http://x/ '"),
        "what nobody here can fetch is refused at once, not after the answer"),
    **dict.fromkeys(("away with 1", "away with 2", "away with 19"), "it was refused above"),
    **dict.fromkeys(
        ("listMethods", "listMethods needs none", "listMethods with one"), "methods of our own come behind aria2's"),
    **dict.fromkeys(
        ("getDownloadResultCount", "searchDownloadResult", "requeueDownloadResult", "exportSession", "removeWithFiles",
         "setPeerBlocklist", "getPeerBlocklist"),
        "aria2c has no such method; tests/rpc has them"),
    "option values that are no strings": "numbers and booleans are taken instead of dropped",
}
# Answers that are objects of options: ours may have more, and these may differ.
OPTION_ANSWERS = {"getGlobalOption", "getOption active", "getOption waiting", "getOption done"}
# The program's own name, paths of its build, and the limit on open files that we raise.
OPTIONS_APART = {"user-agent", "peer-agent", "peer-id-prefix", "ca-certificate", "rlimit-nofile"}


def call(method, *params, id="q"):
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": list(params)})


def a(method, *params):
    return call("aria2." + method, *params)


def b64(value):
    return base64.b64encode(value.encode()).decode()


# (name, body) of POSTs that change nothing.
READS = [
    *[(f"tellStatus {role}", a("tellStatus", gid)) for role, gid in (
        ("active", ACTIVE), ("waiting", WAIT1), ("out set", WAIT2), ("paused", PAUSED),
        ("done", DONE), ("lost", LOST), ("removed", REMOVED), ("unknown", UNKNOWN), ("prefix", "cc00000000000002"[:2] + "00000000000002"),
        ("upper case", ACTIVE.upper()), ("short prefix", "aa"), ("ambiguous prefix", "bb"),
        ("not hex", "zz"), ("empty", ""), ("17 digits", ACTIVE + "0"), ("number", 5), ("null", None),
        ("list", []))],
    ("tellStatus keys", a("tellStatus", DONE, ["gid", "status", "errorCode"])),
    ("tellStatus unknown keys", a("tellStatus", DONE, ["no", "such"])),
    ("tellStatus no keys", a("tellStatus", DONE, [])),
    ("tellStatus keys no strings", a("tellStatus", DONE, [5, None])),
    ("tellStatus keys no array", a("tellStatus", DONE, "gid")),
    ("tellStatus key order", a("tellStatus", DONE, ["status", "gid"])),
    ("tellStatus without gid", a("tellStatus")),
    ("tellActive", a("tellActive")),
    ("tellActive keys", a("tellActive", ["gid", "connections"])),
    *[(f"tellWaiting {offset},{count}", a("tellWaiting", offset, count, ["gid", "status"]))
      for offset, count in ((0, 10), (1, 1), (3, 1), (-1, 10), (-2, 1), (-3, 10), (-4, 10), (0, 0), (2, 9))],
    *[(f"tellStopped {offset},{count}", a("tellStopped", offset, count, ["gid", "status"]))
      for offset, count in ((0, 10), (1, 1), (-1, 10), (-3, 10), (-4, 1), (99, 1))],
    ("tellWaiting all keys", a("tellWaiting", 0, 10)),
    ("tellStopped all keys", a("tellStopped", 0, 10)),
    ("tellWaiting count negative", a("tellWaiting", 0, -1)),
    ("tellWaiting without count", a("tellWaiting", 0)),
    ("tellWaiting without anything", a("tellWaiting")),
    ("tellWaiting text", a("tellWaiting", "0", "1")),
    ("tellWaiting fraction", a("tellWaiting", 0.9, 1.9, ["gid"])),
    ("tellWaiting too large", '{"id":1,"method":"aria2.tellWaiting","params":[99999999999999999999,1]}'),
    *[(f"{method} {role}", a(method, gid)) for method in ("getFiles", "getUris", "getServers", "getPeers")
      for role, gid in (("active", ACTIVE), ("waiting", WAIT1), ("done", DONE), ("unknown", UNKNOWN))],
    ("getOption active", a("getOption", ACTIVE)),
    ("getOption waiting", a("getOption", WAIT1)),
    ("getOption done", a("getOption", DONE)),
    ("getOption unknown", a("getOption", UNKNOWN)),
    ("getGlobalOption", a("getGlobalOption")),
    ("getGlobalStat", a("getGlobalStat")),
    ("getVersion", a("getVersion")),
    ("getSessionInfo", a("getSessionInfo")),
    ("listMethods", call("system.listMethods")),
    ("listNotifications", call("system.listNotifications")),
    ("getDownloadResultCount", a("getDownloadResultCount")),
    ("searchDownloadResult", a("searchDownloadResult", {"gidPrefix": UNKNOWN}, 0, 10, ["gid"])),
    ("requeueDownloadResult", a("requeueDownloadResult", UNKNOWN)),
    ("exportSession", a("exportSession", "../a.session")),
    ("removeWithFiles", call("arioso.removeWithFiles", UNKNOWN)),
    ("setPeerBlocklist", call("arioso.setPeerBlocklist", ["nonsense"])),
    ("getPeerBlocklist", call("arioso.getPeerBlocklist")),
    ("saveSession without a name", a("saveSession")),
    # Envelopes.
    ("no method", '{"jsonrpc":"2.0","id":1}'),
    ("method a number", '{"jsonrpc":"2.0","id":1,"method":5}'),
    ("no such method", a("fooBar")),
    ("no such method, other spelling", a("TellStatus", DONE)),
    ("no params", '{"jsonrpc":"2.0","id":1,"method":"aria2.getGlobalStat"}'),
    ("params an object", '{"jsonrpc":"2.0","id":1,"method":"aria2.getGlobalStat","params":{}}'),
    ("params null", '{"jsonrpc":"2.0","id":1,"method":"aria2.getGlobalStat","params":null}'),
    ("params a text", '{"jsonrpc":"2.0","id":1,"method":"aria2.getGlobalStat","params":"x"}'),
    ("params too many", a("getGlobalStat", 1, 2, 3)),
    ("no jsonrpc", '{"id":1,"method":"aria2.getGlobalStat"}'),
    ("jsonrpc 1.0", '{"jsonrpc":"1.0","id":1,"method":"aria2.getGlobalStat"}'),
    ("no id", '{"jsonrpc":"2.0","method":"aria2.getGlobalStat"}'),
    *[(f"id {given}", '{"id":%s,"method":"aria2.getGlobalStat"}' % given)
      for given in ("null", "-1", "1.5", "true", '""', '"\\u00fc/\\n"', '{"b":1,"a":[2]}', "[]", "12345678901234")],
    *[(f"body {body!r}", body) for body in (
        "", "x", "5", '"text"', "null", "{}", "[]", "[[]]", "[1,2]", "{", "[", '{"id":1,}', "true",
        "{'id':1}", '\ufeff{"id":1,"method":"aria2.getGlobalStat"}',
        '{"id":1,"method":"aria2.getGlobalStat"} trailing', '{"id":1,"method":"aria2.getGlobalStat",}',
        '{"id":1,"id":2,"method":"aria2.getGlobalStat"}',
        '  {"id":1,\n"method":\t"aria2.getGlobalStat"}  ', '{"id":1,"method":"aria2.\\u0067etGlobalStat"}')],
    ("batch", f'[{a("getGlobalStat")},{a("fooBar")},5,{a("tellStatus", "zz")},{{"method":"aria2.getGlobalStat"}}]'),
    ("batch of one", f'[{a("getGlobalStat")}]'),
    ("token although none is set", a("getGlobalStat", "token:x")),
    ("token before other parameters", a("tellStatus", "token:", DONE, ["gid"])),
    # Multicall.
    ("multicall", call("system.multicall", [
        {"methodName": "aria2.getGlobalStat", "params": []},
        {"methodName": "aria2.tellStatus", "params": ["zz"]},
        {"methodName": "aria2.tellStatus", "params": [DONE, ["gid"]]}])),
    ("multicall odd", call("system.multicall", [
        {"methodName": "aria2.getGlobalStat"}, {"params": []}, 5, {"methodName": "aria2.nope"},
        {"methodName": "system.multicall", "params": [[]]}, {"methodName": "aria2.tellActive", "params": 5}])),
    ("multicall empty", call("system.multicall", [])),
    ("multicall without list", call("system.multicall")),
    ("multicall of an object", call("system.multicall", {})),
    ("multicall with a token", call("system.multicall", "token:x", [])),
]

# Query strings of GETs.
GETS = [
    ("get", "?method=aria2.getGlobalStat&id=foo"),
    ("get with params", "?method=aria2.tellWaiting&id=foo&params=" + b64('[0,10,["gid"]]')),
    ("get with escaped params", "?method=aria2.tellWaiting&id=foo&params=WzAsMTAgXQ%3D%3D"),
    ("get without padding", "?method=aria2.tellWaiting&id=foo&params=WzAsMTAgXQ"),
    ("get jsonp", "?method=aria2.getGlobalStat&id=foo&jsoncallback=cb"),
    ("get jsonp error", "?method=aria2.nope&id=foo&jsoncallback=cb"),
    ("get callback", "?method=aria2.getGlobalStat&id=foo&callback=cb"),
    ("get without id", "?method=aria2.getGlobalStat"),
    ("get without anything", ""),
    ("get batch", "?params=" + b64(f'[{a("getGlobalStat")}]')),
    ("get whole request", "?params=" + b64(a("getGlobalStat"))),
    ("get id escaped", "?method=aria2.getGlobalStat&id=a%20b"),
]

# (name, method, path, headers, body).
RAW = [
    *[(f"{method} {path}", method, path, {}, b"") for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS")
      for path in ("/", "/jsonrpc", "/jsonrpc/", "/JSONRPC", "/rpc2") if (method, path) != ("GET", "/jsonrpc")],
    ("query on POST", "POST", "/jsonrpc?x=y", {}, a("getGlobalStat").encode()),
    ("content type of a form", "POST", "/jsonrpc", {"Content-Type": "application/x-www-form-urlencoded"}, a("getGlobalStat").encode()),
    ("origin without permission", "OPTIONS", "/jsonrpc", {"Origin": "http://x.test", "Access-Control-Request-Method": "POST"}, b""),
    ("gzip asked for", "POST", "/jsonrpc", {"Accept-Encoding": "gzip"}, a("getGlobalStat").encode()),
    ("deflate asked for", "POST", "/jsonrpc", {"Accept-Encoding": "deflate"}, a("getGlobalStat").encode()),
]

# (name, body) in this order; each changes the state, READS_AFTER shows it.
URL = "http://HOST/stall/0/big.bin"
CHANGES = [
    ("pause active", a("pause", ACTIVE)),
    ("pause paused", a("pause", PAUSED)),
    ("pause done", a("pause", DONE)),
    ("pause unknown", a("pause", UNKNOWN)),
    ("unpause", a("unpause", ACTIVE)),
    ("unpause not paused", a("unpause", WAIT1)),
    ("unpause done", a("unpause", DONE)),
    *[(f"changePosition {gid[:2]}{gid[-1]} {pos} {how}", a("changePosition", gid, pos, how)) for gid, pos, how in (
        (PAUSED, 0, "POS_SET"), (PAUSED, 9, "POS_SET"), (PAUSED, -5, "POS_SET"), (PAUSED, 1, "POS_CUR"),
        (PAUSED, -9, "POS_CUR"), (PAUSED, 0, "POS_END"), (PAUSED, -1, "POS_END"), (PAUSED, 0, "POS_ODD"),
        (DONE, 0, "POS_SET"), (UNKNOWN, 0, "POS_SET"))],
    ("changePosition without how", a("changePosition", PAUSED, 0)),
    ("changePosition text", a("changePosition", PAUSED, "0", "POS_SET")),
    ("changeUri add", a("changeUri", WAIT1, 1, [], [URL, "http://HOST/file/b.bin"])),
    ("changeUri remove", a("changeUri", WAIT1, 1, [URL, "nope"], [])),
    ("changeUri at front", a("changeUri", WAIT1, 1, [], ["http://HOST/file/c.bin"], 0)),
    ("changeUri bad ones", a("changeUri", WAIT1, 1, [], ["gopher://x", "", "HTTP://x/y"])),
    ("changeUri file 0", a("changeUri", WAIT1, 0, [], [])),
    ("changeUri file 2", a("changeUri", WAIT1, 2, [], [])),
    ("changeUri done", a("changeUri", DONE, 1, [], [])),
    ("changeUri position negative", a("changeUri", WAIT1, 1, [], [URL], -1)),
    ("uris after changeUri", a("getUris", WAIT1)),
    ("changeOption waiting", a("changeOption", WAIT1, {"max-download-limit": "1M", "split": "3"})),
    ("changeOption out", a("changeOption", WAIT1, {"out": "renamed.bin"})),
    ("path after changeOption", a("getFiles", WAIT1)),
    ("changeOption bad value", a("changeOption", WAIT1, {"split": "x"})),
    ("changeOption one good one bad", a("changeOption", WAIT1, {"max-tries": "9", "split": "0"})),
    ("changeOption unknown name", a("changeOption", WAIT1, {"no-such": "1"})),
    ("changeOption out of scope", a("changeOption", WAIT1, {"daemon": "maybe"})),
    ("changeOption done", a("changeOption", DONE, {"split": "1"})),
    ("changeOption no options", a("changeOption", WAIT1)),
    ("changeOption list", a("changeOption", WAIT1, {"header": ["A: 1", "B: 2"]})),
    ("getOption waiting", a("getOption", WAIT1)),
    ("changeGlobalOption", a("changeGlobalOption", {"max-overall-download-limit": "50K", "log-level": "info"})),
    ("changeGlobalOption bad", a("changeGlobalOption", {"max-concurrent-downloads": "0"})),
    ("changeGlobalOption unknown", a("changeGlobalOption", {"no-such": "x", "rpc-listen-port": "x"})),
    ("getGlobalOption", a("getGlobalOption")),
    ("remove paused", a("remove", PAUSED)),
    ("removed paused is gone", a("tellStatus", PAUSED)),
    ("remove done", a("remove", DONE)),
    ("forceRemove unknown", a("forceRemove", UNKNOWN)),
    ("removeDownloadResult waiting", a("removeDownloadResult", WAIT2)),
    ("removeDownloadResult", a("removeDownloadResult", LOST)),
    ("removeDownloadResult again", a("removeDownloadResult", LOST)),
    ("stat", a("getGlobalStat")),
    ("addUri with gid", a("addUri", [URL], {"gid": "ee00000000000001", "pause": "true"})),
    ("addUri same gid", a("addUri", [URL], {"gid": "ee00000000000001"})),
    ("addUri gid of a result", a("addUri", [URL], {"gid": DONE})),
    ("addUri gid too short", a("addUri", [URL], {"gid": "ee"})),
    ("addUri gid zero", a("addUri", [URL], {"gid": "0" * 16})),
    ("addUri position 0", a("addUri", [URL], {"gid": "ee00000000000002", "pause": "true"}, 0)),
    ("addUri position large", a("addUri", [URL], {"gid": "ee00000000000003", "pause": "true"}, 99)),
    ("addUri position negative", a("addUri", [URL], {}, -1)),
    ("addUri position text", a("addUri", [URL], {}, "0")),
    ("addUri no URIs", a("addUri", [])),
    ("addUri no strings", a("addUri", [1, None])),
    ("addUri nothing", a("addUri")),
    ("addUri text", a("addUri", URL)),
    ("addUri options no struct", a("addUri", [URL], [])),
    ("addUri bad option", a("addUri", [URL], {"split": "none"})),
    ("addUri unknown option", a("addUri", [URL], {"gid": "ee00000000000004", "pause": "true", "foo": "bar"})),
    *[(f"addUri {uri!r}", a("addUri", [uri], {"gid": f"ff{number:014}", "pause": "true"}))
      for number, uri in enumerate((
          "gopher://x/", "HTTP://x/", "file:///etc/passwd", "/etc/passwd", "", "http:", "http://",
          "http:///x", "http://x:/y", "http://x:0/y", "http://x:99999/y", "http://[::1]/y",
          "http://[::1/y", "http://u:p@x/y", "http://x?y", "http://x#y", "http://x/%zz", "x", " http://x/ ",
          "https://x/y", "ftp://x/y", "http://a b/"), 1)],
    *[(f"away with {number}", a("remove", f"ff{number:014}")) for number in (1, 2, 19)],
    ("URIs as they were taken", a("tellWaiting", 0, 100, ["gid", "files"])),
    ("addUri empty host", a("addUri", ["http:///x"])),
    ("addUri port too large", a("addUri", ["http://127.0.0.1:65536/x"])),
    ("addUri one good", a("addUri", ["", "http://HOST/a b/ü?q=1#f"], {"gid": "ee00000000000005", "pause": "true"})),
    ("uris are normalised", a("getUris", "ee00000000000005")),
    ("addUri with out", a("addUri", [URL], {"gid": "ee00000000000006", "pause": "true", "out": "o/p.bin", "dir": "HOME/other"})),
    ("files with out", a("getFiles", "ee00000000000006")),
    ("option values that are no strings", a("changeOption", "ee00000000000006", {"split": 7, "continue": True})),
    ("queue after adding", a("tellWaiting", 0, 100, ["gid", "status"])),
    ("addTorrent nothing", a("addTorrent")),
    ("addTorrent number", a("addTorrent", 5)),
    ("addTorrent garbage", a("addTorrent", b64("garbage"))),
    ("addTorrent options in second place", a("addTorrent", b64("garbage"), {})),
    ("addMetalink nothing", a("addMetalink")),
    ("addMetalink garbage", a("addMetalink", b64("garbage"))),
    ("forcePause waiting", a("forcePause", "ee00000000000006")),
    ("forcePause done", a("forcePause", DONE)),
    ("forceRemove paused", a("forceRemove", "ee00000000000006")),
    ("pauseAll", a("pauseAll")),
    ("unpauseAll", a("unpauseAll")),
    ("forcePauseAll", a("forcePauseAll")),
    ("purgeDownloadResult", a("purgeDownloadResult")),
    ("stopped after purge", a("tellStopped", 0, 10)),
]


# (name, body) sent to servers with --rpc-secret=s.
LOCKED = [
    ("no token", a("getGlobalStat")),
    ("wrong token", a("getGlobalStat", "token:no")),
    ("right token", a("getGlobalStat", "token:s")),
    ("token too late", a("tellStatus", DONE, "token:s")),
    ("token without its prefix", a("getGlobalStat", "s")),
    ("unknown method without a token", a("fooBar")),
    ("unknown method with a token", a("fooBar", "token:s")),
    ("listMethods needs none", call("system.listMethods")),
    ("listNotifications needs none", call("system.listNotifications")),
    ("listMethods with one", call("system.listMethods", "token:s")),
    ("multicall with a token of its own", call("system.multicall", "token:s", [])),
    ("multicall, inner tokens", call("system.multicall", [
        {"methodName": "aria2.getGlobalStat", "params": ["token:s"]},
        {"methodName": "aria2.getGlobalStat", "params": []},
        {"methodName": "aria2.getGlobalStat", "params": ["token:no"]},
        {"methodName": "system.listNotifications", "params": []}])),
    ("batch", f'[{a("getGlobalStat", "token:s")},{a("getGlobalStat")},{a("getGlobalStat", "x")}]'),
    ("not JSON", "x"),
    ("no method", '{"id":1,"params":["token:s"]}'),
]

# Name, and steps of (body, how many notifications follow); they are compared with their order.
EVENT = "ab0000000000000"
EVENTS = [
    ("completes", [(a("addUri", ["http://HOST/file/a.bin"], {"gid": EVENT + "1"}), 2)]),
    ("fails", [(a("addUri", ["http://HOST/status/404"], {"gid": EVENT + "2"}), 2)]),
    ("added paused, then unpaused", [
        (a("addUri", ["http://HOST/file/b.bin"], {"gid": EVENT + "3", "pause": "true"}), 0),
        (a("unpause", EVENT + "3"), 2)]),
    ("paused, unpaused, removed", [
        (a("addUri", ["http://HOST/stall/0/big.bin"], {"gid": EVENT + "4"}), 1),
        (a("forcePause", EVENT + "4"), 1), (a("unpause", EVENT + "4"), 1),
        (a("forceRemove", EVENT + "4"), 1)]),
    ("waiting one removed", [
        (a("addUri", ["http://HOST/stall/0/big.bin"], {"gid": EVENT + "5", "pause": "true"}), 0),
        (a("remove", EVENT + "5"), 0)]),
    ("active one gets an option that restarts it", [
        (a("addUri", ["http://HOST/stall/0/big.bin"], {"gid": EVENT + "6"}), 1),
        (a("changeOption", EVENT + "6", {"max-tries": "3"}), 1),
        (a("changeOption", EVENT + "6", {"max-download-limit": "1M"}), 0),
        (a("forceRemove", EVENT + "6"), 1)]),
    ("several in a row", [
        (a("addUri", ["http://HOST/file/a.bin"], {"gid": EVENT + "7", "pause": "true"}), 0),
        (a("addUri", ["http://HOST/file/b.bin"], {"gid": EVENT + "8", "pause": "true"}), 0),
        (a("unpauseAll"), 4)]),
]


# The last requests; each ends its server.
ENDS = [("shutdown", a("shutdown")), ("forceShutdown", a("forceShutdown"))]


class Side:
    """One program with its own origin and its own directory."""

    def __init__(self, binary, stack, *args, secret=""):
        self.origin = stack.enter_context(Origin())
        home = stack.enter_context(scratch("methods"))
        self.home = str(home)
        self.server = stack.enter_context(
            Server(binary, home, "-j1", "--file-allocation=none", *args, secret=secret)
        )

    def set_up(self):
        """Makes the scripted state."""
        add = lambda path, gid, **options: self.server.call(
            "aria2.addUri", [self.origin.url + path], {"gid": gid, **options})
        add("/file/a.bin", DONE)
        self.server.wait_status(DONE, "complete")
        add("/status/404", LOST)
        wait_for("the 404", lambda: self.server.status(LOST)["status"] == "error")
        add("/stall/0/big.bin", REMOVED)
        wait_for("a length", lambda: self.server.status(REMOVED)["totalLength"] != "0")
        self.server.call("aria2.forceRemove", REMOVED)
        self.server.wait_status(REMOVED, "removed")
        add("/stall/0/big.bin", ACTIVE, out="active.bin")
        wait_for("a length", lambda: self.server.status(ACTIVE)["totalLength"] != "0")
        add("/file/b.bin", WAIT1, header=["X-A: 1"], split="2")
        add("/file/c.bin", WAIT2, out="named.bin")
        add("/file/empty.bin", PAUSED, pause="true")

    def send(self, method, path, body, headers=None):
        """Status, headers and body of one request, normalised."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request(method, path, self.fill(body), headers or {})
            response = connection.getresponse()
            payload = response.read()
            found = [(name, value) for name, value in response.getheaders()]
        finally:
            connection.close()
        volatile = {"Date", "Expires", "Content-Length"}
        kept = [(name, "*" if name in volatile else value) for name, value in found]
        text = payload.decode("utf-8", "replace")
        if ("Content-Encoding", "gzip") in kept:
            text = "gzip"
        return response.status, kept, self.plain(text)

    def fill(self, body):
        body = body.encode() if isinstance(body, str) else body
        return body.replace(b"HOST", self.origin.url.removeprefix("http://").encode()).replace(
            b"HOME", self.home.encode())

    def plain(self, text):
        text = text.replace(self.home.replace("/", "\\/"), "HOME").replace(self.home, "HOME")
        text = text.replace(f"127.0.0.1:{self.origin.port}", "HOST")
        text = text.replace(f'"{self.server.port}"', '"PORT"')
        text = re.sub(r'"sessionId":"[0-9a-f]{40}"', '"sessionId":"S"', text)
        # When the copy of a URI that may be used again joins the list is each program's own affair.
        text = re.sub(
            r'(\{"status":"used","uri":"([^"]*)"\}),\{"status":"waiting","uri":"\2"\}', r"\1", text)
        # Speeds and the connection of a download just paused fade at each program's own pace.
        return re.sub(r'"(downloadSpeed|connections)":"\d+"', r'"\1":"*"', text)

    def talk(self, *messages):
        """Sends text messages over one WebSocket; returns the answer to each."""
        socket = websocket.create_connection(f"ws://127.0.0.1:{self.server.port}/jsonrpc", timeout=10)
        try:
            answers = []
            for message in messages:
                socket.send(self.fill(message).decode())
                answers.append(self.plain(socket.recv()))
            return answers
        finally:
            socket.close()


    def watch(self, steps):
        """The notifications that follow each step, and 0.3 s of listening for one too many."""
        socket = websocket.create_connection(f"ws://127.0.0.1:{self.server.port}/jsonrpc", timeout=10)
        seen = []
        try:
            for body, count in steps:
                self.send("POST", "/jsonrpc", body)
                socket.settimeout(10)
                seen.append([json.loads(socket.recv()) for _ in range(count)])
                socket.settimeout(0.3)
                with contextlib.suppress(websocket.WebSocketTimeoutException):
                    seen.append(["too many", socket.recv()])
        except websocket.WebSocketTimeoutException:
            seen.append("nothing more came")
        finally:
            socket.close()
        return seen


    def end(self, body):
        """The answer to a shutdown and the exit status that follows it."""
        answer = self.send("POST", "/jsonrpc", body)
        return answer, self.server.process.wait(20)


def every_method_is_asked(side):
    """No method is missing from the corpus above."""
    listed = set(side.server.call("system.listMethods"))
    asked = {
        method
        for _, body in READS + CHANGES + LOCKED + ENDS
        for method in re.findall(r'"((?:aria2|system|arioso)\.\w+)"', body)
    }
    check(listed <= asked, f"never asked: {sorted(listed - asked)}")


def compare(name, theirs, ours, request):
    """`request(side)` gives the answer; both have to be the same."""
    wanted, got = request(theirs), request(ours)
    if wanted == got:
        return None
    if name in OPTION_ANSWERS and options_within(wanted, got):
        return WIDER
    if name in INTENDED:
        return INTENDED[name]
    raise Failed(f"\n    aria2c {shorten(wanted)}\n    ours   {shorten(got)}")


def options_within(wanted, got):
    """Whether all of aria2c's options are in ours with the same values."""
    if wanted[:2] != got[:2]:
        return False
    theirs, ours = (json.loads(answer[2])["result"] for answer in (wanted, got))
    different = {
        name: (value, ours.get(name))
        for name, value in theirs.items()
        if name not in OPTIONS_APART and ours.get(name) != value
    }
    check(not different, f"options differ: {different}")
    return True


def shorten(answer):
    text = str(answer)
    return text if len(text) < 1500 else text[:1500] + "..."


def settled(side):
    """Waits until nothing is on its way to another status, so that both are asked at rest."""
    time.sleep(0.02)
    return side


def main():
    suite = Suite("methods")
    both = (aria2c(), program())

    def run(sides, name, request):
        suite.run(name, compare, name, *sides, request)

    with contextlib.ExitStack() as stack:
        sides = [Side(binary, stack) for binary in both]
        for side in sides:
            side.set_up()
        for name, body in READS:
            run(sides, name, lambda side: side.send("POST", "/jsonrpc", body))
        for name, query in GETS:
            run(sides, name, lambda side: side.send("GET", "/jsonrpc" + query, b""))
        for name, method, path, headers, body in RAW:
            run(sides, name, lambda side: side.send(method, path, body, headers))
        messages = [a("getGlobalStat"), a("fooBar"), "x", f'[{a("tellStatus", "zz")}]', ""]
        run(sides, "WebSocket", lambda side: side.talk(*messages))
        for name, body in CHANGES:
            run(sides, name, lambda side: settled(side).send("POST", "/jsonrpc", body))
    with contextlib.ExitStack() as stack:
        sides = [Side(binary, stack, secret="s") for binary in both]
        ask = lambda body: lambda side: side.send("POST", "/jsonrpc", body)
        suite.run_all(
            [(f"locked: {name}", compare, name, *sides, ask(body)) for name, body in LOCKED], 8)
    with contextlib.ExitStack() as stack:
        sides = [Side(binary, stack) for binary in both]
        for name, steps in EVENTS:
            run(sides, f"events: {name}", lambda side: side.watch(steps))
        suite.run("every method is asked", every_method_is_asked, sides[1])
    for name, body in ENDS:
        with contextlib.ExitStack() as stack:
            sides = [Side(binary, stack) for binary in both]
            run(sides, name, lambda side: side.end(body))
    suite.finish()


main()
