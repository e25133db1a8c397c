#!/usr/bin/env python3
"""Kills the server with SIGKILL and starts it again on the same state.

Every download has to be there under its GID with its options, order, status and result, and has
to go on from the data on disk.
"""

import contextlib
import os
import subprocess
import threading
import time

import peers
from lib import (
    MIB, ROOT, SOCKET_SLACK, Nginx, Program, RpcError, Server, Suite, check, free_port, program,
    quiet_environment, sample, scratch, sha256, wait_for,
)
from storm import World, failpoints, table
from storm_sources import Seed

# Kills of the storm, all worlds together.
KILLS = int(os.environ.get("CRASH_KILLS", 204))
SEED = os.environ.get("CRASH_SEED", "1")
SIZE = 20 * MIB + 777
# Per kill and active download: one second or 16 MiB may be fetched again.
LOSS_MAX = 16 * MIB
CONNECTIONS = 4
RATE = MIB  # for each connection; slow enough that nothing ends between two looks
# Not kept: `gid` and `pause` are the download itself, not options of it.
IDENTITY = ("gid", "pause")


def launch(work, port, *args):
    extra = ["--auto-save-interval=1"] if program().name == "aria2c" else []
    return Server(
        program(), work, f"-x{CONNECTIONS}", f"-s{CONNECTIONS}", "-k1M", "--file-allocation=none",
        *extra, *args, state=work / "state", port=port,
    )


def queue(server, origin, samples):
    """Fills the queue: results, active, waiting, paused, with options and moved about."""
    add = lambda name, **options: server.call(
        "aria2.addUri", [f"{origin.url}/{name}"], {k.replace("_", "-"): v for k, v in options.items()}
    )
    small, missing = add("crash-small.bin"), add("no-such-file")
    server.wait_status(small, "complete")
    wait_for("the 404", lambda: server.status(missing)["status"] == "error")
    names = [one.name for one in samples]
    active = [add(name) for name in names[:3]]
    plain = add(names[3], max_tries="7", header=["X-One: 1", "X-Two: 2"], referer="http://r.test/")
    renamed = add(names[4], out="renamed dir/renamed file.bin", gid="00000000000beef1")
    paused = add(names[5], pause="true")
    last = add(names[6], dir=str(server.home / "elsewhere"))
    server.call("aria2.changePosition", last, 0, "POS_SET")
    server.call("aria2.changeOption", plain, {"max-download-limit": "3M", "split": "2"})
    server.call("aria2.pause", renamed)
    server.call("aria2.unpause", renamed)
    gone = add(names[6])
    server.call("aria2.remove", gone)
    return active, [last, plain, renamed, paused], [small, missing], gone


def picture(server):
    """What a client sees of the queue."""
    keys = ["gid", "status"]
    lists = {
        "active": sorted(d["gid"] for d in server.call("aria2.tellActive", keys)),
        "waiting": [(d["gid"], d["status"]) for d in server.call("aria2.tellWaiting", 0, 100, keys)],
    }
    gids = lists["active"] + [gid for gid, _ in lists["waiting"]]
    lists["options"] = {gid: options(server, gid) for gid in gids}
    if program().name == "arioso":  # aria2c's session file keeps no results
        keys = ["gid", "status", "errorCode", "totalLength", "completedLength", "files"]
        lists["stopped"] = server.call("aria2.tellStopped", 0, 100, keys)
        for file in (file for result in lists["stopped"] for file in result["files"]):
            file["uris"] = sorted({entry["uri"] for entry in file["uris"]})
    return lists


def options(server, gid):
    found = server.call("aria2.getOption", gid)
    return {name: value for name, value in found.items() if name not in IDENTITY}


def same(before, after):
    for part, value in before.items():
        if part == "options":
            for gid, own in value.items():
                differ = {
                    name: (own.get(name), after["options"][gid].get(name))
                    for name in own.keys() | after["options"][gid].keys()
                    if own.get(name) != after["options"][gid].get(name)
                }
                check(not differ, f"options of {gid} differ: {differ}")
        else:
            check(after[part] == value, f"{part} was {value}\n      and is {after[part]}")


