#!/usr/bin/env python3
"""Disks that are full, broken, read-only or stalled, and files that change under a download.

Faults come from compat/faulty_disk.c, which answers the program's own system calls; a really full
disk is a small tmpfs, where mounting is allowed. Two disks: one that fails, and /dev/shm.
"""

import base64
import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import peers
from lib import (
    MIB, ROOT, Failed, Nginx, Server, Suite, check, fresh, program, sample, scratch, sha256,
    wait_for,
)

SIZE = 24 * MIB + 99
RATE = 2 * MIB  # for each of four connections
CACHE = 16 * MIB  # --disk-cache
# Beyond the cache: what connections have in hand, their sockets' buffers, allocator slack.
MEMORY_SLACK = 48 * MIB
# Files and torrents share it; each of the two may have half of it at any time.
CACHE_MAX = CACHE * 3 // 2
HTTP, TORRENT = "", "torrent: "
CALLS, CALL_MAX = 1000, 0.050
STALL = 10.0
TABLE = []


def faulty_disk():
    """The compiled supervisor; None where it cannot run."""
    target = ROOT / "target" / "compat" / "faulty_disk"
    source = ROOT / "compat" / "faulty_disk.c"
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-o", target, source], check=True)
    works = subprocess.run([target, "/dev/null", "true"], capture_output=True).returncode == 0
    return target if works else None


