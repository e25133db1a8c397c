"""A walk over every RPC method, the same for each client library.

Values are compared as text, since some libraries turn "5" into 5 and "true" into true.
"""

import base64

from lib import Failed, Server, check, scratch, sha256, wait_for
from libraries import LIBRARIES
from origin import Origin, digest

GLOBAL_STATS = {
    "downloadSpeed",
    "numActive",
    "numStopped",
    "numStoppedTotal",
    "numWaiting",
    "uploadSpeed",
}
# What aria2p looks up in every status, and what most others read.
STATUS_KEYS = {
    "bitfield",
    "completedLength",
    "connections",
    "dir",
    "downloadSpeed",
    "files",
    "gid",
    "numPieces",
    "pieceLength",
    "status",
    "totalLength",
    "uploadLength",
    "uploadSpeed",
}
METHODS = set(
    """
    aria2.addUri aria2.addTorrent aria2.getPeers aria2.addMetalink aria2.remove aria2.pause
    aria2.forcePause aria2.pauseAll aria2.forcePauseAll aria2.unpause aria2.unpauseAll
    aria2.forceRemove aria2.changePosition aria2.tellStatus aria2.getUris aria2.getFiles
    aria2.getServers aria2.tellActive aria2.tellWaiting aria2.tellStopped aria2.getOption
    aria2.changeUri aria2.changeOption aria2.getGlobalOption aria2.changeGlobalOption
    aria2.purgeDownloadResult aria2.removeDownloadResult aria2.getVersion aria2.getSessionInfo
    aria2.shutdown aria2.forceShutdown aria2.getGlobalStat aria2.saveSession system.multicall
    system.listMethods system.listNotifications
""".split()
)
TORRENT = base64.b64encode(
    b"d4:infod6:lengthi5e4:name5:a.txt12:piece lengthi16384e6:pieces20:" + b"x" * 20 + b"ee"
).decode()
METALINK = base64.b64encode(
    b'<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="m.bin">'
    b"<url>http://127.0.0.1:1/m.bin</url></file></metalink>"
).decode()

# Features that are not built yet: (method, parameter) and the issue that brings it.
LATER = {
    "BitTorrent": ("aria2.addTorrent", TORRENT, "issue 7"),
    "Metalink": ("aria2.addMetalink", METALINK, "issue 8"),
}
NOT_YET = "not supported by this version"


def missing_features(server):
    """Those of LATER that this program says it lacks."""
    missing = set()
    for feature, (method, upload, _issue) in LATER.items():
        try:
            found = server.call(
                method, upload, *([[]] if "Torrent" in method else []), {"pause": "true"}
            )
        except Exception as error:
            if NOT_YET in str(error):
                missing.add(feature)
                continue
            raise
        for gid in [found] if isinstance(found, str) else found:
            server.call("aria2.remove", gid)
    return missing


def same(got, wanted, what):
    check(text(got) == text(wanted), f"{what}: {got!r}, wanted {wanted!r}")


def text(value):
    if isinstance(value, (list, tuple)):
        return [text(each) for each in value]
    if isinstance(value, dict):
        return {key: text(each) for key, each in value.items()}
    return str(value).lower() if isinstance(value, bool) else str(value)


