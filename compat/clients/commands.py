"""Programs that run aria2c as a command, with the program under test under that name: yt-dlp
itself, and input files and flags as others write them."""

import os
import re
import subprocess
import sys

from lib import check, program, quiet_environment, scratch, sha256
from origin import Origin, digest
from replay import linked


def run(home, *args, environment=None, stdin=None):
    """Exit status and output of the program."""
    ended = subprocess.run(
        [linked(home, program()), *args],
        cwd=home,
        env=environment or quiet_environment(home),
        timeout=60,
        text=True,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return ended.returncode, ended.stdout


def yt_dlp():
    """The real yt-dlp fetches a file and the fragments of an HLS stream through it."""
    with scratch("yt-dlp") as home, Origin() as origin:
        path = os.path.dirname(linked(home, program())) + os.pathsep + os.environ["PATH"]
        environment = {**quiet_environment(home), "PATH": path, "NO_PROXY": "*"}

        def fetch(url, *more):
            command = [
                sys.executable,
                "-m",
                "yt_dlp",
                "--verbose",
                "--no-update",
                "--downloader",
                "aria2c",
                *more,
                url,
            ]
            ended = subprocess.run(
                command,
                cwd=home,
                env=environment,
                timeout=120,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            check(ended.returncode == 0, ended.stdout[-3000:])
            check("aria2c" in ended.stdout, f"aria2c was not used: {ended.stdout[-2000:]}")

        fetch(
            origin.url + "/file/a.bin",
            "--output",
            "it's a %(id)s.%(ext)s",
            "--force-generic-extractor",
            "--add-headers",
            "X-Test: 1",
            "--limit-rate",
            "50M",
            "--referer",
            "http://r/",
        )
        found = (
            home / "it's a a.bin"
            if (home / "it's a a.bin").exists()
            else next(home.glob("it's a a*"))
        )
        check(sha256(found) == digest("a.bin"), f"SHA-256 of {found} differs")
        asked = [
            headers
            for method, _, headers in origin.requests
            if method == "GET" and "range" in headers or "x-test" in headers
        ]
        check(any(headers.get("x-test") == "1" for headers in asked), "the header was not sent")
        check(not list(home.glob("*.aria2")), "a control file is left")
        flags = (
            "--no-conf --auto-save-interval=10 --console-log-level=warn --summary-interval=0 --download-result=hide "
            "--http-accept-gzip=true --file-allocation=none -x16 -j16 -s16 --min-split-size 1M --check-certificate=true --remote-time=true "
            "--show-console-readout=false --remove-control-file --allow-overwrite=true --uri-selector=inorder"
        )
        # Fragments: an input file on standard input's place, names by index.
        fragments = [
            ("1.bin", "f.part-Frag0"),
            ("2.bin", "f.part-Frag1"),
            ("3.bin", "f.part-Frag2"),
        ]
        (home / "f.part.frag.urls").write_text(
            "".join(f"{origin.url}/file/{name}\n\tout={out}\n" for name, out in fragments)
        )
        code, output = run(
            home,
            *flags.split(),
            "--dir",
            ".",
            "--auto-file-renaming=false",
            "-i",
            "f.part.frag.urls",
        )
        check(code == 0 and output.strip() == "", f"exit status {code}: {output}")
        for name, out in fragments:
            check(sha256(home / out) == digest(name), f"SHA-256 of {out} differs")


def apt_fast():
    """Mirrors separated by tabs, a checksum for each file; packages and leftovers told by name."""
    with scratch("apt-fast") as home, Origin() as origin:
        code, output = run(home, "-v")
        check("sha-256" in re.search(r"Hash Algorithms: (.*)", output)[1].split(", "), output)
        lines = []
        for name, out in (("a.bin", "pkg_1%3a2.0_amd64.deb"), ("b.bin", "lib_1.0+b1_all.deb")):
            mirrors = "\t".join(f"{origin.url}/file/{folder}{name}" for folder in ("", "/"))
            lines.append(f"{mirrors}\n checksum=sha-256={digest(name)}\n out={out}\n")
        (home / "apt-fast.list").write_text("#apt-fast mirror list\n" + "".join(lines))
        flags = "--no-conf -c -j 5 -x 5 -s 5 --min-split-size=1M --stream-piece-selector=default --connect-timeout=600 --timeout=600 -m0 --header".split()
        code, output = run(home, *flags, "Accept: */*", "-i", "apt-fast.list")
        check(code == 0, output)
        check(sha256(home / "pkg_1%3a2.0_amd64.deb") == digest("a.bin"), "SHA-256 differs")
        check(sha256(home / "lib_1.0+b1_all.deb") == digest("b.bin"), "SHA-256 differs")
        check(not list(home.glob("*.aria2")), "a control file is left")
        (home / "bad.list").write_text(
            f"{origin.url}/file/c.bin\n checksum=sha-256={digest('a.bin')}\n out=bad.deb\n"
        )
        code, output = run(home, "--no-conf", "-i", "bad.list")
        check(code == 32, f"a wrong checksum: exit status {code}, {output}")


def scoop():
    """referer, dir and out for each URL; exit codes and the lines of the result that are read."""
    with scratch("scoop") as home, Origin() as origin:
        cache = home / "cache"
        entry = "{}\n    referer={}/\n    dir={}\n    out={}\n"
        good = entry.format(origin.url + "/file/a.bin", origin.url, cache, "app#1.0#a.bin")
        flags = (
            "--allow-overwrite=true --auto-file-renaming=false --retry-wait=2 --split=5 --max-connection-per-server=5 --min-split-size=5M "
            "--enable-color=false --no-conf=true --follow-metalink=true --metalink-preferred-protocol=https --min-tls-version=TLSv1.2 "
            f"--stop-with-process={os.getpid()} --continue --summary-interval=0 --auto-save-interval=1 --console-log-level=warn --input-file=list.txt".split()
        )
        (home / "list.txt").write_text(good)
        code, output = run(home, *flags, "--user-agent=Scoop/1.0")
        check(code == 0, output)
        check(sha256(cache / "app#1.0#a.bin") == digest("a.bin"), "SHA-256 differs")
        check(
            re.search(r"^Download Results:$", output, re.M)
            and re.search(r"^\(OK\):", output, re.M),
            output,
        )
        check(origin.requests[0][2]["referer"] == origin.url + "/", "referer")
        (home / "list.txt").write_text(
            good + entry.format(origin.url + "/status/404", origin.url, cache, "gone")
        )
        code, output = run(home, *flags)
        check(code == 3, f"exit status {code}: {output}")


def winetricks():
    """Empty values take options back."""
    with scratch("winetricks") as home, Origin() as origin:
        (home / "aria2.conf").write_text(
            f"input-file={home}/no-such\nsave-session={home}/session\nenable-rpc=true\ndaemon=true\n"
        )
        flags = [
            "--conf-path=aria2.conf",
            "--input-file=",
            "--save-session=",
            "--daemon=false",
            "--enable-rpc=false",
            "--continue",
            "--stream-piece-selector=geom",
            "--max-connection-per-server=5",
            "--dir",
            str(home),
            "--out",
            "setup.exe",
        ]
        code, output = run(home, *flags, origin.url + "/file/a.bin")
        check(code == 0, output)
        check(
            sha256(home / "setup.exe") == digest("a.bin") and not (home / "session").exists(),
            "not as asked",
        )


def pacman():
    """XferCommand: an absolute path as out, below the root as dir."""
    with scratch("pacman") as home, Origin() as origin:
        out = f"{home}/pkg/a.pkg.tar.zst.part"
        code, output = run(
            home,
            "--no-conf",
            "--allow-overwrite=true",
            "--continue=true",
            "--file-allocation=none",
            "--log-level=error",
            "--max-tries=2",
            "--max-connection-per-server=2",
            "--max-file-not-found=5",
            "--min-split-size=5M",
            "--remote-time=true",
            "--summary-interval=60",
            "--timeout=5",
            "--dir=/",
            "--out",
            out,
            origin.url + "/file/a.bin",
        )
        check(code == 0, output)
        check(sha256(out) == digest("a.bin"), "SHA-256 differs")


COMMANDS = {
    "yt-dlp": yt_dlp,
    "apt-fast-shaped": apt_fast,
    "Scoop-shaped": scoop,
    "winetricks-shaped": winetricks,
    "pacman-shaped": pacman,
}
