#!/usr/bin/env python3
"""A live switch from a running aria2c to arioso, as a user would do it.

aria2c runs from an aria2.conf with session file, server statistics and half-done downloads. It is
ended (orderly, then by SIGKILL), and arioso is started by the same command line: it has to go on
with every download under its GID, fetch only what is missing, and leave a session aria2c reads.
"""

import base64
import signal
import struct
import time

import peers
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


def nodes_in(path):
    """How many nodes a dht.dat of version 3 has."""
    data = path.read_bytes() if path.exists() else b""
    return struct.unpack_from(">I", data, 48)[0] if len(data) >= 56 else 0


def dht_nodes():
    """aria2c's dht.dat is taken over by arioso, and arioso's by aria2c."""
    if peers.lt is None:
        return "not tested: libtorrent is not installed"
    with peers.addresses(), scratch("dht") as work, \
            peers.closing(peers.Libtorrent(work, enable_dht=True)) as node:
        file, entry = work / "dht.dat", f"{peers.IP}:{node.port}"
        what = peers.torrent(work, "dht.bin", peers.noise("dht", MIB))
        upload = base64.b64encode(what.path.read_bytes()).decode()

        def serve(binary, name, *args):
            port = peers.free_port()
            log = work / f"{name}.log"
            server = Server(
                binary, work / name, "--enable-dht=true", "--enable-dht6=false",
                "--bt-enable-lpd=false", f"--listen-port={port}", f"--dht-listen-port={port}",
                f"--dht-file-path={file}", f"--log={log}", "--log-level=debug", *args)
            server.call("aria2.addTorrent", upload)
            return server, log

        def ended(server):
            time.sleep(2)
            server.terminate()
            return nodes_in(file)

        old, log = serve(aria2c(), "aria2c", f"--dht-entry-point={entry}")
        with old:
            wait_for("aria2c to know the node", lambda: entry in log.read_text(), 20)
            theirs = ended(old)
        check(theirs >= 1, f"aria2c saved {theirs} nodes")
        new, log = serve(program(), "arioso")
        with new:
            wait_for("arioso to read them",
                     lambda: f"{theirs} DHT nodes in {file}" in log.read_text(), 20)
            ours = ended(new)
        check(ours >= 1, f"arioso saved {ours} nodes")
        file_before = file.read_bytes()
        back, log = serve(aria2c(), "back")
        with back:
            # It has no entry point: it knows the node by our file only.
            wait_for("aria2c to ask the node of our file",
                     lambda: f"{peers.IP}:{node.port}" in log.read_text(), 20)
            check("Exception caught while loading DHT" not in log.read_text(), "it refused the file")
            back.kill()
        check(file.read_bytes() == file_before, "dht.dat changed before its end")
        return f"{theirs} of aria2c's nodes known, {ours} of ours read by aria2c"


def main():
    suite = Suite("switch")
    for number in range(4):
        sample(f"switch{number}.bin", SIZE)
    suite.run_all([
        ("aria2c ended in order, arioso goes on", switch, signal.SIGTERM),
        ("aria2c killed, arioso goes on", switch, signal.SIGKILL),
        ("dht.dat there and back", dht_nodes),
    ])
    suite.finish()


main()
