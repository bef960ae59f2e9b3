"""A throw-away virtual environment for the peers' scripts, outside the checkout.

`enter("torch", "torch==2.11.0", "numpy")` makes (once) the environment `torch` with those packages and starts the
calling script again in it. It lies under $CAROM_PEERS_DIR, else ~/.cache/carom/peers; delete that folder to remove it.
"""

import os
import subprocess
import sys
import venv
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PEERS_DIR = Path(os.environ.get("CAROM_PEERS_DIR") or CACHE / "carom" / "peers").resolve()
TORCH = ("torch==2.11.0", "numpy", "gymnasium", "minatar")


def enter(name: str, *packages: str) -> None:
    """Return inside the environment `name`, with all `packages` installed."""
    home = PEERS_DIR / f"{name}-py{sys.version_info.major}.{sys.version_info.minor}"
    if Path(sys.prefix) != home:
        python, whole = home / "bin" / "python", home / "whole"
        # Written last: an environment that was cut off has no pip.
        if not whole.exists():
            print(f"making {home}", file=sys.stderr)
            venv.create(home, with_pip=True, clear=True)
            whole.touch()
        os.execv(python, [str(python), *sys.argv])
    missing = [package for package in packages if not installed(package)]
    if missing:
        print(f"installing {', '.join(missing)} into {home}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True, stdout=sys.stderr)


def installed(package: str) -> bool:
    """Whether `name` or `name==version` is there."""
    name, _, wanted = package.partition("==")
    try:
        found = version(name)
    except PackageNotFoundError:
        return False
    return not wanted or found.split("+")[0] == wanted
