#!/usr/bin/env python3
"""Runs one table of command lines through aria2c and the program under test.

Both get servers and directories of their own; compared are the facts of `Facts`. A case names
the facts that may differ on purpose, each with its reason; scripts/test prints them.
"""

import contextlib
import hashlib
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, fields

from lib import Suite, aria2c, check, free_port, program, scratch, start
from origin import BODIES, MODIFIED, Origin, digest

RESUME_PROBE = "aria2c asks for the whole file first and drops the answer; we ask for the rest"
SPLIT_ORDER = "which ranges are asked for is up to the planner"
RETRY_RANGE = "how a cut body is asked for again is up to the planner"
WIDER = "we take up to 128 connections a server"
BUSY = "a busy server is asked again, up to --max-tries, even without --retry-wait"
ESCAPED = "a few more characters are escaped in the request"
NAMED = "the table names the URI that could not be fetched"
CRASHES = "aria2c fails an assertion here, at times"
PROBED = "aria2c leaves a control file although nothing was fetched"
NOT_OURS = "no path is shown for a file that never was ours"


@dataclass
class Case:
    """A command line. {url} is the server; a second one is {url2}, one that refuses is {dead}."""

    name: str
    args: str
    # Files there before the start, by name.
    before: dict = field(default_factory=dict)
    stdin: str | None = None
    # Facts that may differ, and why.
    differs: dict = field(default_factory=dict)
    # Also compare the request headers (User-Agent aside).
    headers: bool = False
    # Also compare the modification times of files.
    mtimes: bool = False
    # Sent after two seconds.
    signal: int | None = None
    # More to compare: name and function(output, directory).
    extra: dict = field(default_factory=dict)


@dataclass
class Facts:
    """What is compared."""

    exit: int
    files: dict
    results: list
    legend: list
    complete: list
    requests: list
    extra: dict
    output: str


CONF = "max-tries=2\n# a comment\nuser-agent=from-conf\nno-such-option=1\ndir=confdir\n"
INPUT = """\
# mirrors, then options
{url}/status/404\t{url}/file/a.bin
  out=first.bin
  dir=in

{url}/file/b.bin
 # a comment between options
\tout=second.bin
 header=X-In: 1
 header=X-In: 2
{url}/file/c.bin\r
"""
SESSION = """\
{url}/file/c.bin
 gid=0000000000000001
{url}/status/403
 gid=0000000000000002
 pause=true
{url}/status/404
 gid=0000000000000003
 save-not-found=false
"""
YT_DLP = (
    "--no-conf --auto-save-interval=10 --console-log-level=warn --summary-interval=0 "
    "--download-result=hide --http-accept-gzip=true --file-allocation=none -x16 -j16 -s16 "
    "--min-split-size 1M --check-certificate=true --remote-time=true --show-console-readout=true "
    "--remove-control-file --allow-overwrite=true --always-resume=false "
    "--auto-file-renaming=false --force-save=false --dir ./d/ --out ./f.bin -- "
)
WINETRICKS = (
    "--continue --daemon=false --dir=. --enable-rpc=false --input-file= --max-connection-per-server=5 "
    "--max-concurrent-downloads=5 --out=w.bin --save-session= --stream-piece-selector=geom "
    "--connect-timeout=15 "
)
HOOK = '#!/bin/sh\nprintf "%s|%s|%s\\n" "${#1}" "$2" "${3##*/}" >> hook.log\n'


def first_line(pattern):
    """The first line that matches, without colours."""

    def find(output, _folder):
        return next((line for line in output.splitlines() if re.search(pattern, line)), None)

    return find


def features(output, _folder):
    line = first_line("^Enabled Features: ")(output, _folder)
    return sorted(line.partition(": ")[2].split(", ")) if line else None


