"""What desktop applications send and read, and how they start aria2c, replayed. Facts are read from
their own code."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from lib import ROOT, check, free_port, program, quiet_environment, scratch, sha256, wait_for
from origin import Origin, digest
from replay import Attached, Site, linked, ok, refused, spawned

MOTRIX_FLAGS = """
    --allow-overwrite=false --auto-file-renaming=true --bt-exclude-tracker= --bt-force-encryption=false
    --bt-load-saved-metadata=true --bt-save-metadata=true --bt-tracker= --continue=true --dht-file-path={home}/dht.dat
    --dht-file-path6={home}/dht6.dat --dht-listen-port=26701 --follow-metalink=true --follow-torrent=true
    --listen-port=21301 --max-concurrent-downloads=5 --max-connection-per-server=16 --max-download-limit=0
    --max-overall-download-limit=0 --max-overall-upload-limit=256K --min-split-size=1M --no-proxy= --pause=true
    --pause-metadata=false --rpc-listen-port={port} --rpc-secret=shape --seed-ratio=1 --seed-time=60 --split=16
    --user-agent=Transmission/2.94
"""


def motrix_1():
    """Spawned with a configuration, a session and every option as a flag; `json-rpc` for `jsonrpc`."""
    with scratch("motrix") as home, contextlib.ExitStack() as stack:
        version = subprocess.run(
            [linked(home, program()), "--version"], capture_output=True, text=True
        ).stdout
        check(re.search(r"aria2 version (\S+)", version)[1].startswith("1.3"), version)
        check("BitTorrent" in re.search(r"Enabled Features: (.*)", version)[1].split(", "), version)
        conf, session, port = home / "aria2.conf", home / "download.session", free_port()
        conf.write_text(
            "# Motrix\nenable-rpc=true\nrpc-allow-origin-all=true\nrpc-listen-all=false\nsummary-interval=0\nfile-allocation=none\n"
            "disk-cache=64M\nbt-detach-seed-only=true\nforce-save=false\nsave-session-interval=10\nauto-save-interval=10\n"
            "check-certificate=false\ncontent-disposition-default-utf8=true\nnot-an-option=1\n"
        )
        session.touch()
        flags = MOTRIX_FLAGS.format(home=home, port=port).split()
        process = stack.enter_context(
            spawned(
                home,
                f"--conf-path={conf}",
                f"--save-session={session}",
                f"--input-file={session}",
                f"--dir={home}/dl",
                "--max-connection-per-server=5",
                *flags,
            )
        )
        site = Attached(stack, home, port, "shape")
        socket = site.socket(origin="http://localhost:9080")

        def call(method, *params):
            call.id += 1
            params = list(params) if method.startswith("system.") else [site.token(), *params]
            return ok(
                socket.ask({"method": method, "json-rpc": "2.0", "id": call.id, "params": params}),
                call.id,
            )

        call.id = -1
        check(
            call("aria2.getGlobalOption")["max-connection-per-server"] == "16", "the last flag wins"
        )
        gid = call(
            "aria2.addUri",
            [site.endless],
            {"pause": "false", "dir": f"{home}/dl", "out": "m.bin", "split": "64"},
        )
        socket.wait(("Start", gid))
        active, waiting = call(
            "system.multicall",
            *site.multicall(("aria2.tellActive",), ("aria2.tellWaiting", 0, 1000)),
        )
        check(
            [task["gid"] for task in active[0]] == [gid] and waiting == [[]], f"{active} {waiting}"
        )
        check(
            call("aria2.changeGlobalOption", {"max-overall-upload-limit": "128K"}) == "OK",
            "changeGlobalOption",
        )
        check(call("aria2.forcePause", gid) == gid, "forcePause")
        socket.wait(("Pause", gid))
        check(call("aria2.saveSession") == "OK", "saveSession")
        check(
            gid in session.read_text() and "pause=true" in session.read_text(), session.read_text()
        )
        process.send_signal(signal.SIGTERM)
        check(
            process.wait(5) in (0, 7),
            f"exit status {process.returncode}, output {process.stdout.read()[-500:]}",
        )
        check(gid in session.read_text(), "the session at the end")


def motrix_2():
    """WebSocket only: polls, its own GIDs, a status for each event, results removed by the hundred."""
    with Site("--max-download-result=1000") as site:
        socket = site.socket()

        def call(method, *params):
            params = list(params) if method.startswith("system.") else [site.token(), *params]
            return socket.ask(
                {
                    "jsonrpc": "2.0",
                    "method": method,
                    "id": f"m{time.monotonic_ns()}",
                    "params": params,
                }
            )

        options = {
            "gid": "5e1f0000000000aa",
            "pause": "false",
            "out": "m.bin",
            "split": "64",
            "file-allocation": "none",
            "max-connection-per-server": "64",
        }
        answer = call("aria2.addUri", [site.file], options)
        if "error" in answer:
            # It looks for this text, and tries again with 16.
            check(
                re.search(
                    r"must be between 1 and 16|We encountered a problem", answer["error"]["message"]
                ),
                f"{answer}",
            )
            answer = call(
                "aria2.addUri", [site.file], {**options, "max-connection-per-server": "16"}
            )
        check(ok(answer) == options["gid"], f"gid {answer}")
        socket.wait(("Start", options["gid"]), ("Complete", options["gid"]))
        status = ok(call("aria2.tellStatus", options["gid"]))
        check(
            status["status"] == "complete" and status["files"][0]["uris"][0]["uri"] == site.file,
            f"{status}",
        )
        poll = ok(
            call(
                "system.multicall",
                *site.multicall(
                    ("aria2.getGlobalStat",), ("aria2.tellActive",), ("aria2.tellWaiting", 0, 1000)
                ),
            )
        )
        check(poll[0][0]["numStoppedTotal"] == "1", f"poll {poll}")
        missing = site.origin.url + "/status/404"
        adds = [
            ("aria2.addUri", [missing], {"gid": f"5e1f{number:012}"}) for number in range(1, 101)
        ]
        check(len(ok(call("system.multicall", *site.multicall(*adds)))) == 100, "100 added")
        wait_for("100 results", lambda: ok(call("aria2.getGlobalStat"))["numStopped"] == "101", 30)
        removals = [
            ("aria2.removeDownloadResult", options["gid"] if number == 0 else f"5e1f{number:012}")
            for number in range(100)
        ]
        check(
            ok(call("system.multicall", *site.multicall(*removals))) == [["OK"]] * 100,
            "100 removed",
        )


def uget():
    """JSON booleans and numbers as option values, several GIDs to one remove, started with -D."""
    with Site() as site:

        def call(method, *params):
            return ok(
                site.post(
                    {"jsonrpc": "2.0", "id": 7, "method": method, "params": [site.token(), *params]}
                ),
                7,
            )

        options = {
            "continue": True,
            "check-certificate": False,
            "split": 3,
            "remote-time": True,
            "all-proxy-password": "x",
            "out": "u.bin",
            "max-download-limit": 0,
            "retry-wait": 2,
            "allow-overwrite": False,
        }
        gid = call("aria2.addUri", [site.endless], options)
        site.server.wait_bytes(gid, 1)
        status = call(
            "aria2.tellStatus",
            gid,
            [
                "status",
                "totalLength",
                "completedLength",
                "downloadSpeed",
                "uploadLength",
                "uploadSpeed",
                "files",
                "followedBy",
                "errorCode",
            ],
        )
        check(status["status"][0] == "a" and "errorCode" not in status, f"status {status}")
        found = call("aria2.getOption", gid)
        if site.server.program.name == "arioso":  # aria2c drops what is no string
            check(
                (found["split"], found["remote-time"], found["allow-overwrite"])
                == ("3", "true", "false"),
                f"options {found}",
            )
        check(
            call("aria2.changeOption", gid, {"max-download-limit": "50K", "max-upload-limit": "1K"})
            == "OK",
            "changeOption",
        )
        other = call("aria2.addUri", [site.file], {"pause": "true"})
        check(call("aria2.remove", gid, other) == gid, "remove")
    with scratch("uget") as home, contextlib.ExitStack() as stack:
        port = free_port()
        with spawned(
            home,
            "--enable-rpc=true",
            "-D",
            "--check-certificate=false",
            f"--rpc-listen-port={port}",
            f"--dir={home}",
            "--no-conf",
        ) as process:
            site = Attached(stack, home, port, "")
            check(process.wait(5) == 0, "the parent of a daemon ends")
            check(
                ok(site.post({"jsonrpc": "2.0", "id": 1, "method": "aria2.shutdown"})) == "OK",
                "shutdown",
            )
            wait_for("the daemon to end", lambda: not site.answers(), 20)


def persepolis():
    """Debian's package without its windows: starts aria2c, downloads, limits, pauses, stops, moves
    what is done, shuts down. XML-RPC with GIDs of its own, integers and nothing as option values."""
    packages = ROOT / "target/peers/usr/lib/python3/dist-packages"
    check((packages / "persepolis").is_dir(), "persepolis is not unpacked: see scripts/test")
    with scratch("persepolis") as home, Origin() as origin:
        path = f"{Path(linked(home, program())).parent}:{os.environ['PATH']}"
        driver = Path(__file__).with_name("persepolis_driver.py")
        urls = [origin.url + file for file in ("/stall/20000/big.bin", "/file/a.bin", "/status/404")]
        process = subprocess.Popen(
            [sys.executable, driver, str(free_port()), *urls],
            cwd=home,
            env=quiet_environment(home) | {"PATH": path, "PYTHONPATH": str(packages)},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            # The end of the output is the end of the aria2c it has started, too.
            output, errors = process.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        check(process.returncode == 0, f"exit status {process.returncode}: {errors[-1500:]}")
        seen = json.loads(output.splitlines()[-1])
        log = (home / ".config/persepolis_download_manager/persepolisdm.log").read_text()
        check("ERROR" not in log, log)
        first = "aaaa0000000000a1"
        check(seen["version"].startswith("1.3"), f"{seen}")
        check(seen["active"] == [[first], "downloading", "big.bin"], f"{seen}")
        if "arioso" in program().name:
            check(seen["timeout"] == "55", "integers are taken")
        check(seen["limit"] == "10240", f"{seen}")
        check(seen["states"] == ["paused", "downloading"], f"{seen}")
        check(seen["stopped"] == first and seen["left"] == [], f"{seen}")
        check(seen["done"] == ["a.bin", "complete", "292 KB", "100%"], f"{seen}")
        check(sha256(home / "done/Others/a.bin") == digest("a.bin"), "SHA-256 differs")
        check(seen["missing"][0] == "error" and seen["missing"][1], f"{seen}")
        check(seen["forgotten"] and seen["shut down"], f"{seen}")


def aria2app():
    """Numbers read strictly; errors told apart by how their text begins and ends."""
    with Site() as site:

        def ask(method, *params):
            return site.post(
                {
                    "jsonrpc": "2.0",
                    "id": "4711",
                    "method": method,
                    "params": [site.token(), *params],
                }
            )

        gid = ok(ask("aria2.addUri", [site.file]), "4711")
        site.arrived()
        status = ok(
            ask(
                "aria2.tellStatus",
                gid,
                [
                    "gid",
                    "totalLength",
                    "completedLength",
                    "downloadSpeed",
                    "pieceLength",
                    "numPieces",
                    "connections",
                    "errorCode",
                ],
            )
        )
        check(all(int(status[key]) >= 0 for key in status if key != "gid"), f"status {status}")
        for value in ok(ask("aria2.getGlobalStat")).values():
            check(0 <= int(value) < 1 << 31, f"int32 {value}")
        check(len(ok(ask("aria2.getSessionInfo"))["sessionId"]) == 40, "sessionId")
        for method, params, text in (
            ("aria2.tellStatus", ["0123456789abcdef"], "^GID 0123456789abcdef is not found$"),
            ("aria2.getPeers", [gid], f"^No peer data is available for GID#{gid}$"),
            ("aria2.getServers", [gid], f"^No active download for GID#{gid}$"),
            ("aria2.changeOption", [gid, {"split": "1"}], f"^Cannot change option for GID#{gid}$"),
            ("aria2.pause", [gid], f"^GID#{gid} cannot be paused now$"),
            ("aria2.unpause", [gid], f"^GID#{gid} cannot be unpaused now$"),
        ):
            refused(ask(method, *params), 400, 1, text)


APPLICATIONS = {
    "Motrix 1.8-shaped": motrix_1,
    "Motrix 2-shaped": motrix_2,
    "uGet-shaped": uget,
    "Persepolis, from its package": persepolis,
    "Aria2App-shaped": aria2app,
}
