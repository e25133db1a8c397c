#!/usr/bin/env python3
"""Limits under load: no file descriptors left, 2,000 idle sockets, 10,000 downloads at once and
little memory for it, 100,000 results purged.

What is too much is refused politely, told in the log, and works again afterwards.
"""

import contextlib
import http.client
import resource
import socket
import threading
import time

from lib import (
    MIB, Nginx, Server, Suite, check, program, sample, scratch, sha256, wait_for,
)

IDLE = 2000
BATCH = 10_000
RESULTS = 100_000
# What a process that was refused memory would not outlive: all it has beyond its program.
DATA_MAX = 192 * MIB
# Of a download that waits, with its record in the session.
EACH_MAX = 8 * 1024
# A call while the server holds all that; much more than it takes, for busy machines.
CALL_MAX = 0.25
# A call during a purge, on a machine that does other things too.
PURGE_CALL_MAX = 2.0


def limited(count):
    """A command that runs the program with so many file descriptors, and not much memory."""
    return ("prlimit", f"--nofile={count}:{count}", f"--data={DATA_MAX}")


def timed(call, *args):
    began = time.monotonic()
    result = call(*args)
    return result, time.monotonic() - began


def idle_sockets():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, IDLE + 200), hard))
    wanted = min(IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
    with scratch("limits") as work, contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(
            program(), work, f"--rpc-max-connections={wanted + 100}", wrap=limited(wanted + 300)))
        memory = resident(server)
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
                   for _ in range(wanted)]
        times = [timed(server.call, "aria2.getGlobalStat")[1] for _ in range(50)]
        check(max(times) <= CALL_MAX, f"a call took {max(times):.3f} s")
        grown = (resident(server) - memory) / wanted
        check(grown < 64 * 1024, f"{grown:.0f} bytes a socket")
        for one in sockets:
            one.close()
        server.call("aria2.getGlobalStat")
        return f"{wanted} sockets, {grown / 1024:.1f} KiB each, worst call {max(times) * 1e3:.1f} ms"


def resident(server):
    text = open(f"/proc/{server.process.pid}/status").read()
    return int(text.split("VmRSS:")[1].split()[0]) * 1024


def no_descriptors():
    """RPC sockets eat every descriptor: refused by 503, downloads wait, both recover."""
    big = sample("limits.bin", 8 * MIB)
    with scratch("limits") as work, contextlib.ExitStack() as stack:
        nginx = stack.enter_context(Nginx(big.path.parent, work / "nginx", MIB))
        server = stack.enter_context(
            Server(program(), work, "-x4", "-s4", "-k1M", wrap=limited(96)))
        running = server.call("aria2.addUri", [f"{nginx.url}/{big.name}"])
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        kept.connect()
        server.wait_bytes(running, 1 * MIB)
        sockets, refused = [], 0
        for _ in range(150):
            one = socket.create_connection(("127.0.0.1", server.port), 10)
            one.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                if b" 503 " in one.recv(200):
                    refused += 1
            sockets.append(one)
            if refused >= 5:
                break
        check(refused >= 5, f"{refused} connections were refused by 503")
        kept.request("POST", "/jsonrpc", '{"jsonrpc":"2.0","id":1,"method":"system.listMethods"}')
        check(kept.getresponse().status == 200, "an old connection is not served")
        for one in sockets:
            one.close()
        kept.close()
        answered = wait_for("an answer", lambda: answers(server), 20)
        check(answered, "no recovery")
        server.wait_status(running, "complete", timeout=40)
        check(sha256(server.downloads / big.name) == big.sha256, "SHA-256 differs")
        log = server.output.read_text(errors="replace")
        check("503" in log or "cannot take connections" in log, "the log does not say so")
        return f"{refused} refused by 503, download complete"


def answers(server):
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        return server.call("aria2.getVersion")


