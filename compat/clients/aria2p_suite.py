"""aria2p's own test suite, from its source distribution, with the program under test as `aria2c`."""

import os
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree

from lib import WORK, check, quiet_environment, scratch
from packages import ARIA2P

# Tests that need what is not built yet. Of the others aria2p itself skips four: two that want a
# clipboard, two that want files which only a documentation build makes.
EXCEPTED = {
    "BitTorrent": {
        "test_api::test_add_magnet_method",
        "test_api::test_add_torrent_method",
        "test_cli::test_add_magnet_subcommand",
        "test_cli::test_add_torrent_subcommand",
        "test_client::test_add_torrent_method",
        "test_client::test_add_uri_method",
        "test_interface::test_follow_focused",
    },
    "Metalink": {
        "test_api::test_add_metalink_method",
        "test_cli::test_add_metalink_subcommand",
        "test_client::test_add_metalink_method",
    },
}
TESTS_MIN = 600


def source():
    """The unpacked source distribution."""
    home = WORK / ARIA2P.replace("==", "-")
    if not (home / "tests").is_dir():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        WORK.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [*pip, "--no-deps", "--no-binary=aria2p", f"--dest={WORK}", ARIA2P], check=True
        )
        with tarfile.open(WORK / f"{home.name}.tar.gz") as archive:
            archive.extractall(WORK)
    return home


def outcomes(home, work, environment, *args):
    """(passed, skipped, {id: failure}) of a run of pytest."""
    report = work / "report.xml"
    # Its own configuration measures coverage and shuffles.
    pytest = [sys.executable, "-m", "pytest", "-c", os.devnull, f"--rootdir={home}", "-q"]
    quiet = [
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
        f"--basetemp={work}/tmp",
        f"--junitxml={report}",
    ]
    run = subprocess.run(
        [*pytest, *quiet, *args],
        cwd=home,
        env=environment,
        timeout=400,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    check(report.exists(), run.stdout[-3000:])
    passed, skipped, failures = 0, 0, {}
    for case in ElementTree.parse(report).iter("testcase"):
        module = re.search(r"test_\w+", case.get("classname", ""))
        name = f"{module[0] if module else ''}::{case.get('name')}"
        failure = case.find("failure") if case.find("failure") is not None else case.find("error")
        if failure is not None:
            failures[name] = (failure.text or failure.get("message") or "").strip()
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, skipped, failures


def aria2p_suite(binary, missing):
    """Runs it all; what fails is tried once more, alone, since many tests are races with a clock."""
    home = source()
    with scratch("aria2p-suite") as work:
        (work / "bin").mkdir()
        (work / "bin" / "aria2c").symlink_to(binary.path)
        environment = quiet_environment(work)
        environment.update(CI="1", PATH=f"{work}/bin:{os.environ['PATH']}")
        passed, skipped, failures = outcomes(home, work, environment, "-n", "4", "tests")
        excepted = set().union(*(EXCEPTED[feature] for feature in missing))
        again = {name.partition("::")[2] for name in failures if name not in excepted}
        if again:
            plain = sorted({name.partition("[")[0] for name in again})
            again_passed, _, failures_again = outcomes(
                home, work, environment, "-n", "0", "-k", " or ".join(plain), "tests"
            )
            lasting = set(failures) & set(failures_again) - excepted
            details = "\n".join(
                f"{name}: {failures_again[name][-1500:]}" for name in sorted(lasting)
            )
            check(not lasting, details)
    left_out = excepted & set(failures)
    check(passed + len(left_out) + len(again) >= TESTS_MIN, f"only {passed} tests have passed")
    note = f"{passed + len(again)} passed, {skipped} skipped by aria2p itself"
    if again:
        note += f", on the second try: {', '.join(sorted(again))}"
    if left_out:
        note += f", excepted until issues 7 and 8: {', '.join(sorted(left_out))}"
    return note
