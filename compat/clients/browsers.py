"""What web pages and browser extensions send and read, replayed. Facts are read from their own code."""

import base64
import json
import re
import time
import urllib.parse


from lib import check
from replay import ALWAYS, Guarded, Site, ok, refused

ARIANG_KEYS = """
    gid totalLength completedLength uploadSpeed downloadSpeed connections numSeeders seeder status
    errorCode verifiedLength verifyIntegrityPending files bittorrent infoHash
""".split()


def ariang():
    """WebSocket from a page of another origin; polls with keys; every action on a task."""
    with Site("--rpc-allow-origin-all", "--max-concurrent-downloads=1") as site:
        page = "http://ariang.test"
        wants = {
            "Origin": page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        status, headers, _ = site.http("OPTIONS", "/jsonrpc", headers=wants)
        check(
            status == 200 and headers["access-control-allow-origin"] == "*", f"preflight: {headers}"
        )
        check(headers["access-control-allow-headers"] == "content-type", f"preflight: {headers}")
        socket = site.socket(origin=page)

        def call(method, *params):
            id = base64.b64encode(f"AriaNg_{time.time()}".encode()).decode()
            request = {"jsonrpc": "2.0", "method": method, "id": id}
            request["params"] = (
                list(params) if method.startswith("system.") else [site.token(), *params]
            )
            return ok(socket.ask(request), id)

        check(call("aria2.getVersion")["version"].startswith("1.3"), "version")
        options = {
            "dir": str(site.server.downloads),
            "out": "one.bin",
            "split": "5",
            "max-download-limit": "900K",
            "header": ["Cookie: a=b"],
        }
        one = call("aria2.addUri", [site.endless], options)
        two = call("aria2.addUri", [site.file], {"pause": "true"})
        three = call("aria2.addUri", [site.file], {"pause": "true"})
        socket.wait(("Start", one))
        for tasks in (
            call("aria2.tellActive", ARIANG_KEYS),
            call("aria2.tellWaiting", 0, 1000, ARIANG_KEYS),
        ):
            check(
                tasks
                and all(ALWAYS | {"files"} <= set(task) <= set(ARIANG_KEYS) for task in tasks),
                f"tasks {tasks}",
            )
        check(
            all(isinstance(value, str) for value in call("aria2.getGlobalStat").values()),
            "getGlobalStat",
        )
        check(call("aria2.changePosition", three, 0, "POS_SET") == 0, "changePosition")
        detail = call(
            "system.multicall", *site.multicall(("aria2.tellStatus", one), ("aria2.getOption", one))
        )
        check(detail[0][0]["files"][0]["path"].endswith("/one.bin"), f"detail {detail}")
        check(detail[1][0]["max-download-limit"] == "921600", f"options {detail}")
        detail = call(
            "system.multicall", *site.multicall(("aria2.tellStatus", one), ("aria2.getPeers", one))
        )
        check(detail[1] == [[]], f"peers {detail}")
        for method, event in (
            ("aria2.forcePause", "Pause"),
            ("aria2.unpause", "Start"),
            ("aria2.forcePause", "Pause"),
        ):
            check(call(method, one) == one, method)
            socket.wait((event, one))
        check(
            call("aria2.changeOption", one, {"max-download-limit": "0", "split": "3"}) == "OK",
            "changeOption",
        )
        check(
            call("aria2.changeGlobalOption", {"max-overall-download-limit": "0"}) == "OK",
            "changeGlobalOption",
        )
        check(call("aria2.getGlobalOption")["dir"] == str(site.server.downloads), "dir")
        check(call("aria2.unpause", two) == two, "unpause")
        socket.wait(("Start", two), ("Complete", two))
        call("aria2.forceRemove", one)
        call("aria2.forceRemove", three)
        again = call("aria2.addUri", [site.endless])
        socket.wait(("Start", again))
        call("aria2.forceRemove", again)
        socket.wait(("Stop", again))
        stopped = call("aria2.tellStopped", -1, 1000, ARIANG_KEYS)
        check([task["gid"] for task in stopped] == [again, two], f"newest first: {stopped}")
        check(call("aria2.removeDownloadResult", two) == "OK", "removeDownloadResult")
        check(call("aria2.purgeDownloadResult") == "OK", "purgeDownloadResult")
        wrong = {
            "jsonrpc": "2.0",
            "method": "aria2.getVersion",
            "id": "x",
            "params": ["token:wrong"],
        }
        check(socket.ask(wrong)["error"]["message"] == "Unauthorized", "Unauthorized")
        # The same page over HTTP decides by the status.
        refused(site.post(wrong, Origin=page), 400, 1, "^Unauthorized$")


def webui_aria2():
    """Everything in one multicall, jsonrpc a number; HTTP Basic as its second try."""
    with Site() as site:
        first = ok(
            site.post(
                {
                    "jsonrpc": 2.0,
                    "id": "webui",
                    "method": "aria2.addUri",
                    "params": [site.token(), [site.file], {}],
                }
            )
        )
        site.arrived()
        calls = site.multicall(
            ("aria2.tellActive",),
            ("aria2.tellWaiting", 0, 1000),
            ("aria2.tellStopped", 0, 1000),
            ("aria2.getGlobalStat",),
            ("aria2.getVersion",),
            ("aria2.getGlobalOption",),
            ("aria2.getOption", first),
            ("aria2.changePosition", first, 0, "POS_SET"),
        )
        answer = ok(
            site.post(
                {"jsonrpc": 2.0, "id": "webui", "method": "system.multicall", "params": calls}
            ),
            "webui",
        )
        check(len(answer) == 8 and answer[2][0][0]["errorCode"] == "0", f"answers {answer}")
        check("not found in the waiting queue" in answer[-1]["message"], f"answers {answer}")
    with Site("--rpc-user=u", "--rpc-passwd=p", secret="", kind=Guarded) as site:
        ask = {"jsonrpc": 2.0, "id": "webui", "method": "aria2.getVersion"}
        status, headers, _ = site.http("POST", "/jsonrpc", json.dumps(ask))
        check(status == 401 and "Basic" in headers["www-authenticate"], f"HTTP {status}")
        login = "Basic " + base64.b64encode(b"u:p").decode()
        ok(site.post(ask, Authorization=login))


def yaaw():
    """Batches in which all elements have one id, over HTTP and WebSocket."""
    with Site() as site:

        def requests(method, gids):
            return [
                {"jsonrpc": "2.0", "method": method, "id": 1, "params": [site.token(), gid]}
                for gid in gids
            ]

        add = [
            {
                "jsonrpc": "2.0",
                "method": "aria2.addUri",
                "id": 1,
                "params": [site.token(), [site.file], {"pause": "true"}],
            }
        ] * 3
        status, answers = site.post(add)
        check(status == 200 and [each["id"] for each in answers] == [1, 1, 1], f"batch {answers}")
        gids = [each["result"] for each in answers]
        socket = site.socket()
        for ask in (lambda batch: site.post(batch)[1], socket.ask):
            answers = ask(requests("aria2.tellStatus", gids))
            check([each["result"]["gid"] for each in answers] == gids, f"order {answers}")
            check(
                all(each["result"]["files"][0]["path"] == "" for each in answers),
                f"paths {answers}",
            )
        answers = socket.ask(requests("aria2.pause", gids))
        check(
            all("cannot be paused now" in each["error"]["message"] for each in answers),
            f"batch {answers}",
        )
        for method in ("aria2.getPeers", "aria2.getOption", "aria2.unpause"):
            check(all("result" in each for each in socket.ask(requests(method, gids[:1]))), method)
        socket.wait(("Complete", gids[0]))
        answers = socket.ask(
            requests("aria2.removeDownloadResult", gids[:1]) + requests("aria2.remove", gids[1:])
        )
        check([each.get("result") for each in answers] == ["OK", *gids[1:]], f"batch {answers}")


def jc3213():
    """The browser extension: text/plain, a token even where none is set, throws on a bad status."""
    with Site(secret="") as site:

        def call(method, *params):
            return ok(
                site.post(
                    {"id": "", "jsonrpc": "2.0", "method": method, "params": list(params)},
                    Content_Type="text/plain;charset=UTF-8",
                ),
                "",
            )

        gid = call(
            "aria2.addUri",
            "token:none",
            [site.endless],
            {"header": ["Cookie: x=1", "Referer: http://r/"], "out": "jc.bin"},
        )
        calls = [
            {"methodName": name, "params": ["token:none", *params]}
            for name, *params in (
                ("aria2.getGlobalStat",),
                ("aria2.getVersion",),
                ("aria2.tellActive",),
                ("aria2.tellWaiting", 0, 999),
                ("aria2.tellStopped", 0, 999),
            )
        ]
        stat, version, active, waiting, stopped = call("system.multicall", calls)
        check(
            stat[0]["numActive"] == "1" and waiting == stopped == [[]],
            f"{stat} {waiting} {stopped}",
        )
        check(active[0][0]["gid"] == gid and "connections" in active[0][0], f"active {active}")
        more = site.origin.url + "/file/big.bin"
        check(call("aria2.changeUri", "token:none", gid, 1, [], [more]) == [0, 1], "changeUri")
        both = [
            {"methodName": name, "params": ["token:none", gid]}
            for name in ("aria2.getFiles", "aria2.getOption")
        ]
        files, option = call("system.multicall", both)
        check(more in str(files) and option[0]["out"] == "jc.bin", f"{files} {option}")
        site.server.wait_bytes(gid, 1)
        check(site.origin.requests[0][2]["cookie"] == "x=1", "the cookie was not sent")


def aria2_explorer():
    """addUri with a list of headers; JSONP and GET as the old extensions do."""
    with Site(secret="") as site:
        params = base64.b64encode(
            json.dumps(
                [[site.file], {"header": ["Cookie: s=1; t=2", "User-Agent: Explorer"]}]
            ).encode()
        ).decode()
        query = urllib.parse.urlencode(
            {
                "jsonrpc": "2.0",
                "method": "aria2.addUri",
                "id": "1",
                "params": params,
                "jsoncallback": "cb",
            }
        )
        status, headers, body = site.http("GET", "/jsonrpc?" + query)
        check(
            status == 200 and headers["content-type"] == "text/javascript",
            f"HTTP {status} {headers}",
        )
        check(re.fullmatch(rb'cb\(\{.*"result":"[0-9a-f]{16}".*\}\)', body), f"JSONP {body}")
        site.arrived()
        sent = site.origin.requests[0][2]
        check((sent["cookie"], sent["user-agent"]) == ("s=1; t=2", "Explorer"), f"sent {sent}")


def libaria2_http():
    """The GETs of libaria2-ts: base64 as it is, batches with an empty method and id."""
    with Site(secret="") as site:
        params = base64.b64encode(b"[0,10]").decode()
        id = "3fe0a8c2-70a5-4f6e-9d6e-0c5f9f6a1a11"
        status, _, body = site.http(
            "GET", f"/jsonrpc?method=aria2.tellWaiting&id={id}&params={params}"
        )
        check(
            status == 200 and json.loads(body) == {"id": id, "jsonrpc": "2.0", "result": []},
            f"{status} {body}",
        )


BROWSERS = {
    "AriaNg-shaped": ariang,
    "webui-aria2-shaped": webui_aria2,
    "YAAW-shaped": yaaw,
    "jc3213-shaped": jc3213,
    "Aria2-Explorer-shaped": aria2_explorer,
    "libaria2-ts over HTTP, as it would send": libaria2_http,
}
