#!/usr/bin/env python3
"""Runs the README's JSON-RPC call as it stands, only with a port, directory and URL of the test."""

import json
import re
import subprocess

from lib import ROOT, Server, Suite, check, program, scratch, sha256
from origin import Origin, digest


def curl_call():
    readme = (ROOT / "README.md").read_text()
    shell = next(block for block in re.findall(r"```sh\n(.*?)```", readme, re.S) if "curl" in block)
    with scratch("readme") as work, Origin() as origin, Server(program(), work, secret="") as server:
        for old, new in (
            ("127.0.0.1:6800", f"127.0.0.1:{server.port}"),
            ("https://example.org/file.iso", f"{origin.url}/file/a.bin"),
            ("/tmp", str(server.downloads)),
        ):
            check(old in shell, f"the README's call no longer names {old}")
            shell = shell.replace(old, new)
        answer = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=20)
        gid = json.loads(answer.stdout)["result"]
        server.wait_status(gid, "complete")
        check(sha256(server.downloads / "a.bin") == digest("a.bin"), "SHA-256 differs")


def main():
    suite = Suite("readme")
    suite.run("the README's call adds a download", curl_call)
    suite.finish()


main()
