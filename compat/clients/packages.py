"""What the clients come from: PyPI packages in the environment that runs this, npm packages in
target/npm."""

import json
import shutil
import subprocess
import sys

from lib import ROOT

NPM = ROOT / "target" / "npm"
ARIA2P = "aria2p==0.12.3"
PYTHON_PACKAGES = [
    ARIA2P.replace("==", "[tui]=="),
    "aioaria2==1.3.7",
    "yt-dlp==2026.10.26",
    # Of Persepolis, whose package has the rest.
    "PyQt5==5.15.11",
    # What aria2p's own tests need.
    "fastapi",
    "griffe",
    "mkdocstrings",
    "psutil",
    "pytest",
    "pytest-xdist",
    "responses",
    "uvicorn",
]
NPM_PACKAGES = {"aria2": "4.1.2", "maria2": "0.4.1", "libaria2-ts": "1.0.91"}


def install():
    """Installs what is missing."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *PYTHON_PACKAGES], check=True)
    if all(npm_version(name) == version for name, version in NPM_PACKAGES.items()):
        return
    NPM.mkdir(parents=True, exist_ok=True)
    (NPM / "package.json").write_text('{"private": true}\n')
    npm = shutil.which("npm") or sys.exit("npm is not installed")
    wanted = [f"{name}@{version}" for name, version in NPM_PACKAGES.items()]
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run([npm, "install", *quiet, *wanted], cwd=NPM, check=True)


def npm_version(name):
    try:
        return json.loads((NPM / "node_modules" / name / "package.json").read_text())["version"]
    except (OSError, ValueError):
        return None