class Rig:
    """A server behind the supervisor, nginx, a bad directory and a good disk."""

    def __init__(self, supervisor, *args, wrap=()):
        self.stack = contextlib.ExitStack()
        self.work = self.stack.enter_context(scratch("disk"))
        self.sample = sample("disk.bin", SIZE)
        self.nginx = self.stack.enter_context(
            Nginx(self.sample.path.parent, self.work / "nginx", RATE))
        self.bad = self.work / "bad"
        self.good = Path(tempfile.mkdtemp(prefix="arioso-", dir="/dev/shm"))
        self.stack.callback(shutil.rmtree, self.good, True)
        self.rules = self.work / "rules"
        self.rules.touch()
        self.server = self.stack.enter_context(Server(
            program(), self.work, *peers.QUIET[1:], "-x4", "-s4", "-k1M", f"--disk-cache={CACHE}",
            "-j9", "--auto-save-interval=1", "--seed-time=0", "--rpc-save-upload-metadata=false",
            f"--listen-port={peers.free_port()}", *args, state=self.work / "state",
            wrap=(supervisor, self.rules) if supervisor else wrap))
        self.seed = self.tracker = None

    def fail(self, action, place=None):
        """From now on writes below the bad directory end so; None: they work again."""
        self.rules.write_text(f"{place or self.bad} {action}\n" if action else "")
        time.sleep(0.1)

    def add(self, place, kind=HTTP, **options):
        place.mkdir(parents=True, exist_ok=True)
        options = {name.replace("_", "-"): value for name, value in options.items()}
        if kind == TORRENT:
            return self.server.call(
                "aria2.addTorrent", self.torrent(), [], {"dir": str(place)} | options)
        return self.server.call(
            "aria2.addUri", [f"{self.nginx.url}/{self.sample.name}"], {"dir": str(place)} | options)

    def torrent(self, piece_len=256 * 1024):
        """The sample as a torrent that is seeded from now on; of another hash for another piece."""
        if self.seed is None:
            self.seed = self.stack.enter_context(
                peers.closing(peers.Libtorrent(self.work / "seed", unchoke_slots_limit=-1)))
            self.tracker = self.stack.enter_context(
                peers.Tracker((peers.IP, self.seed.port), learns=False))
            self.seeded = {}
        if piece_len not in self.seeded:
            (self.work / "seed").mkdir(exist_ok=True)
            made = peers.torrent(self.work, self.sample.name, self.sample.path.read_bytes(),
                                 piece_len, [self.tracker.url])
            self.seed.add(made, seed=True).set_upload_limit(4 * RATE)
            self.seeded[piece_len] = base64.b64encode(made.path.read_bytes()).decode()
        return self.seeded[piece_len]

    def sent(self):
        """Bytes that were sent of anything."""
        if self.seed:
            time.sleep(1.5)  # it counts once a second
        uploaded = self.seed.uploaded() if self.seed else 0
        return uploaded + sum(request.sent for request in self.nginx.requests())

    def part(self, gid, share):
        self.server.wait_bytes(gid, int(SIZE * share))

    def ended(self, gid, timeout=30):
        look = lambda: self.server.status(gid)
        return wait_for("the end", lambda: look()["status"] in ("error", "complete") and look(),
                        timeout)

    def is_whole(self, place):
        check(sha256(place / self.sample.name) == self.sample.sha256, "SHA-256 differs")

    def memory(self):
        """Resident bytes of the server, which may be the supervisor's child."""
        pid = self.server.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        status = Path(f"/proc/{children[0] if children else pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.fail(None)
        self.stack.close()


class Caller:
    """RPC calls on one connection, each timed."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self.times = []

    def call(self, method, *params):
        body = json.dumps({"jsonrpc": "2.0", "id": "t", "method": method,
                           "params": ["token:compat", *params]})
        began = time.monotonic()
        self.connection.request("POST", "/jsonrpc", body)
        answer = json.loads(self.connection.getresponse().read())
        self.times.append(time.monotonic() - began)
        return answer["result"]


# ---- cases ------------------------------------------------------------------------------------


def error_ends(supervisor, name, codes, kind):
    """A failing write ends the download with a code and a text; others go on; data are kept."""
    with Rig(supervisor) as rig:
        bad, good = rig.add(rig.bad, kind), rig.add(rig.good)
        rig.part(bad, 0.5)
        rig.fail(name)
        status = rig.ended(bad)
        check(status["status"] == "error", f"it is {status['status']}")
        check(status["errorCode"] in codes, f"errorCode {status['errorCode']}")
        check(str(rig.bad) in status["errorMessage"], f"says {status['errorMessage']!r}")
        check((rig.bad / (rig.sample.name + ".aria2")).exists(), "the control file is gone")
        check(rig.ended(good)["status"] == "complete", "the other disk's download failed")
        rig.is_whole(rig.good)
        rig.fail(None)
        time.sleep(0.5)
        before = rig.sent()
        again = rig.add(rig.bad, kind)
        check(rig.ended(again)["status"] == "complete", "it did not resume")
        rig.is_whole(rig.bad)
        rig.nginx.stop()
        fetched = rig.sent() - before
        check(fetched < SIZE - 2 * MIB, f"{fetched} bytes fetched where a part was there")
        TABLE.append((kind + name, f"code {status['errorCode']}", f"{(SIZE - fetched) / MIB:.0f} MiB kept"))
        return status["errorMessage"]


@contextlib.contextmanager
def small_disk(work, size):
    place = fresh(work / "small-disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", place], check=False)


def full_disk_waits(kind):
    """With retry-on-disk-full it pauses, says why, and goes on when there is space."""
    with Rig(None) as rig, small_disk(rig.work, 16 * MIB) as disk:
        if disk is None:
            return "not tested: mounting is not allowed here"
        filler = disk / "filler"
        filler.write_bytes(b"x" * (8 * MIB))
        gid = rig.add(disk, kind, retry_on_disk_full="true")
        held = wait_for("the pause", lambda: rig.server.status(gid)["status"] == "paused"
                        and rig.server.status(gid), 20)
        check(held.get("errorCode") == "9", f"errorCode {held.get('errorCode')}")
        check("No space left" in held.get("errorMessage", ""), f"says {held.get('errorMessage')!r}")
        kept = int(held["completedLength"])
        check(kept > 4 * MIB, f"only {kept} bytes kept")
        time.sleep(3)
        check(rig.server.status(gid)["status"] == "paused", "it went on without space")
        subprocess.run(["mount", "-o", f"remount,size={64 * MIB}", disk], check=True)
        check(rig.ended(gid, 40)["status"] == "complete", "it did not go on")
        rig.is_whole(disk)
        rig.nginx.stop()
        again = rig.sent() - SIZE
        # What was read and not written when the disk was full is fetched again.
        check(again < 4 * MIB, f"{again} bytes fetched again")
        TABLE.append((kind + "full, waits", "code 9, paused", f"{again / MIB:.1f} MiB again"))


def full_disk_ends(kind):
    with Rig(None) as rig, small_disk(rig.work, 16 * MIB) as disk:
        if disk is None:
            return "not tested: mounting is not allowed here"
        gid = rig.add(disk, kind)
        status = rig.ended(gid)
        check(status["errorCode"] == "9", f"errorCode {status['errorCode']}")
        subprocess.run(["mount", "-o", f"remount,size={64 * MIB}", disk], check=True)
        again = rig.add(disk, kind)
        check(rig.ended(again, 40)["status"] == "complete", "it did not resume")
        rig.is_whole(disk)
        rig.nginx.stop()
        fetched = rig.sent() - SIZE
        # Blocks of pieces that are not whole are in memory, and nowhere to be put.
        check(fetched < (8 if kind else 4) * MIB, f"{fetched} bytes fetched again")
        TABLE.append((kind + "full, ends", "code 9", f"{fetched / MIB:.1f} MiB again"))
        return status["errorMessage"]


# Root minds permissions as others do.
PLAIN_ROOT = ("setpriv", "--inh-caps=-dac_override,-dac_read_search",
              "--bounding-set=-dac_override,-dac_read_search")


def permission_lost(kind):
    """The directory is taken away from its owner in mid-download, and given back."""
    if subprocess.run([*PLAIN_ROOT, "true"], capture_output=True).returncode:
        return "not tested: capabilities cannot be dropped here"
    with Rig(None, wrap=PLAIN_ROOT) as rig:
        bad, good = rig.add(rig.bad, kind), rig.add(rig.good)
        rig.part(bad, 0.4)
        time.sleep(1.2)
        rig.bad.chmod(0)
        try:
            status = rig.ended(bad)
            check(rig.ended(good)["status"] == "complete", "the other directory's download failed")
        finally:
            rig.bad.chmod(0o755)
        check(status["status"] == "error", f"it is {status['status']}")
        check("ermission denied" in status["errorMessage"], f"says {status['errorMessage']!r}")
        before = rig.sent()
        again = rig.add(rig.bad, kind)
        check(rig.ended(again)["status"] == "complete", "it did not resume")
        rig.is_whole(rig.bad)
        rig.nginx.stop()
        fetched = rig.sent() - before
        check(fetched < SIZE - 2 * MIB, f"{fetched} bytes fetched where a part was there")
        TABLE.append((kind + "permission lost", f"code {status['errorCode']}",
                      f"{(SIZE - fetched) / MIB:.0f} MiB kept"))
        return status["errorMessage"]


def remounted_read_only(kind):
    """A disk that is read-only when a paused download goes on, and writable again later."""
    with Rig(None) as rig, small_disk(rig.work, 64 * MIB) as disk:
        if disk is None:
            return "not tested: mounting is not allowed here"
        remount = lambda how: subprocess.run(
            ["mount", "-o", f"remount,{how}", disk], capture_output=True).returncode == 0
        gid = rig.add(disk, kind)
        rig.part(gid, 0.4)
        rig.server.call("aria2.pause", gid)
        wait_for("the closed file", lambda: remount("ro"), 20)
        rig.server.call("aria2.unpause", gid)
        status = rig.ended(gid)
        check(status["status"] == "error", f"it is {status['status']}")
        check("ead-only" in status["errorMessage"], f"says {status['errorMessage']!r}")
        check(remount("rw"), "the disk stays read-only")
        before = rig.sent()
        again = rig.add(disk, kind)
        check(rig.ended(again)["status"] == "complete", "it did not resume")
        rig.is_whole(disk)
        rig.nginx.stop()
        fetched = rig.sent() - before
        check(fetched < SIZE - 2 * MIB, f"{fetched} bytes fetched where a part was there")
        TABLE.append((kind + "read-only remount", f"code {status['errorCode']}",
                      f"{(SIZE - fetched) / MIB:.0f} MiB kept"))
        return status["errorMessage"]


def stalled_disk(supervisor):
    """One more try where another process of this machine was the cause of a slow call."""
    try:
        stalled_once(supervisor)
    except Failed as failed:
        if "RPC call" not in str(failed):
            raise
        stalled_once(supervisor)


def stalled_once(supervisor):
    """For ten seconds no write comes back: RPC, the other disk and memory do not notice (known-bugs 44)."""
    with Rig(supervisor) as rig:
        bad, good = [rig.add(rig.bad), rig.add(rig.bad / "b")], rig.add(rig.good)
        for gid in (*bad, good):
            rig.part(gid, 0.1)
        memory = rig.memory()
        rig.fail("stall")
        began = time.monotonic()
        peak, caller = memory, Caller(rig.server)
        before = int(rig.server.status(good)["completedLength"])
        watch = threading.Event()

        def look():
            nonlocal peak
            while not watch.wait(0.05):
                peak = max(peak, rig.memory())

        watcher = threading.Thread(target=look)
        watcher.start()
        methods = [("aria2.tellActive",), ("aria2.getGlobalStat",), ("aria2.tellStatus", bad[0]),
                   ("aria2.tellWaiting", 0, 100), ("aria2.getOption", bad[1])]
        for number in range(CALLS):
            caller.call(*methods[number % len(methods)])
            time.sleep(max(0, began + 5.0 * number / CALLS - time.monotonic()))
        added = caller.call("aria2.addUri", [f"{rig.nginx.url}/none"], {"dir": str(rig.good)})
        caller.call("aria2.pause", bad[1])
        status = rig.ended(good, 20)
        check(status["status"] == "complete", f"the other disk: {status.get('errorMessage')}")
        check(time.monotonic() - began < STALL, "the other disk's download waited")
        time.sleep(max(0.0, began + STALL - time.monotonic()))
        watch.set()
        watcher.join()
        rig.fail(None)
        caller.call("aria2.unpause", bad[1])
        for gid in bad:
            check(rig.ended(gid)["status"] == "complete", f"{gid} did not go on")
        for place in (rig.bad, rig.bad / "b", rig.good):
            rig.is_whole(place)
        worst, middle = max(caller.times), statistics.median(caller.times)
        check(worst <= CALL_MAX, f"an RPC call took {worst * 1000:.0f} ms")
        grown = peak - memory
        check(grown <= CACHE + MEMORY_SLACK, f"memory grew by {grown / MIB:.0f} MiB")
        check(before and added, "nothing was asked")
        TABLE.append((f"stalled {STALL:.0f} s", f"RPC {middle * 1e3:.1f} ms, worst {worst * 1e3:.1f}",
                      f"memory +{grown / MIB:.0f} MiB"))


def touched(change, name, kind):
    """A file that was changed under its download is noticed and never called complete."""
    with Rig(None) as rig:
        gid, good = rig.add(rig.bad, kind), rig.add(rig.good)
        rig.part(gid, 0.4)
        change(rig.bad / rig.sample.name)
        status = rig.ended(gid)
        check(status["status"] == "error", f"it is {status['status']}")
        check(status["errorCode"] == "17", f"errorCode {status['errorCode']}")
        check(rig.ended(good)["status"] == "complete", "the other download failed")
        TABLE.append((kind + name, f"code {status['errorCode']}", status["errorMessage"].rpartition("/")[2]))
        return status["errorMessage"]


def replace(path):
    other = path.with_suffix(".other")
    other.write_bytes(b"y" * SIZE)
    other.rename(path)


def stalled_memory(supervisor):
    """Four torrents and four files on a disk that stalls do not pile up in memory."""
    with Rig(supervisor) as rig:
        gids = [rig.add(rig.bad / f"file{number}") for number in range(4)]
        for number in range(4):
            (rig.bad / f"torrent{number}").mkdir(parents=True)
            gids.append(rig.server.call(
                "aria2.addTorrent", rig.torrent((64 << number) * 1024), [],
                {"dir": str(rig.bad / f"torrent{number}")}))
        for gid in gids:
            rig.part(gid, 0.02)
        before = peak = rig.memory()
        rig.fail("stall")
        until = time.monotonic() + STALL / 2
        while time.monotonic() < until:
            peak = max(peak, rig.memory())
            time.sleep(0.02)
        states = {rig.server.status(gid)["status"] for gid in gids}
        check(states == {"active"}, f"they are {states}")
        rig.fail(None)
        for number, gid in enumerate(gids):
            check(rig.ended(gid, 90)["status"] == "complete", f"{gid} did not go on")
            rig.is_whole(rig.bad / (f"file{number}" if number < 4 else f"torrent{number - 4}"))
        grown = peak - before
        check(grown <= CACHE_MAX + MEMORY_SLACK, f"memory grew by {grown / MIB:.0f} MiB")
        TABLE.append(("stalled, 8 at once", f"{STALL / 2:.0f} s", f"memory +{grown / MIB:.0f} MiB"))
        return f"memory +{grown / MIB:.0f} MiB"


def state_disk(supervisor, action):
    """The disk of the session fails for a while: downloads go on, and it is caught up with."""
    with Rig(supervisor) as rig:
        state = rig.work / "state"
        rig.fail(action, state)
        gids = [rig.add(rig.good / str(number), pause="true") for number in range(5)]
        running = rig.add(rig.good)
        time.sleep(3)
        caller = Caller(rig.server)
        for _ in range(50):
            caller.call("aria2.getGlobalStat")
        middle = statistics.median(caller.times)
        check(middle <= CALL_MAX, f"calls take {middle * 1000:.0f} ms")
        check(rig.ended(running)["status"] == "complete", "the download failed")
        rig.fail(None)
        time.sleep(8)
        rig.server.kill()
        with Server(program(), rig.work, "-j1", state=state) as after:
            there = {row["gid"] for row in after.call("aria2.tellWaiting", 0, 99, ["gid"])}
            check(there == set(gids), f"{len(there)} of {len(gids)} are there")
            ended = {row["gid"] for row in after.call("aria2.tellStopped", 0, 99, ["gid"])}
            check(running in ended, "the result is gone")
        TABLE.append((f"session disk {action}", "downloads went on", "caught up"))


def session_kept(supervisor, action, name):
    """What is said outlives the process in time while one of the session's files is on a bad disk."""
    with Rig(supervisor) as rig:
        state = rig.work / "state"
        gid = rig.add(rig.good, pause="true")
        other = rig.add(rig.good / "other", pause="true")
        time.sleep(1.5)
        rig.fail(action, state / name)
        rig.server.call("aria2.remove", other)
        new = rig.add(rig.good / "new", pause="true")
        # It is written every four seconds when something changed.
        for split in range(1, 14):
            rig.server.call("aria2.changeOption", gid, {"split": str(split)})
            time.sleep(0.5)
        time.sleep(1.5)
        rig.server.kill()
        with Server(program(), rig.work, state=state) as after:
            kept = after.call("aria2.getOption", gid)["split"]
            check(kept == str(split), f"what was said last was {split}, kept is {kept}")
            waiting = {row["gid"] for row in after.call("aria2.tellWaiting", 0, 9, ["gid"])}
            check(waiting == {gid, new}, f"{waiting} are waiting")


def main():
    suite = Suite("disk")
    supervisor = faulty_disk()
    check(supervisor, "seccomp user notification is not available")
    with peers.addresses():
        suite.run("disk stalled for ten seconds", stalled_disk, supervisor)
    kinds = [HTTP, TORRENT] if peers.lt else [HTTP]
    cases = [(f"{kind}writes fail with {name}", error_ends, supervisor, name, codes, kind)
             for kind in kinds
             for name, codes in (("ENOSPC", "9"), ("EIO", ("17",)), ("EROFS", ("17", "16")))]
    for kind in kinds:
        cases += [
            (f"{kind}full disk ends a download", full_disk_ends, kind),
            (f"{kind}full disk is waited for", full_disk_waits, kind),
            (f"{kind}permission lost", permission_lost, kind),
            (f"{kind}disk remounted read-only", remounted_read_only, kind),
            (f"{kind}file removed", touched, os.unlink, "removed", kind),
            (f"{kind}file truncated", touched, lambda path: os.truncate(path, 4096), "truncated",
             kind),
            (f"{kind}file replaced", touched, replace, "replaced", kind),
        ]
    if peers.lt:
        cases.append(("disk stalled under torrents and files", stalled_memory, supervisor))
    cases += [(f"session on a disk with {action}", state_disk, supervisor, action)
              for action in ("ENOSPC", "EIO", "stall")]
    cases += [("the session's spare copy stalled", session_kept, supervisor, "stall", "session.txt.tmp"),
              ("the session is not synced", session_kept, supervisor, "stallsync", "store")]
    with peers.addresses():
        suite.run_all(cases, workers=4)
    print(f"  {'fault':28} {'download':28} kept or cost")
    for row in TABLE:
        print(f"  {row[0]:28} {row[1]:28} {row[2]}", flush=True)
    suite.finish()


main()
