"""What servers and bots send and read, replayed. Facts are read from their own code."""

import base64
import contextlib
import json
import re
import subprocess
import time
import xmlrpc.client


from lib import check, free_port, scratch, sha256, wait_for
from origin import digest
from replay import ALWAYS, Attached, Site, ok, refused, spawned


def xml_call(method, *params):
    """A call as .NET's writers make it: indented, every value typed, <i4>."""

    def value(given):
        if isinstance(given, dict):
            members = "".join(
                f"<member>\n<name>{name}</name>\n<value>{value(each)}</value>\n</member>\n"
                for name, each in given.items()
            )
            return f"<struct>\n{members}</struct>"
        if isinstance(given, list):
            return (
                "<array>\n<data>\n"
                + "".join(f"<value>{value(each)}</value>\n" for each in given)
                + "</data>\n</array>"
            )
        if isinstance(given, bytes):
            return f"<base64>{base64.b64encode(given).decode()}</base64>"
        return f"<i4>{given}</i4>" if isinstance(given, int) else f"<string>{given}</string>"

    inner = "".join(
        f"    <param>\n      <value>{value(each)}</value>\n    </param>\n" for each in params
    )
    return f'<?xml version="1.0" encoding="utf-8"?>\n<methodCall>\n  <methodName>{method}</methodName>\n  <params>\n{inner}  </params>\n</methodCall>'


def sonarr():
    """XML-RPC with a token that is always sent; the version as .NET reads it; whole lists."""
    for secret in ("", "shape"):
        with Site(secret=secret) as site:

            def call(method, *params):
                status, headers, body = site.http(
                    "POST",
                    "/rpc",
                    xml_call(method, site.token(), *params),
                    {"Content-Type": "text/xml", "Accept-Encoding": "identity"},
                )
                check(
                    status == 200 and headers["content-type"] == "text/xml",
                    f"HTTP {status} {headers}",
                )
                return xmlrpc.client.loads(body)[0][0]

            version = call("aria2.getVersion")["version"]
            check(
                re.fullmatch(r"\d+\.\d+\.\d+", version)
                and tuple(map(int, version.split("."))) >= (1, 34, 0),
                version,
            )
            check(call("aria2.getGlobalOption")["dir"] == str(site.server.downloads), "dir")
            gid = call("aria2.addUri", [site.endless], {"dir": str(site.server.downloads)})
            done = call("aria2.addUri", [site.file], {"dir": str(site.server.downloads)})
            site.arrived()
            for _ in range(3):
                status = call("aria2.tellStatus", gid)
                check(ALWAYS | {"files"} <= set(status), f"status {status}")
            check([task["gid"] for task in call("aria2.tellActive")] == [gid], "tellActive")
            check(call("aria2.tellWaiting", 0, 10240) == [], "tellWaiting")
            stopped = call("aria2.tellStopped", 0, 10240)
            check(
                [task["gid"] for task in stopped] == [done] and stopped[0]["errorMessage"] == "",
                f"stopped {stopped}",
            )
            check(stopped[0]["files"][0]["path"].endswith("/a.bin"), f"stopped {stopped}")
            check(call("aria2.forceRemove", gid) == gid, "forceRemove")
            check(call("aria2.removeDownloadResult", done) == "OK", "removeDownloadResult")
            with contextlib.suppress(xmlrpc.client.Fault):
                call("aria2.tellStatus", done)
                check(False, "a fault was wanted")


