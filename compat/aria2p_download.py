#!/usr/bin/env python3
"""Downloads files of more than 1 GiB through the real aria2p library.

aria2p adds the URL, watches by WebSocket notifications, pauses half-way and resumes; nginx's log
shows that no byte was fetched twice beyond what a cut connection costs. Then the same with two
mirrors of which one dies half-way. Runs in target/venv, which scripts/test makes.
"""

import threading
import time

import aria2p

from lib import (
    MIB, SOCKET_SLACK, Nginx, Server, Suite, check, program, sample, scratch, sha256, wait_for,
)

SIZE = 1024 * MIB + 54_321
CONNECTIONS = 16
RATE = 8 * MIB  # for each connection


class Watcher:
    """The notifications aria2p hands to its callbacks, in order."""

    def __init__(self, api):
        self.api = api
        self.events = []
        self._changed = threading.Condition()
        api.listen_to_notifications(
            threaded=True,
            on_download_start=self._note("start"),
            on_download_pause=self._note("pause"),
            on_download_stop=self._note("stop"),
            on_download_complete=self._note("complete"),
            on_download_error=self._note("error"),
            timeout=1,
            handle_signals=False,
        )
        time.sleep(0.5)  # aria2p does not say when its socket is open

    def _note(self, kind):
        def note(_api, gid):
            with self._changed:
                self.events.append((kind, gid))
                self._changed.notify_all()

        return note

    def wait(self, *events, timeout=120):
        """Waits until exactly these events have come."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.events) >= len(events), timeout)
            check(self.events == list(events), f"notifications {self.events}, wanted {events}")

    def close(self):
        self.api.stop_listening()


def options(connections):
    return {
        "max-connection-per-server": str(connections),
        "split": str(CONNECTIONS),
        "min-split-size": "1M",
        "file-allocation": "none",
    }


def half_done(download):
    def probe():
        download.update()
        check(not download.has_failed, f"failed: {download.error_message}")
        return download.completed_length > SIZE / 2

    wait_for("half of the file", probe)
    check(not download.is_complete, "complete before the half-way point was seen")
    return download.connections


def started(work, *args):
    server = Server(program(), work, *args)
    api = aria2p.API(aria2p.Client("http://127.0.0.1", server.port, server.secret))
    return server, api, Watcher(api)


def verify(server, download, big):
    download.update()
    check(download.is_complete, f"status {download.status}")
    check(download.completed_length == download.total_length == SIZE, "lengths differ")
    path = server.downloads / big.name
    check(str(download.files[0].path) == str(path), f"path {download.files[0].path}")
    check(sha256(path) == big.sha256, "SHA-256 differs")
    check(not path.with_name(big.name + ".aria2").exists(), "the control file is still there")


def pause_and_resume(big):
    with scratch("aria2p") as work, Nginx(big.path.parent, work / "nginx", rate=RATE) as origin:
        server, api, watcher = started(work)
        with server:
            download = api.add_uris([f"{origin.url}/{big.name}"], options(CONNECTIONS))
            start = ("start", download.gid)
            watcher.wait(start)
            connections = half_done(download)
            check(connections == CONNECTIONS, f"{connections} connections")

            check(api.pause([download])[0] is True, "pause was refused")
            pause = ("pause", download.gid)
            watcher.wait(start, pause)
            download.update()
            held = download.completed_length
            check(download.is_paused and download.connections == 0, "not at rest after the pause")
            time.sleep(1)
            download.update()
            check(download.completed_length == held, "went on while paused")

            check(api.resume([download])[0] is True, "resume was refused")
            watcher.wait(start, pause, start)
            watcher.wait(start, pause, start, ("complete", download.gid))
            verify(server, download, big)
            watcher.close()
        origin.stop()
        return fetched_once(origin.requests(f"/{big.name}"))


def fetched_once(requests):
    """A connection that is cut (pause, stolen tail) may cost what was in its socket."""
    sent = sum(request.sent for request in requests)
    bound = SIZE + SOCKET_SLACK * len(requests)
    check(SIZE <= sent <= bound, f"{sent - SIZE} bytes too many in {len(requests)} requests")
    return f"{sent - SIZE} bytes twice in {len(requests)} requests"


def dying_mirror(big):
    with (
        scratch("aria2p") as work,
        Nginx(big.path.parent, work / "nginx1", rate=RATE) as good,
        Nginx(big.path.parent, work / "nginx2", rate=RATE) as bad,
    ):
        server, api, watcher = started(work, "--retry-wait=1", "--max-tries=3")
        with server:
            uris = [f"{mirror.url}/{big.name}" for mirror in (bad, good)]
            download = api.add_uris(uris, options(CONNECTIONS // 2))
            half_done(download)
            servers = {
                entry["currentUri"]
                for file in download.api.client.get_servers(download.gid)
                for entry in file["servers"]
            }
            check(servers == set(uris), f"in use: {sorted(servers)}")
            bad.die()
            watcher.wait(("start", download.gid), ("complete", download.gid))
            verify(server, download, big)
            watcher.close()
        good.stop()
        sent = sum(request.sent for request in good.requests())
        check(sent < SIZE, f"the living mirror sent {sent} bytes: nothing came from the other")
        return f"{sent / SIZE:.0%} from the living mirror"


def main():
    big = sample("aria2p.bin", SIZE)
    suite = Suite("aria2p_download")
    suite.run("pause half-way and resume, 16 connections", pause_and_resume, big)
    suite.run("two mirrors, one dies half-way", dying_mirror, big)
    suite.finish()


main()