def session(_output, folder):
    """The saved session without the random GIDs and the folder's name.

    arioso saves `dir` even when it is the default, so that a session may be loaded elsewhere.
    """
    path = folder / "session.txt"
    if not path.exists():
        return None
    text = re.sub(r"gid=[0-9a-f]{16}", "gid=GID", path.read_text())
    text = re.sub(r"http://127.0.0.1:\d+", "http://h", text)
    return sorted(
        line for line in text.replace(str(folder), "DIR").splitlines()
        if not line.startswith((" save-session", " dir="))
    )


def log_exists(_output, folder):
    return (folder / "run.log").stat().st_size > 0


NO_TRANSFER = {"requests": "nothing is fetched"}
DATA_300K = BODIES["a.bin"]

CASES = [
    # -- one file ---------------------------------------------------------------------------
    Case("plain URL", "{url}/file/a.bin"),
    Case("empty file", "{url}/file/empty.bin"),
    Case("one byte", "{url}/file/c.bin"),
    Case("-o", "-o other.bin {url}/file/a.bin"),
    Case("--out=", "--out=other.bin {url}/file/a.bin"),
    Case("--out with a space", "--out other.bin {url}/file/a.bin"),
    Case("last -o wins", "-o one.bin -o two.bin {url}/file/a.bin"),
    Case("-d makes directories", "-d x/y/z {url}/file/a.bin"),
    Case("-o with directories", "-d x -o y/z.bin {url}/file/a.bin"),
    Case("after --", "-d x -- {url}/file/a.bin"),
    Case("options after the URL", "{url}/file/a.bin -o late.bin"),
    Case("query is no name", "{url}/file/a.bin?x=1&y=../2"),
    Case("fragment is not sent", "{url}/file/a.bin#part"),
    Case("path that ends in /", "{url}/file/"),
    Case("no path", "{url}"),
    Case("escaped space", "{url}/file/with%20space.bin"),
    Case("escaped UTF-8", "{url}/file/%C3%BCmlaut.bin"),
    Case("raw UTF-8", "{url}/file/ümlaut.bin"),
    Case("escaped slash", "{url}/file/a%2Fb"),
    Case("escaped backslash", "{url}/file/back%5Cslash"),
    Case("plus and semicolon", "{url}/file/plus+semi;.bin"),
    Case("chunked", "{url}/chunked/a.bin"),
    Case("no length", "{url}/close/a.bin"),
    Case("no ranges, four connections", "-x4 -s4 -k1M {url}/norange/big.bin",
         differs={"requests": SPLIT_ORDER}),
    Case("four connections", "-x4 -s4 -k1M {url}/file/big.bin", differs={"requests": SPLIT_ORDER}),
    Case("-s4 alone is one connection", "-s4 -k1M {url}/file/big.bin"),
    Case("too small to split", "-x4 -s4 -k20M {url}/file/big.bin"),
    Case("--max-download-limit", "--max-download-limit=400K {url}/file/a.bin"),
    Case("--max-overall-download-limit", "--max-overall-download-limit=400K {url}/file/a.bin"),
    # -- several -------------------------------------------------------------------------------
    Case("two mirrors", "{url}/file/a.bin {url2}/file/a.bin"),
    Case("two mirrors, first 404", "{url}/status/404 {url2}/file/a.bin"),
    Case("two mirrors, first refuses", "{dead}/file/a.bin {url}/file/a.bin"),
    Case("-Z", "-Z {url}/file/a.bin {url}/file/b.bin"),
    Case("-Z -j1", "-Z -j1 {url}/file/a.bin {url}/file/b.bin {url}/file/c.bin"),
    Case("-Z one missing", "-Z -j1 {url}/file/a.bin {url}/status/404"),
    Case("-Z ignores -o", "-Z -o x {url}/file/a.bin"),
    Case("-i ignores -o", "-o x -i list.txt", before={"list.txt": "{url}/file/a.bin\n"}),
    Case("-Z same name twice", "-Z -j1 {url}/file/a.bin {url2}/file/a.bin"),
    Case("-P choice", "-Z -P {url}/file/{a,b}.bin"),
    Case("-P range", "-Z -P {url}/file/[1-3].bin"),
    Case("-P range with step", "-Z -P {url}/file/[1-3:2].bin"),
    Case("braces without -P", "{url}/file/{a,b}.bin", differs={"requests": ESCAPED}),
    # -- answers -------------------------------------------------------------------------------
    Case("404", "{url}/status/404"),
    Case("403", "{url}/status/403"),
    Case("410", "{url}/status/410"),
    Case("500", "--max-tries=2 {url}/status/500", differs={"requests": BUSY}),
    Case("503", "--max-tries=2 {url}/status/503", differs={"requests": BUSY}),
    Case("503 retried", "--retry-wait=1 --max-tries=2 {url}/status/503"),
    Case("503 once, then the file", "--retry-wait=1 {url}/busy/1/503/a.bin"),
    Case("204", "{url}/status/204"),
    Case("401 without credentials", "{url}/auth/a.bin"),
    Case("credentials in the URL", "http://user:pass@{host}/auth/a.bin", headers=True),
    Case("--http-user", "--http-user=user --http-passwd=pass {url}/auth/a.bin", headers=True),
    Case("wrong password", "--http-user=user --http-passwd=no {url}/auth/a.bin"),
    Case("--http-auth-challenge",
         "--http-auth-challenge --http-user=user --http-passwd=pass {url}/auth/a.bin", headers=True),
    Case("301", "{url}/to/301/file/a.bin"),
    Case("302 names the file", "{url}/to/302/file/b.bin"),
    Case("303", "{url}/to/303/file/a.bin"),
    Case("307", "{url}/to/307/file/a.bin"),
    Case("308", "{url}/to/308/file/a.bin"),
    Case("302 to 404", "{url}/to/302/status/404"),
    Case("redirect loop", "{url}/loop"),
    Case("redirect to nowhere", "{url}/nowhere"),
    Case("cut once", "{url}/cut/1/100000/a.bin", differs={"requests": RETRY_RANGE}),
    Case("cut always", "--max-tries=3 {url}/cut/99/0/a.bin", differs={"requests": RETRY_RANGE}),
    Case("refused", "{dead}/file/a.bin"),
    Case("silent", "--connect-timeout=1 --timeout=1 --max-tries=1 {url}/silent"),
    Case("--max-file-not-found", "--max-file-not-found=2 --max-tries=5 {url}/status/404"),
    Case("unsupported scheme", "gopher://127.0.0.1/x", differs={"results": NAMED}),
    Case("scheme in capitals", "HTTP://127.0.0.1:1/x", differs={"results": NAMED}),
    Case("-Z unsupported scheme", "-Z gopher://127.0.0.1/x {url}/file/a.bin",
         differs={"results": NAMED}),
    Case("not an URL", "no-such-file-or-url"),
    Case("not an URL beside one", "no-such-file-or-url {url}/file/a.bin"),
    Case("unknown host", "http://no-such-host.invalid/x"),
    # -- names from the server -----------------------------------------------------------------
    Case("disposition", "{url}/named/a.bin?attachment;%20filename=%22x%20y.bin%22"),
    Case("disposition token", "{url}/named/a.bin?attachment;filename=token.bin"),
    Case("disposition inline", "{url}/named/a.bin?inline;%20filename=in.bin"),
    Case("disposition UTF-8",
         "{url}/named/a.bin?attachment;filename=p.bin;%20filename*=UTF-8''%25C3%25BC.bin",
         differs={"requests": ESCAPED}),
    Case("disposition with a path", "{url}/named/a.bin?attachment;filename=%22../evil.bin%22"),
    Case("disposition without a type", "{url}/named/a.bin?filename=x.bin"),
    Case("disposition empty", "{url}/named/a.bin?attachment;filename=%22%22"),
    Case("-o beats disposition", "-o mine.bin {url}/named/a.bin?attachment;filename=theirs.bin"),
    # -- files that are there ------------------------------------------------------------------
    Case("renamed", "{url}/file/a.bin", before={"a.bin": b"old"}),
    Case("renamed again", "{url}/file/a.bin", before={"a.bin": b"old", "a.1.bin": b"older"}),
    Case("renamed before the last dot", "-o t.tar.gz {url}/file/a.bin", before={"t.tar.gz": b"old"}),
    Case("renamed without a dot", "-o noext {url}/file/a.bin", before={"noext": b"old"}),
    Case("renamed dot file", "-o .hid {url}/file/a.bin", before={".hid": b"old"}),
    Case("no renaming", "--auto-file-renaming=false {url}/file/a.bin", before={"a.bin": b"old"},
         differs={"results": NOT_OURS}),
    Case("--allow-overwrite", "--allow-overwrite=true {url}/file/a.bin", before={"a.bin": b"old"}),
    Case("-c", "-c {url}/file/a.bin", before={"a.bin": DATA_300K[:100_000]},
         differs={"requests": RESUME_PROBE}),
    Case("-c complete", "-c {url}/file/a.bin", before={"a.bin": DATA_300K},
         differs={"requests": RESUME_PROBE}),
    Case("-c too long", "-c {url}/file/a.bin", before={"a.bin": DATA_300K + b"more"},
         differs={"requests": RESUME_PROBE}),
    Case("-c without a file", "-c {url}/file/a.bin"),
    Case("--continue=false", "--continue=false {url}/file/a.bin",
         before={"a.bin": DATA_300K[:100_000]}),
    Case("--conditional-get, unchanged", "--conditional-get --allow-overwrite {url}/file/a.bin",
         before={"a.bin": DATA_300K}, headers=False),
    Case("--checksum right", "--checksum=sha-256={sha} {url}/file/a.bin"),
    Case("--checksum wrong", "--checksum=sha-256={zeros} {url}/file/a.bin"),
    Case("--checksum md5", "--checksum=md5={md5} {url}/file/a.bin"),
    Case("--dry-run", "--dry-run {url}/file/a.bin"),
    Case("--dry-run 404", "--dry-run {url}/status/404"),
    Case("-R", "-R {url}/file/a.bin", mtimes=True),
    *[Case(f"--file-allocation={how}", f"--file-allocation={how} {{url}}/file/big.bin")
      for how in ("none", "trunc", "prealloc", "falloc")],
    # -- what is sent --------------------------------------------------------------------------
    Case("headers as they are", "{url}/file/a.bin", headers=True),
    Case("--header", "--header X-A:1 --header=X-B:2 {url}/file/a.bin", headers=True),
    Case("--header replaces", "--header Accept:text/x {url}/file/a.bin", headers=True),
    Case("-U", "-U my-agent {url}/file/a.bin", headers=True),
    Case("--referer", "--referer=http://r.test/x {url}/file/a.bin", headers=True),
    Case("--referer=*", "--referer=* {url}/file/a.bin", headers=True),
    Case("--http-no-cache", "--http-no-cache {url}/file/a.bin", headers=True),
    Case("--http-accept-gzip", "--http-accept-gzip {url}/file/a.bin", headers=True),
    Case("no keep-alive", "--enable-http-keep-alive=false {url}/file/a.bin", headers=True),
    Case("--use-head", "--use-head {url}/file/a.bin"),
    # -- input and conf ------------------------------------------------------------------------
    Case("-i", "-j1 -i list.txt", before={"list.txt": INPUT}),
    Case("-i -", "-j1 -i -", stdin=INPUT),
    Case("-i counts alone", "-i list.txt {url}/file/b.bin",
         before={"list.txt": "{url}/file/a.bin\n"}),
    Case("-i with a GID twice", "-j1 -i list.txt", before={"list.txt":
         "{url}/file/a.bin\n gid=00000000000000aa\n{url}/file/b.bin\n gid=00000000000000aa\n"
         "{url}/file/c.bin\n"}),
    Case("-i missing", "-i no-such-list.txt"),
    Case("-i with a bad value", "-i list.txt", before={"list.txt": "{url}/file/a.bin\n split=x\n"}),
    Case("-i with an unknown option", "-i list.txt",
         before={"list.txt": "{url}/file/a.bin\n no-such=x\n out=o.bin\n"}),
    Case("--conf-path", "--conf-path=my.conf {url}/file/a.bin", before={"my.conf": CONF},
         headers=True),
    Case("flags beat conf", "--conf-path=my.conf -d d2 {url}/file/a.bin", before={"my.conf": CONF}),
    Case("conf missing", "--conf-path=no.conf {url}/file/a.bin"),
    Case("conf with a bad value", "--conf-path=my.conf {url}/file/a.bin",
         before={"my.conf": "max-tries=3 # x\n"}),
    Case("default conf", "{url}/file/a.bin", before={".aria2/aria2.conf": "dir=fromhome\n"}),
    Case("--no-conf", "--no-conf {url}/file/a.bin", before={".aria2/aria2.conf": "dir=fromhome\n"}),
    Case("--save-session", "-j1 -Z --save-session=session.txt {url}/file/a.bin {url}/status/403",
         extra={"session": session}),
    *[Case(f"--save-session {options}",
           f"-j1 -Z --save-session=session.txt {options} "
           "{url}/file/c.bin {url}/status/403 {url}/status/404", extra={"session": session})
      for options in (
          "--save-not-found=false", "--force-save=true", "--max-download-result=0",
          "--max-download-result=0 --keep-unfinished-download-result=false",
          "--max-download-result=1 --keep-unfinished-download-result=false")],
    Case("--force-save of a renamed file", "--force-save --save-session=session.txt {url}/file/a.bin",
         before={"a.bin": b"old"}, extra={"session": session}),
    Case("--save-session of what waits", "--stop=1 -j1 -Z --save-session=session.txt "
         "{url}/slow/20000/big.bin {url}/file/a.bin", extra={"session": session}),
    Case("session and input are one file", "-j1 --save-session=session.txt -i session.txt",
         before={"session.txt": SESSION}, extra={"session": session}),
    # -- command line errors -------------------------------------------------------------------
    Case("no URL", ""),
    Case("unknown option", "--no-such-option {url}/file/a.bin"),
    Case("abbreviation", "--max-tri=7 {url}/file/a.bin"),
    Case("ambiguous abbreviation", "--max=7 {url}/file/a.bin"),
    Case("17 connections a server", "-x17 {url}/file/a.bin",
         differs={"exit": WIDER, "files": WIDER, "results": WIDER, "legend": WIDER,
                  "complete": WIDER, "requests": WIDER}),
    *[Case(f"bad value {bad}", f"{bad} {{url}}/file/a.bin") for bad in (
        "-x0", "--split=abc", "-j0", "--file-allocation=foo", "--max-tries=-1", "-k0",
        "--continue=maybe", "--max-download-limit=1G", "--timeout=601", "--log-level=loud",
        "--checksum=sha-256=zz", "--uri-selector=best", "--piece-length=0", "--out",
    )],
    # -- console -------------------------------------------------------------------------------
    Case("-q", "-q {url}/file/a.bin", extra={"silent": lambda output, _: output.strip() == ""}),
    Case("--download-result=hide", "--download-result=hide {url}/file/a.bin"),
    Case("--download-result=full", "--download-result=full {url}/file/a.bin"),
    Case("--log", "--log=run.log {url}/file/a.bin", extra={"log": log_exists},
         differs={"files": "a log holds times"}),
    Case("--version", "--version", differs=NO_TRANSFER,
         extra={"features": features, "starts": lambda output, _: output[:14]}),
    Case("-v", "-v", extra={"hashes": first_line("^Hash Algorithms: ")}),
    Case("--help", "--help", extra={"long": lambda output, _: len(output) > 1000}),
    Case("--help=#http", "--help=#http", extra={"long": lambda output, _: len(output) > 1000}),
    # -- how others call it ---------------------------------------------------------------------
    Case("yt-dlp", YT_DLP + "{url}/file/a.bin", mtimes=True),
    Case("winetricks", WINETRICKS + "{url}/file/a.bin"),
    # -- the process ------------------------------------------------------------------------------
    *[Case(option, option + " {url}/file/a.bin") for option in (
        "--interface=lo", "--interface=127.0.0.1", "--interface=no-such-0",
        "--multiple-interface=lo,127.0.0.1", "--multiple-interface=no-such-0,lo",
        "--disable-ipv6", "--async-dns=false", "--async-dns-server=127.0.0.1",
        "--event-poll=select", "--event-poll=kqueue", "--rlimit-nofile=4096", "--dscp=8",
        "--enable-mmap", "--socket-recv-buffer-size=64K", "--gid=5", "--gid=00000000000000aa",
        "--torrent-file=/no-such", "--metalink-file=/no-such", "--certificate=/no-such",
        "--rpc-certificate=/no-such", "--ca-certificate=/no-such", "--load-cookies=/no-such",
        "--server-stat-if=/no-such", "--netrc-path=/no-such", "--log=/no-such/x",
        "--save-session=/no-such/x", "--optimize-concurrent-downloads",
        "--optimize-concurrent-downloads=1:2", "--optimize-concurrent-downloads=x",
        "--stop-with-process=1", "--human-readable=false", "--enable-color=false",
        "--deferred-input", "--always-resume=false", "--reuse-uri=false",
    )],
    Case("--disable-ipv6 with an address", "--disable-ipv6 http://[::1]:1/x"),
    Case("--deferred-input", "-j1 -i list.txt --deferred-input", before={"list.txt": INPUT}),
    Case("empty input", "-i list.txt", before={"list.txt": "# nothing\n"}),
    Case("--remove-control-file", "--remove-control-file --allow-overwrite {url}/file/a.bin",
         before={"a.bin": DATA_300K[:100_000]}),
    Case("-c where the server cannot", "-c {url}/norange/a.bin",
         before={"a.bin": DATA_300K[:100_000]}, differs={"requests": RESUME_PROBE, "files": PROBED}),
    Case("-c --always-resume=false", "-c --always-resume=false {url}/norange/a.bin",
         before={"a.bin": DATA_300K[:100_000]},
         differs={"requests": RESUME_PROBE, **dict.fromkeys(
             ("exit", "files", "results", "legend", "complete"), CRASHES)}),
    Case("-P not closed", "-P {url}/file/{a,b"),
    Case("-P too many", "-P {url}/file/[1-10000000]"),
    # -- ending early --------------------------------------------------------------------------
    Case("--stop", "--stop=2 {url}/slow/20000/big.bin"),
    Case("SIGINT", "{url}/slow/20000/big.bin", signal=signal.SIGINT),
    Case("SIGTERM", "{url}/slow/20000/big.bin", signal=signal.SIGTERM),
    Case("RPC server says where it listens", "--enable-rpc --rpc-listen-port={port} --stop=1",
         extra={"listens": lambda output, _: len(re.findall(r"RPC: listening on TCP port \d+", output))}),
    # -- hooks ---------------------------------------------------------------------------------
    Case("--on-download-complete", "--on-download-complete={dir}/hook {url}/file/a.bin",
         before={"hook": HOOK}),
    Case("--on-download-error", "--on-download-error={dir}/hook {url}/status/404",
         before={"hook": HOOK}),
]