def kiwix():
    """Asks with empty bodies until there is any answer; XML-RPC; ends with its application."""
    with scratch("kiwix") as home, contextlib.ExitStack() as stack:
        application = subprocess.Popen(["sleep", "60"])
        stack.callback(application.kill)
        port = free_port()
        flags = (
            "--enable-rpc",
            "--rpc-secret=kiwixariarpc",
            f"--rpc-listen-port={port}",
            f"--dir={home}",
            f"--stop-with-process={application.pid}",
            "--rpc-max-request-size=6M",
            "--file-allocation=none",
            "--allow-overwrite=true",
            "--dht-entry-point=router.bittorrent.com:6881",
            "--dht-entry-point6=dht.transmissionbt.com:6881",
            f"--save-session={home}/kiwix.session",
            f"--input-file={home}/kiwix.session",
            "--max-concurrent-downloads=42",
            "--auto-save-interval=10",
            "--log-level=warn",
            f"--log={home}/kiwix.log",
            "--quiet",
            "--bt-save-metadata=true",
        )
        (home / "kiwix.session").touch()
        process = stack.enter_context(spawned(home, *flags))
        site = Attached(stack, home, port, "kiwixariarpc")  # waits for an answer to empty bodies

        def call(method, *params):
            # It builds its XML without white space, and without a declaration in some versions.
            body = re.sub(r"\n *", "", xml_call(method, site.token(), *params).partition("?>")[2])
            status, _, body = site.http(
                "POST", "/rpc", body, {"Content-Type": "application/x-www-form-urlencoded"}
            )
            check(status == 200, f"HTTP {status}")
            return xmlrpc.client.loads(body)[0][0]

        gid = call("aria2.addUri", [site.file])
        keys = [
            "status",
            "files",
            "totalLength",
            "completedLength",
            "followedBy",
            "downloadSpeed",
            "verifiedLength",
        ]
        status = wait_for(
            "the file",
            lambda: (s := call("aria2.tellStatus", gid, keys))["status"] == "complete" and s,
            20,
        )
        check(
            status["files"][0]["path"] == f"{home}/a.bin" and status["totalLength"] == "300000",
            f"status {status}",
        )
        check(sha256(home / "a.bin") == digest("a.bin"), "SHA-256 differs")
        application.kill()
        application.wait()
        check(process.wait(20) == 0, f"exit status {process.returncode}")


def rdt_client():
    """dir and out at once, all three lists, no error message on success."""
    with Site() as site:

        def call(method, *params):
            id = f"rdt-{time.monotonic_ns()}"
            return ok(
                site.post(
                    {
                        "jsonrpc": "2.0",
                        "id": id,
                        "method": method,
                        "params": [site.token(), *params],
                    },
                    Content_Type="application/json; charset=utf-8",
                ),
                id,
            )

        folder = site.server.downloads / "a folder" / "deeper"
        gid = call("aria2.addUri", [site.file], {"dir": str(folder), "out": "na me.bin"})
        slow = call("aria2.addUri", [site.endless], {"dir": str(folder), "out": "slow.bin"})
        wait_for("the file", lambda: call("aria2.tellStatus", gid)["status"] == "complete", 20)
        everything = [
            task
            for method, *at in (
                ("aria2.tellActive",),
                ("aria2.tellWaiting", 0, 9999),
                ("aria2.tellStopped", 0, 9999),
            )
            for task in call(method, *at)
        ]
        found = {task["gid"]: task for task in everything}
        check(set(found) == {gid, slow}, f"all {everything}")
        check(
            not found[gid].get("errorMessage") and found[gid]["errorCode"] == "0", f"{found[gid]}"
        )
        check(found[gid]["files"][0]["path"] == str(folder / "na me.bin"), f"{found[gid]}")
        check(call("aria2.pause", slow) == slow, "pause")
        wait_for("the pause", lambda: call("aria2.tellStatus", slow)["status"] == "paused", 20)
        check(call("aria2.unpause", slow) == slow, "unpause")
        check(call("aria2.forceRemove", slow) == slow, "forceRemove")
        check(call("aria2.removeDownloadResult", gid) == "OK", "removeDownloadResult")


def openlist():
    """Calls over HTTP; a WebSocket that only listens, and so never shows the token."""
    with Site() as site:
        events = site.socket(suppress_origin=True)
        call = lambda method, *params: ok(
            site.post(
                {"method": method, "params": [site.token(), *params], "id": 5577006791947779410}
            ),
            5577006791947779410,
        )
        call("aria2.getVersion")
        gid = call("aria2.addUri", [site.file], {"dir": str(site.server.downloads)})
        events.wait(("Start", gid), ("Complete", gid))
        status = call("aria2.tellStatus", gid, ["status", "followedBy", "seeder", "errorMessage"])
        check(status == {"status": "complete", "errorMessage": ""}, f"status {status}")


