#!/usr/bin/env python3
"""A live switch from a running aria2c to arioso, as a user would do it, and back.

aria2c runs from an aria2.conf with session file, server statistics and half-done downloads, a
torrent and a Metalink among them. It is ended (orderly, then by SIGKILL), and arioso is started by
the same command line: it has to go on with every download under its GID, fetch only what is
missing, and leave a session aria2c reads. The way back is the session.txt in arioso's state
directory, from which a damaged store is rebuilt, too.
"""

import base64
import contextlib
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
# What a seed had put into its socket, and what it counts late.
SEED_SLACK = 3 * MIB


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
max-concurrent-downloads=3
seed-time=0
enable-dht=false
enable-dht6=false
bt-enable-lpd=false
listen-port={peers.free_port()}
""")
    return conf


class Swarm:
    """A torrent of two files and its seed."""

    def __init__(self, work, stack):
        self.seed = stack.enter_context(peers.closing(peers.Libtorrent(work / "seed")))
        tracker = stack.enter_context(peers.Tracker((peers.IP, self.seed.port), learns=False))
        self.torrent = peers.torrent(
            work, "swarm", {"a.bin": peers.noise("a", SIZE // 3), "deep/b.bin": peers.noise("b", SIZE)},
            trackers=[tracker.url])
        (work / "seed").mkdir()
        self.seed.add(self.torrent, seed=True).set_upload_limit(4 * RATE)
        self.control = work / "downloads" / "swarm.aria2"

    def add(self, server):
        return server.call("aria2.addTorrent", encode(self.torrent.path.read_bytes()))

    def claimed(self):
        return len(read_control_file(self.control).done) if self.control.exists() else 0

    def only_remainder(self, claimed):
        """What control files claimed was not fetched again; `claimed` at each end, and sent then."""
        time.sleep(1.5)  # it counts once a second
        extra = self.seed.uploaded() - self.torrent.total
        lost = 0
        for sent, there in claimed:
            lost += max(0, sent - lost - there)
        check(extra <= lost + SEED_SLACK, f"{extra} bytes of the torrent were sent again")


def encode(data):
    return base64.b64encode(data).decode()


def metalink(one, url):
    # aria2c knows a Metalink by its first bytes.
    return ('<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink">'
            f'<file name="{one.name}"><size>{one.size}</size>'
            f'<hash type="sha-256">{one.sha256}</hash><url>{url}</url></file></metalink>').encode()


def run(binary, work, port, conf):
    # lib's Server says --no-conf; what comes later on the command line wins.
    return Plain(binary, work, f"--conf-path={conf}", "--no-conf=false", port=port)


def rows(server):
    return (server.call("aria2.tellActive", ["gid", "infoHash"])
            + server.call("aria2.tellWaiting", 0, 9, ["gid", "infoHash"]))


def gids_of(server):
    return [row["gid"] for row in rows(server)]


def half_done(server, swarm, files, gids):
    """Waits until the two first files and the torrent have a good part in their control files."""
    controls = [server.downloads / (one.name + ".aria2") for one in files[:2]]
    wait_for("control files", lambda: all(
        path.exists() and len(read_control_file(path).done) > MIB for path in controls))
    wait_for("the torrent's control file", lambda: swarm.claimed() > MIB)


def fill(server, origin, swarm, files):
    """Two files and a torrent that run, a file and a Metalink that wait, a file that is paused."""
    add = lambda one, **options: server.call("aria2.addUri", [f"{origin.url}/{one.name}"], options)
    gids = [add(files[0]), add(files[1]), swarm.add(server), add(files[2], split="2")]
    document = metalink(files[4], f"{origin.url}/{files[4].name}")
    gids += server.call("aria2.addMetalink", encode(document), {"max-tries": "7"})
    return gids + [add(files[3], pause="true", referer="http://r.test/")]


def is_same(server, swarm, files, gids):
    """The queue as `fill` left it. Gives its GIDs: aria2c keeps none for the file of a Metalink,
    neither in what it writes nor in what it reads."""
    now = wait_for("the queue", lambda: len(gids_of(server)) == len(gids) and gids_of(server))
    known = lambda some: some[:4] + some[5:]
    check(known(now) == known(gids), f"it has {now}, not {gids}")
    path = server.status(now[4])["files"][0]["path"]
    check(path == str(server.downloads / files[4].name), f"the Metalink is of {path}")
    option = lambda gid, name: server.call("aria2.getOption", gid)[name]
    check(option(now[4], "max-tries") == "7", "another max-tries")
    check(server.status(gids[5])["status"] == "paused", "the paused one is not paused")
    check(option(gids[5], "referer") == "http://r.test/", "no referer")
    check(option(gids[3], "split") == "2", "another split")
    check(server.status(gids[2])["infoHash"] == swarm.torrent.hash, "another torrent")
    return now


def end(server, swarm, files, gids):
    """All of it is completed, with the right bytes."""
    server.call("aria2.unpause", gids[5])
    for gid in gids:
        server.wait_status(gid, "complete")
    for one in files:
        check(sha256(server.downloads / one.name) == one.sha256, f"{one.name}: SHA-256 differs")
    swarm.torrent.check(server.downloads)


def switch(sign):
    files = [sample(f"switch{number}.bin", SIZE) for number in range(5)]
    port = free_port()
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(scratch("switch"))
        origin = stack.enter_context(Nginx(files[0].path.parent, work / "nginx", RATE))
        swarm = Swarm(work, stack)
        conf = configure(work, port)
        with run(aria2c(), work, port, conf) as old:
            gids = fill(old, origin, swarm, files)
            wait_for("the session file", lambda: gids[5] in (work / "session.txt").read_text())
            half_done(old, swarm, files, gids)
            old.process.send_signal(sign)
            old.process.wait(20)
        done = {one.name: read_control_file(old.downloads / (one.name + ".aria2")).done
                for one in files[:2]}
        claimed = [(swarm.seed.uploaded(), swarm.claimed())]
        seen = len(origin.requests())
        with run(program(), work, port, conf) as new:
            gids = is_same(new, swarm, files, gids)
            end(new, swarm, files, gids)
            check(new.terminate() == 0, "it did not end in order")
        check("host=127.0.0.1" in (work / "stats").read_text(), "no server statistics were saved")
        swarm.only_remainder(claimed)
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


def way_back():
    """The store is damaged and rebuilt from session.txt; then aria2c goes on from that."""
    files = [sample(f"switch{number}.bin", SIZE) for number in range(5)]
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(scratch("switch"))
        origin = stack.enter_context(Nginx(files[0].path.parent, work / "nginx", RATE))
        swarm = Swarm(work, stack)
        state, text = work / "state", work / "state" / "session.txt"
        args = [*peers.QUIET[1:], "-j3", "-x4", "-s4", "-k1M", "--seed-time=0", "--auto-save-interval=1",
                f"--listen-port={peers.free_port()}", "--rpc-save-upload-metadata=false"]
        ours = lambda: Server(program(), work, *args, state=state)
        claimed = []

        def kill(server):
            server.kill()
            claimed.append((swarm.seed.uploaded(), swarm.claimed()))

        with ours() as server:
            gids = fill(server, origin, swarm, files)
            half_done(server, swarm, files, gids)
            wait_for("session.txt", lambda: all(gid in text.read_text() for gid in gids))
            kill(server)
        database = state / "store" / "db"
        garbage = bytes(range(251)) * (database.stat().st_size // 300)
        with open(database, "r+b") as file:
            file.seek(database.stat().st_size // 10)
            file.write(garbage)
        with ours() as server:
            check(is_same(server, swarm, files, gids) == gids, "the Metalink has another GID")
            kept = [path.name for path in state.iterdir() if path.name.startswith("store.corrupt-")]
            check(len(kept) == 1, f"set aside: {kept}")
            check(kept[0] in server.output.read_text(), "the log does not name what was set aside")
            kill(server)
        with Server(aria2c(), work, *args, f"--input-file={text}") as server:
            gids = is_same(server, swarm, files, gids)
            end(server, swarm, files, gids)
        swarm.only_remainder(claimed)
        return kept[0]


def nodes_in(path):
    """How many nodes a dht.dat of version 3 has."""
    data = path.read_bytes() if path.exists() else b""
    return struct.unpack_from(">I", data, 48)[0] if len(data) >= 56 else 0


def dht_nodes():
    """aria2c's dht.dat is taken over by arioso, and arioso's by aria2c."""
    with scratch("dht") as work, \
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
    check(peers.lt, "libtorrent is not installed")
    for number in range(5):
        sample(f"switch{number}.bin", SIZE)
    with peers.addresses():
        suite.run_all([
            ("aria2c ended in order, arioso goes on", switch, signal.SIGTERM),
            ("aria2c killed, arioso goes on", switch, signal.SIGKILL),
            ("a damaged store, and the way back to aria2c", way_back),
            ("dht.dat there and back", dht_nodes),
        ])
    suite.finish()


main()