def run(case, binary, servers):
    """Runs a case once; returns its facts."""
    with scratch("cli") as folder, contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(Origin()) for _ in range(2))
        places = {
            "{url}": first.url, "{url2}": second.url, "{host}": first.url.removeprefix("http://"),
            "{dead}": "http://127.0.0.1:1", "{dir}": str(folder), "{sha}": digest("a.bin"),
            "{md5}": digest("a.bin", "md5"), "{zeros}": "0" * 64,
            "{port}": str(free_port()),
        }

        def fill(text):
            for name, value in places.items():
                text = text.replace(name, value)
            return text

        before = {
            folder / name: fill(data).encode() if isinstance(data, str) else data
            for name, data in case.before.items()
        }
        for path, data in before.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755)
        process = start(binary, *shlex.split(fill(case.args), posix=False), cwd=folder,
                        stdin=subprocess.PIPE if case.stdin else subprocess.DEVNULL)
        if case.signal:
            time.sleep(2)
            process.send_signal(case.signal)
        try:
            output, _ = process.communicate(fill(case.stdin) if case.stdin else None, timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            check(False, f"{binary} did not end; output:\n{output[-1500:]}")
        return facts(case, process.returncode, output, folder, before, (first, second))


def facts(case, code, output, folder, before, servers):
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)

    def plain(text):
        for number, server in enumerate(servers):
            text = text.replace(server.url, f"http://h{number}").replace(
                f"127.0.0.1:{server.port}", f"h{number}")
        return text.replace(str(folder), ".")

    rows = re.findall(r"^[0-9a-f]{6}\|(\w+) *\|[^|]*\|(?: *\d*-?\|)?(.*)$", output, re.M)
    legend = next(iter(re.findall(r"^\(\w+\):.*$", output, re.M)), "")
    return Facts(
        exit=code,
        files=files(case, folder, before),
        results=sorted((status, plain(path)) for status, path in rows),
        legend=sorted(re.findall(r"\(\w+\):[a-z -]+\.", legend)),
        complete=sorted(map(plain, re.findall(r"Download complete: (.*)$", output, re.M))),
        requests=sorted(
            (number, method, plain(path), headers.get("range", ""), *sent(case, headers, plain))
            for number, server in enumerate(servers)
            for method, path, headers in server.requests
        ),
        extra={name: look(output, folder) for name, look in case.extra.items()},
        output=output,
    )