def mirror_leech():
    """Asks for status and options in the moment a start is told."""
    flags = (
        "--allow-overwrite=true --auto-file-renaming=true --bt-enable-lpd=true --bt-detach-seed-only=true --bt-remove-unselected-file=true "
        "--bt-tracker=[udp://a.test:1/announce,http://b.test/announce,] --check-integrity=true --continue=true --content-disposition-default-utf8=true --enable-rpc=true "
        "--follow-torrent=mem --force-save=true --http-accept-gzip=true --max-concurrent-downloads=1000 --max-connection-per-server=10 "
        "--max-file-not-found=0 --max-tries=20 --min-split-size=10M --netrc-path=/usr/src/app/.netrc --optimize-concurrent-downloads=true "
        "--peer-id-prefix=-qB4520- --peer-agent=qBittorrent/4.5.2 --quiet=true --reuse-uri=true --rpc-max-request-size=1024M --seed-ratio=0 "
        "--split=10 --summary-interval=0 --user-agent=Wget/1.12 --bt-max-peers=0 --seed-time=0"
    )
    with Site(*flags.split()) as site:
        socket = site.socket()
        call = lambda method, *params: ok(
            socket.ask(
                {"jsonrpc": "2.0", "id": 1, "method": method, "params": [site.token(), *params]}
            ),
            1,
        )
        gid = call(
            "aria2.addUri",
            [site.file],
            {
                "dir": str(site.server.downloads / "1"),
                "header": "Authorization: x",
                "max-download-limit": "0",
            },
        )
        socket.wait(("Start", gid))
        check(call("aria2.tellStatus", gid)["gid"] == gid, "tellStatus")
        check(call("aria2.getOption", gid)["follow-torrent"] == "mem", "getOption")
        socket.wait(("Complete", gid))
        check(call("aria2.removeDownloadResult", gid) == "OK", "removeDownloadResult")


def peer_ban_helper():
    """Integers as values of global options; a method of another engine is no such method."""
    with Site() as site:
        ask = lambda method, *params: site.post(
            {"jsonrpc": "2.0", "id": "pbh", "method": method, "params": [site.token(), *params]}
        )
        check(
            ok(
                ask(
                    "aria2.changeGlobalOption",
                    {"max-overall-download-limit": 1048576, "max-overall-upload-limit": 0},
                )
            )
            == "OK",
            "change",
        )
        if site.server.program.name == "arioso":  # aria2c drops what is no string
            check(
                ok(ask("aria2.getGlobalOption"))["max-overall-download-limit"] == "1048576",
                "integers are taken",
            )
        refused(
            ask("aria2.setBtPeerBlocklist", ["10.0.0.0/8"]),
            400,
            1,
            "^No such method: aria2.setBtPeerBlocklist$",
        )


def p3terx_hook():
    """A hook that asks back with curl while the download is still to be seen."""
    with scratch("hook") as home:
        hook, seen, port = home / "hook.sh", home / "seen.json", free_port()
        hook.write_text(
            '#!/bin/sh\ncurl -s --fail-with-body "http://127.0.0.1:%d/jsonrpc" -d '
            '"{\\"jsonrpc\\":\\"2.0\\",\\"method\\":\\"aria2.tellStatus\\",\\"id\\":\\"P3TERX\\",\\"params\\":[\\"token:shape\\",\\"$1\\"]}" '
            '> %s.part; echo "$1 $2 $3" > %s.args; mv %s.part %s\n' % (port, seen, seen, seen, seen)
        )
        hook.chmod(0o755)
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                spawned(
                    home,
                    "--no-conf",
                    "--enable-rpc",
                    f"--rpc-listen-port={port}",
                    "--rpc-secret=shape",
                    f"--dir={home}",
                    f"--on-download-complete={hook}",
                    "--file-allocation=none",
                )
            )
            site = Attached(stack, home, port, "shape")
            gid = ok(
                site.post(
                    {
                        "jsonrpc": "2.0",
                        "id": 1,
                        "method": "aria2.addUri",
                        "params": ["token:shape", [site.file]],
                    }
                )
            )
            wait_for("the hook", seen.exists, 20)
            result = json.loads(seen.read_text())["result"]
            check(
                (result["status"], result["dir"]) == ("complete", str(home)),
                f"the hook saw {result}",
            )
            check((home / "seen.json.args").read_text() == f"{gid} 1 {home}/a.bin\n", "arguments")


SERVERS = {
    "Sonarr-shaped": sonarr,
    "Kiwix-shaped": kiwix,
    "rdt-client-shaped": rdt_client,
    "OpenList-shaped": openlist,
    "mirror-leech-shaped": mirror_leech,
    "PeerBanHelper-shaped": peer_ban_helper,
    "P3TERX hook": p3terx_hook,
}