class Walk:
    """One library, one server."""

    def __init__(self, kind, library, server, origin, missing):
        self.library, self.server, self.origin = library, server, origin
        self.cannot, self.batches, self.missing = kind.cannot, kind.batches, missing
        self.called = set()
        self.left_out = []

    def call(self, method, *params):
        check(method not in self.cannot, f"{method} is not to be called")
        self.called.add(method)
        return self.library.call(method, *params)

    def fails(self, message, method, *params):
        try:
            result = self.call(method, *params)
        except Exception as error:
            check(message in str(error), f"{method}: {error!r}, wanted {message!r}")
        else:
            raise Failed(f"{method}{params} is {result!r}, wanted {message!r}")

    def status(self, gid):
        return text(self.call("tellStatus", gid, ["status"])["status"])

    def wait(self, gid, *wanted):
        wait_for(f"{gid} to be {wanted}", lambda: self.status(gid) in wanted, 20)

    def run(self):
        self.look_around()
        self.one_download()
        self.queue()
        self.results()
        self.several_at_once()
        self.uploads()
        self.end()

    def look_around(self):
        listed = set(self.call("listMethods"))
        check(METHODS <= listed, f"listMethods lacks {METHODS - listed}")
        check(len(self.call("listNotifications")) == 6, "listNotifications")
        version = self.call("getVersion")
        check(version["version"].startswith("1.3"), f"version {version}")
        check("BitTorrent" in version["enabledFeatures"], f"features {version}")
        if "getSessionInfo" not in self.cannot:
            check(len(self.call("getSessionInfo")["sessionId"]) == 40, "sessionId")
        check(GLOBAL_STATS <= set(self.call("getGlobalStat")), "getGlobalStat")
        same(self.call("changeGlobalOption", {"max-overall-download-limit": "5M"}), "OK", "change")
        option = self.call("getGlobalOption")["max-overall-download-limit"]
        same(option, 5 << 20, "getGlobalOption")
        self.fails("Invalid GID zz", "tellStatus", "zz")
        self.fails("GID 0123456789abcdef is not found", "getFiles", "0123456789abcdef")

    def one_download(self):
        """Gids of our own; started, looked at, changed, paused, stopped."""
        url = f"{self.origin.url}/stall/20000/big.bin"
        gid = "a000000000000001"
        lists = "lists" not in self.cannot
        header = ["X-A: 1", "X-B: 2"] if lists else "X-A: 1"
        options = {"gid": gid, "out": "own.bin", "header": header, "split": "1"}
        same(self.call("addUri", [url], options), gid, "addUri")
        self.wait(gid, "active")
        status = lambda: self.call("tellStatus", gid)
        wait_for(
            "bytes", lambda: int(status()["completedLength"]) > 0 and "bitfield" in status(), 20
        )
        found = status()
        check(STATUS_KEYS <= set(found), f"tellStatus lacks {STATUS_KEYS - set(found)}")
        same(found["totalLength"], 6_000_000, "totalLength")
        active = self.call("tellActive", ["gid", "connections"])
        same([each["gid"] for each in active], [gid], "tellActive")
        check(self.call("getUris", gid)[0]["uri"] == url, "getUris")
        file = self.call("getFiles", gid)[0]
        check(str(file["path"]).endswith("/own.bin"), f"path {file['path']}")
        same([file["index"], file["selected"]], ["1", "true"], "getFiles")
        servers = self.call("getServers", gid)[0]["servers"]
        check(servers[0]["currentUri"] == url, f"getServers {servers}")
        same(self.call("getPeers", gid), [], "getPeers")
        same(self.call("changeOption", gid, {"max-download-limit": "900K"}), "OK", "changeOption")
        option = self.call("getOption", gid)
        same(option["max-download-limit"], 900 << 10, "max-download-limit")
        same(option["header"].split("\n")[:-1], header if lists else [header], "header")
        headers = self.origin.requests[0][2]
        check(headers["x-a"] == "1" and (headers.get("x-b") == "2") == lists, f"sent: {headers}")
        same(self.call("pause", gid), gid, "pause")
        self.wait(gid, "paused")
        self.fails("cannot be paused now", "pause", gid)
        same(self.call("unpause", gid), gid, "unpause")
        self.wait(gid, "active")
        same(self.call("forcePause", gid), gid, "forcePause")
        self.wait(gid, "paused")
        same(self.call("unpauseAll"), "OK", "unpauseAll")
        self.wait(gid, "active")
        for method in ("pauseAll", "forcePauseAll"):
            same(self.call(method), "OK", method)
            self.wait(gid, "paused")
        same(self.call("unpauseAll"), "OK", "unpauseAll")
        self.wait(gid, "active")
        same(self.call("forceRemove", gid), gid, "forceRemove")
        self.wait(gid, "removed")
        self.events(gid, "Start Pause Start Pause Start Pause Start Stop")

    def queue(self):
        add = lambda gid, *more: self.call(
            "addUri", [f"{self.origin.url}/file/b.bin"], {"gid": gid, "pause": "true"}, *more
        )
        first, second, third = ("b00000000000000" + digit for digit in "123")
        for gid, more in ((second, ()), (third, ()), (first, (0,))):
            same(add(gid, *more), gid, "addUri")
        queue = lambda: [each["gid"] for each in self.call("tellWaiting", 0, 10, ["gid"])]
        same(queue(), [first, second, third], "tellWaiting")
        same(self.call("changePosition", first, 9, "POS_SET"), 2, "changePosition")
        same(self.call("changePosition", first, -1, "POS_CUR"), 1, "changePosition")
        same(queue(), [second, first, third], "the queue")
        uri = self.origin.url + "/file/other/b.bin"
        same(self.call("changeUri", first, 1, [], [uri], 0), [0, 1], "changeUri")
        same(self.call("changeUri", first, 1, [uri, "http://no/"], [], 0), [1, 0], "changeUri")
        same(self.call("remove", third), third, "remove")
        self.fails(f"GID {third} is not found", "tellStatus", third)
        same(self.call("remove", second), second, "remove")
        same(self.call("unpause", first), first, "unpause")
        self.wait(first, "complete")
        path = self.server.downloads / "b.bin"
        check(sha256(path) == digest("b.bin"), "SHA-256 differs")
        self.events(first, "Start Complete")

    def results(self):
        lost = self.call("addUri", [self.origin.url + "/status/404"], {"gid": "c000000000000001"})
        self.wait(lost, "error")
        status = self.call("tellStatus", lost)
        same(status["errorCode"], 3, "errorCode")
        check(status["errorMessage"], "an error without a message")
        self.events(lost, "Start Error")
        gids = ["a000000000000001", "b000000000000001", lost]
        stopped = lambda *at: [
            each["gid"] for each in self.call("tellStopped", *at, ["gid", "status"])
        ]
        same(stopped(0, 10), gids, "tellStopped")
        same(stopped(-1, 1000), gids[::-1], "tellStopped from the end")
        self.call(
            "remove", self.call("addUri", [self.origin.url + "/file/c.bin"], {"pause": "true"})
        )
        same(self.call("saveSession"), "OK", "saveSession")
        session = (self.server.home / "session.txt").read_text()
        check("status/404" in session, f"the session file: {session!r}")
        same(self.call("removeDownloadResult", lost), "OK", "removeDownloadResult")
        same(stopped(0, 10), gids[:2], "tellStopped")
        same(self.call("purgeDownloadResult"), "OK", "purgeDownloadResult")
        same(stopped(0, 10), [], "tellStopped after the purge")

    def several_at_once(self):
        for name in ("multicall", "batch"):
            if name in self.cannot or (name == "batch" and not self.batches):
                continue
            calls = [
                {"methodName": "aria2.getGlobalStat", "params": []},
                {"methodName": "aria2.tellStopped", "params": [0, 5, ["gid"]]},
            ]
            answer = self.call(name, calls)
            unwrap = lambda each: (
                each[0] if name == "multicall" and isinstance(each, list) else each
            )
            check(GLOBAL_STATS <= set(unwrap(answer[0])), f"{name}: {answer}")
            check(text(unwrap(answer[1])) == [], f"{name}: {answer}")

    def uploads(self):
        for feature, (method, upload, issue) in LATER.items():
            name = method.removeprefix("aria2.")
            uris = [[]] if feature == "BitTorrent" else []
            if feature in self.missing:
                self.left_out.append(f"{name} ({issue})")
                self.fails(NOT_YET, name, upload, *uris, {"pause": "true"})
                continue
            gids = self.call(
                name,
                upload,
                *uris,
                {"pause": "true", "gid": "d" * 16} if uris else {"pause": "true"},
            )
            gid = gids if uris else gids[0]
            same(self.status(gid), "paused", "status")
            self.call("remove", gid)

    def end(self):
        same(self.call("shutdown"), "OK", "shutdown")
        self.called.add("forceShutdown")  # asked of a server of its own
        check(self.server.process.wait(20) == 0, f"exit status {self.server.process.returncode}")
        asked = {name.partition(".")[2] for name in METHODS} - set(self.cannot)
        check(asked <= self.called, f"never asked: {asked - self.called}")

    def events(self, gid, names):
        """The notifications of one download have been exactly these."""
        if self.library.events is None:
            return
        wanted = [f"onDownload{name}" for name in names.split()]
        got = lambda: [name for name, of in self.library.events if of == gid]
        try:
            wait_for("notifications", lambda: len(got()) >= len(wanted), 5)
        except Failed:
            pass
        check(got() == wanted, f"notifications {got()}, wanted {wanted}")


def started(binary, work):
    return Server(binary, work, f"--save-session={work}/session.txt", "--file-allocation=none")


def tour(name, binary, missing):
    """The walk of one library; its last call ends the server, and forceShutdown another."""
    kind = LIBRARIES[name]
    with scratch("tour") as work, Origin() as origin, started(binary, work) as server:
        library = kind.open(server.port, server.secret)
        try:
            walk = Walk(kind, library, server, origin, missing)
            walk.run()
        finally:
            library.close()
    with scratch("tour") as work, started(binary, work) as server:
        library = kind.open(server.port, server.secret)
        try:
            same(library.call("forceShutdown"), "OK", "forceShutdown")
            check(server.process.wait(20) == 0, f"exit status {server.process.returncode}")
        finally:
            library.close()
    excepted = [f"{method} ({reason})" for method, reason in kind.cannot.items()] + walk.left_out
    return "excepted: " + "; ".join(excepted) if excepted else None
