#!/usr/bin/env python3
"""A live switch from a running aria2c to arioso, as a user would do it.

aria2c runs from an aria2.conf with session file, server statistics and half-done downloads. It is
ended (orderly, then by SIGKILL), and arioso is started by the same command line: it has to go on
with every download under its GID, fetch only what is missing, and leave a session aria2c reads.
"""

import signal

from lib import (
    MIB, SOCKET_SLACK, Nginx, Server, Suite, aria2c, check, free_port, program,
    read_control_file, sample, scratch, sha256, wait_for,
)

SIZE = 12 * MIB + 5
RATE = MIB // 2


class Plain(Server):
    """A server started by nothing but --conf-path."""

    def _state_args(self, state):
        return []


def configure(work, port):
    session = work / "session.txt"
    session.touch()
    (work / "stats").touch()
    conf = work / "aria2.conf"
    conf.write_text(f"""\
enable-rpc=true
input-file={session}
save-session={session}
save-session-interval=1
server-stat-if={work}/stats
server-stat-of={work}/stats
auto-save-interval=1
file-allocation=none
max-connection-per-server=4
split=4
min-split-size=1M
max-concurrent-downloads=2
""")
    return conf


def run(binary, work, port, conf):
    # lib's Server says --no-conf; what comes later on the command line wins.
    return Plain(binary, work, f"--conf-path={conf}", "--no-conf=false", port=port)


def switch(sign):
    files = [sample(f"switch{number}.bin", SIZE) for number in range(4)]
    port = free_port()
    with scratch("switch") as work, Nginx(files[0].path.parent, work / "nginx", RATE) as origin:
        conf = configure(work, port)
        add = lambda server, one, **options: server.call(
            "aria2.addUri", [f"{origin.url}/{one.name}"], options)
        with run(aria2c(), work, port, conf) as old:
            gids = [add(old, files[0]), add(old, files[1]), add(old, files[2], split="2"),
                    add(old, files[3], pause="true", referer="http://r.test/")]
            for gid in gids[:2]:
                old.wait_bytes(gid, SIZE // 3)
            wait_for("the session file", lambda: gids[3] in (work / "session.txt").read_text())
            wait_for("a control file", lambda: all(
                len(read_control_file(old.downloads / (one.name + ".aria2")).done) > MIB
                for one in files[:2]))
            old.process.send_signal(sign)
            old.process.wait(20)
        done = {one.name: read_control_file(old.downloads / (one.name + ".aria2")).done
                for one in files[:2]}
        seen = len(origin.requests())
        with run(program(), work, port, conf) as new:
            lists = (new.call("aria2.tellActive", ["gid"])
                     + new.call("aria2.tellWaiting", 0, 9, ["gid"]))
            check([row["gid"] for row in lists] == gids, f"lists {lists}")
            check(new.status(gids[3])["status"] == "paused", "the paused one is not paused")
            check(new.call("aria2.getOption", gids[3])["referer"] == "http://r.test/", "no referer")
            check(new.call("aria2.getOption", gids[2])["split"] == "2", "another split")
            new.call("aria2.unpause", gids[3])
            for gid, one in zip(gids, files):
                new.wait_status(gid, "complete")
                check(sha256(new.downloads / one.name) == one.sha256, f"{one.name}: SHA-256 differs")
            check(new.terminate() == 0, "it did not end in order")
        check("host=127.0.0.1" in (work / "stats").read_text(), "no server statistics were saved")
        origin.stop()
        again = 0
        for one in files[:2]:
            for request in origin.requests("/" + one.name):
                if origin.requests().index(request) >= seen:
                    again += done[one.name].overlap(
                        request.start(), request.start() + request.sent)
        check(again <= 16 * SOCKET_SLACK, f"{again} bytes fetched again")
        kept = sum(len(ranges) for ranges in done.values())
        return f"{kept / MIB:.1f} MiB were there, {again / MIB:.2f} MiB fetched again"


def main():
    suite = Suite("switch")
    for number in range(4):
        sample(f"switch{number}.bin", SIZE)
    suite.run_all([
        ("aria2c ended in order, arioso goes on", switch, signal.SIGTERM),
        ("aria2c killed, arioso goes on", switch, signal.SIGKILL),
    ])
    suite.finish()


main()