def big_batch():
    """Ten thousand downloads in one call."""
    with scratch("limits") as work, Server(
            program(), work, "-j1", state=work / "state", wrap=limited(512)) as server:
        memory = resident(server)
        calls = [{"methodName": "aria2.addUri", "params": [
            "token:compat", [f"http://127.0.0.1:9/{number}"], {"pause": "true"}]}
            for number in range(BATCH)]
        added, took = timed(server.call, "system.multicall", calls)
        gids = [one[0] for one in added]
        check(len(set(gids)) == BATCH, f"{len(set(gids))} GIDs")
        page, look = timed(server.call, "aria2.tellWaiting", 0, 1000, ["gid"])
        check([row["gid"] for row in page] == gids[:1000], "the order is another")
        check(look < CALL_MAX, f"a page took {look:.3f} s")
        each = (resident(server) - memory) / BATCH
        check(each <= EACH_MAX, f"{each:.0f} bytes each")
        server.call("aria2.saveSession")
        server.kill()
        with Server(program(), work, "-j1", state=work / "state", port=server.port) as again:
            check(int(again.call("aria2.getGlobalStat")["numWaiting"]) == BATCH, "some are lost")
        return f"{took:.2f} s, {each / 1024:.1f} KiB each, all there after SIGKILL"


def purge():
    """A hundred thousand results go, and nobody else waits for that."""
    with scratch("limits") as work, Server(
            program(), work, "-q", "-j1000", "--max-tries=1", "--max-download-result=1000000",
            state=work / "state") as server:
        for at in range(0, RESULTS, 5000):
            server.call("system.multicall", [{"methodName": "aria2.addUri", "params": [
                "token:compat", [f"http://127.0.0.1:1/{number}"]]} for number in range(at, at + 5000)])
        stat = lambda: server.call("aria2.getGlobalStat")
        wait_for("all to fail", lambda: stat()["numStopped"] == str(RESULTS), 120)
        over, seen = threading.Event(), []

        def ask():
            while not over.is_set():
                answer, took = timed(stat)
                seen.append((int(answer["numStopped"]), took))

        other = threading.Thread(target=ask)
        other.start()
        try:
            answer, took = timed(server.call, "aria2.purgeDownloadResult")
        finally:
            over.set()
            other.join()
        check(answer == "OK", answer)
        check((stat()["numStopped"], stat()["numStoppedTotal"]) == ("0", str(RESULTS)), f"{stat()}")
        check(server.call("aria2.tellStopped", -1, 10) == [], "some are left")
        between = [took for left, took in seen if 0 < left < RESULTS]
        check(between, "nobody was answered in between")
        worst = max(took for _, took in seen)
        check(worst < PURGE_CALL_MAX, f"another call took {worst:.3f} s")
        return f"{took:.2f} s; others were answered {len(between)} times, in {worst * 1e3:.1f} ms at most"


def too_long():
    """A request beyond all bounds is refused before it has filled the memory, and told so."""
    with scratch("limits") as work, Server(program(), work, wrap=limited(512)) as server:
        memory = resident(server)
        with socket.create_connection(("127.0.0.1", server.port), 10) as one:
            one.sendall(b"POST /jsonrpc HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
            # Who sends it all the same is not kept.
            with contextlib.suppress(OSError):
                for _ in range(64):
                    one.sendall(bytes(MIB))
            with contextlib.suppress(ConnectionError):
                check(b" 413 " in one.recv(200), "not refused by 413")
        grown = resident(server) - memory
        check(grown < 16 * MIB, f"memory grew by {grown / MIB:.0f} MiB")
        check(server.call("aria2.getVersion"), "no recovery")
        return f"memory +{grown / MIB:.1f} MiB"


def main():
    suite = Suite("limits")
    suite.run("a request beyond all bounds", too_long)
    suite.run("idle RPC sockets", idle_sockets)
    suite.run("no file descriptors left", no_descriptors)
    suite.run("10,000 downloads in one batch", big_batch)
    suite.run("100,000 results purged", purge)
    suite.finish()


main()