def whole_queue():
    samples = [sample(f"crash{i}.bin", SIZE) for i in range(7)]
    small = sample("crash-small.bin", 100_000)
    port = free_port()
    with scratch("crash") as work, Nginx(samples[0].path.parent, work / "nginx", RATE) as origin:
        with launch(work, port, "-j3") as server:
            active, waiting, results, gone = queue(server, origin, samples)
            server.wait_bytes(active[0], SIZE // 2)
            time.sleep(1.2)
            before = picture(server)
            check(before["active"] == sorted(active), "the active ones are not those added first")
            check([gid for gid, _ in before["waiting"]] == waiting, f"order {before['waiting']}")
            server.kill()
        with launch(work, port, "-j3") as server:
            same(before, picture(server))
            check_gone(server, gone)
            server.call("aria2.unpauseAll")
            for gid in active + waiting:
                server.wait_status(gid, "complete")
            verify(server, samples)
            check(sha256(server.downloads / small.name) == small.sha256, "the small file changed")
        origin.stop()
        return refetched(origin, 7 * SIZE + small.size, len(active) * LOSS_MAX)


def check_gone(server, gid):
    try:
        server.status(gid)
    except RpcError as error:
        check(error.message == f"GID {gid} is not found", error.message)
    else:
        check(False, "a removed download came back")


def verify(server, samples):
    places = [server.downloads / one.name for one in samples]
    places[4] = server.downloads / "renamed dir" / "renamed file.bin"
    places[6] = server.home / "elsewhere" / samples[6].name
    for one, place in zip(samples, places):
        check(sha256(place) == one.sha256, f"{place.name}: SHA-256 differs")


def refetched(origin, size, loss_max):
    requests = origin.requests()
    extra = sum(request.sent for request in requests) - size
    bound = loss_max + SOCKET_SLACK * len(requests)
    check(0 <= extra <= bound, f"{extra} bytes fetched again, at most {bound} may be")
    return f"{extra / MIB:.1f} MiB fetched again"


def kill_after_kill():
    """One download, killed four times on its way (known-bugs 47)."""
    big = sample("crash-big.bin", 96 * MIB + 11)
    port = free_port()
    with scratch("crash") as work, Nginx(big.path.parent, work / "nginx", 6 * MIB) as origin:
        gid = None
        for fifth in range(5):
            with launch(work, port) as server:
                gid = gid or server.call("aria2.addUri", [f"{origin.url}/{big.name}"])
                if fifth == 4:
                    server.wait_status(gid, "complete")
                    check(sha256(server.downloads / big.name) == big.sha256, "SHA-256 differs")
                    break
                server.wait_bytes(gid, big.size * (fifth + 1) // 5)
                time.sleep(1.1 if fifth == 0 else 0)  # the add itself is one second old by then
                server.kill()
        origin.stop()
        return refetched(origin, big.size, 4 * max(LOSS_MAX, CONNECTIONS * 6 * MIB))


def name_decides():
    """Called as aria2c a server keeps nothing unasked; called as arioso it does."""
    kept = {}
    for name in ("aria2c", "arioso"):
        with scratch("crash") as work:
            link = work / name
            link.symlink_to(program().path)
            command = [
                link, "--no-conf", "--enable-rpc", f"--rpc-listen-port={free_port()}", "--stop=2",
            ]
            run = subprocess.run(
                command, cwd=work, env=quiet_environment(work), capture_output=True, text=True,
                timeout=30,
            )
            check(run.returncode == 0, f"{name} exited {run.returncode}: {run.stdout}{run.stderr}")
            kept[name] = sorted(p.name for p in work.iterdir() if p != link)
    check(kept["aria2c"] == [], f"as aria2c it left {kept['aria2c']}")
    check(kept["arioso"] == ["state"], f"as arioso it left {kept['arioso']}")


def second_process():
    """A second server on the same state is told so and ends."""
    with scratch("crash") as work, launch(work, free_port()) as server:
        command = [
            program().path, "--no-conf", "--enable-rpc", f"--rpc-listen-port={free_port()}",
            f"--state-dir={work / 'state'}",
        ]
        second = subprocess.run(
            command, cwd=work, env=quiet_environment(work), capture_output=True, text=True, timeout=30
        )
        said = second.stdout + second.stderr
        check(second.returncode not in (0, 101), f"exit {second.returncode}: {said}")
        check(str(work / "state") in said, f"does not name the state directory: {said!r}")
        check(server.call("aria2.getVersion"), "the first server is gone")
        return said.strip().splitlines()[-1][:160]


def storm():
    """Four servers at once: three die at any instant, one at named failpoints."""
    # Failpoints are looked at in debug builds only; cargo test has built one.
    debug = Program(os.environ.get("ARIOSO_DEBUG") or ROOT / "target" / "debug" / "arioso")
    names = failpoints()
    with contextlib.ExitStack() as stack:
        work, seed = stack.enter_context(scratch("storm")), None
        if peers.lt:
            stack.enter_context(peers.addresses())
            seed = stack.enter_context(peers.closing(Seed(work)))
        worlds = [
            World(0, SEED, work / "fast", 8 * MIB, 192 * MIB, seed),
            World(1, SEED, work / "steady", MIB, 16 * MIB, seed),
            World(2, SEED, work / "small", 2 * MIB, 3 * MIB, seed),
            # Blocks go to the disk before their piece is whole.
            World(3, SEED, work / "failpoints", MIB, 8 * MIB, seed, debug, ["--disk-cache=1M"]),
        ]
        share = KILLS // len(worlds)
        broken = []

        def run(world, *args):
            try:
                world.run(share, *args)
            except Exception as error:  # shown with what the others found
                broken.append(f"{world.work.name}: {error!r}")

        threads = [threading.Thread(target=run, args=(world, names if world is worlds[3] else ()))
                   for world in worlds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        table(worlds, names)
        check(not broken, "; ".join(broken))
        for world in worlds:
            for what, found in (("lost", world.lost), ("wrong", world.wrong), ("late", world.late)):
                check(not found, f"{world.work.name}, {what}: {found[:5]} (seed {SEED})")
        return f"{sum(world.kills for world in worlds)} kills, seed {SEED}"


def main():
    suite = Suite("crash", again=False)
    suite.run_all([
        ("whole queue after SIGKILL", whole_queue),
        ("killed again and again", kill_after_kill),
    ])
    if program().name == "arioso":
        suite.run("second process on the same state", second_process)
        suite.run("killed at any instant and at every failpoint", storm)
        suite.run("the name it is called by decides about state", name_decides)
    suite.finish()


main()