def files(case, folder, before):
    """What is there: size and digest, the time if asked for. Of control files and unfinished
    downloads only that they exist."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or name == "session.txt" or name.startswith(("state/", ".cache/")):
            continue
        data = path.read_bytes()
        if name.endswith(".aria2") or path.with_name(path.name + ".aria2").exists():
            found[name] = "unfinished"
        elif data == before.get(path):
            found[name] = "as before"
        else:
            time = int(path.stat().st_mtime) == MODIFIED if case.mtimes else None
            found[name] = (len(data), hashlib.sha256(data).hexdigest()[:12], time)
    return found


def sent(case, headers, plain):
    """The request headers, where a case compares them.

    Each program may name itself. arioso does not ask for Metalink documents before it can read
    them, nor for a digest that (as in aria2c) nothing would check.
    """
    if not case.headers:
        return ()
    apart = ("host", "range", "want-digest")
    kept = {name: plain(value) for name, value in headers.items() if name not in apart}
    metalink = ",application/metalink4+xml,application/metalink+xml"
    kept["accept"] = kept.get("accept", "").removesuffix(metalink)
    kept["user-agent"] = re.sub(r"^(aria2|arioso)/\S+$", "PROGRAM", kept.get("user-agent", ""))
    return (tuple(sorted(kept.items())),)


def compare(case, ours, theirs):
    wanted, got = run(case, theirs, None), run(case, ours, None)
    differences = [
        f"\n    {fact.name}: aria2c {getattr(wanted, fact.name)}\n    {' ' * len(fact.name)}  "
        f"{ours.name} {getattr(got, fact.name)}"
        for fact in fields(Facts)
        if fact.name != "output"
        and fact.name not in case.differs
        and getattr(wanted, fact.name) != getattr(got, fact.name)
    ]
    check(not differences, "".join(differences) + "\n    output: " + repr(got.output[-700:]))
    return "; ".join(sorted(set(case.differs.values()))) if wanted != got else None


def main():
    ours, theirs = program(), aria2c()
    chosen = [case for case in CASES if not sys.argv[1:] or case.name in sys.argv[1:]]
    suite = Suite("commandline")
    suite.run_all([(case.name, compare, case, ours, theirs) for case in chosen], workers=6)
    suite.finish()


main()
