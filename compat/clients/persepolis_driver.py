"""Persepolis itself: the modules of Debian's package that talk to aria2c, without its windows. It
starts aria2c and downloads through it; what it saw is printed as JSON.

    persepolis_driver.py PORT ENDLESS FILE MISSING

ENDLESS, FILE and MISSING are URLs of a file that never ends, one that does and one that is not there.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from PyQt5.QtCore import QSettings

STOPPED, DONE, MISSING = "aaaa0000000000a1", "aaaa0000000000a2", "aaaa0000000000a3"


def main(port, endless, file, missing):
    home = Path.home()
    for folder in (".config/persepolis_download_manager", "temp", "done/Others"):
        (home / folder).mkdir(parents=True)
    setting = QSettings("persepolis_download_manager", "persepolis")
    for name, value in (
        ("rpc-port", port), ("aria2_path", ""), ("max-tries", 5), ("retry-wait", 0), ("timeout", 55),
        ("download_path_temp", home / "temp"), ("download_path", home / "done"), ("subfolder", "yes"),
    ):
        setting.setValue(f"settings/{name}", str(value))
    setting.sync()

    # They read the settings when they are loaded.
    from persepolis.scripts import download
    from persepolis.scripts.data_base import PersepolisDB

    parent = SimpleNamespace(persepolis_db=PersepolisDB(), system_tray_icon=None)
    parent.persepolis_db.createTables()
    seen = {"version": download.startAria()["version"]}

    def add(gid, link):
        row = dict.fromkeys(
            "file_name status size downloaded_size percent connections rate estimate_time_left".split(), "***")
        row |= dict(gid=gid, link=link, first_try_date="", last_try_date="", category="Single Downloads")
        parent.persepolis_db.insertInDownloadTable([row])
        row = dict.fromkeys(
            "out start_time end_time ip port proxy_user proxy_passwd download_user download_passwd referer"
            " load_cookies user_agent header".split())
        row |= dict(gid=gid, link=link, connections="16", limit_value="0", download_path=str(home / "done"))
        parent.persepolis_db.insertInAddLinkTable([row])
        download.downloadAria(gid, parent)

    def until(gid, holds):
        deadline = time.monotonic() + 60
        while True:
            status = download.tellStatus(gid, parent)
            if status and holds(status):
                return status
            if time.monotonic() > deadline:
                sys.exit(f"waited for {gid}: {status}")
            time.sleep(0.05)

    add(STOPPED, endless)
    until(STOPPED, lambda status: status["file_name"] and status["downloaded_size"] not in (None, "0.0"))
    gids, rows = download.tellActive()
    seen["active"] = [gids, rows[0]["status"], rows[0]["file_name"]]
    download.limitSpeed(STOPPED, "10K")
    seen["timeout"] = download.server.aria2.getOption(STOPPED)["timeout"]
    seen["limit"] = download.server.aria2.getOption(STOPPED)["max-download-limit"]
    seen["states"] = []
    for act, state in ((download.downloadPause, "paused"), (download.downloadUnpause, "downloading")):
        act(STOPPED)
        seen["states"].append(until(STOPPED, lambda status: status["status"] == state)["status"])
    parent.persepolis_db.updateDownloadTable([{"gid": STOPPED, "status": "waiting"}])
    seen["stopped"] = download.downloadStop(STOPPED, parent)
    seen["left"] = download.activeDownloads()
    add(DONE, file)
    done = until(DONE, lambda status: status["status"] == "complete")
    seen["done"] = [done[key] for key in ("file_name", "status", "size", "percent")]
    add(MISSING, missing)
    status = until(MISSING, lambda status: status["status"] == "error")
    seen["missing"] = [status["status"], status["error"]]
    seen["forgotten"] = download.tellStatus(MISSING, parent) is None
    seen["shut down"] = download.shutDown()
    print(json.dumps(seen))


main(*sys.argv[1:])
