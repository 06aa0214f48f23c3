"""Brings axe-core, which checks that pages can be used by everybody, into `.tools`: `python tests/page/tools.py`."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

_VERSION = "4.14.1"
_SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
#: seconds that the download is given
_PATIENCE = 120

AXE = Path(__file__).parents[2] / ".tools" / f"axe-{_VERSION}.min.js"


def main() -> None:
    """Brings it where it is not there yet. What comes must be what was pinned."""
    if AXE.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, f"axe-core@{_VERSION}"]
        subprocess.run(command, cwd=folder, check=True, timeout=_PATIENCE)
        (file,) = Path(folder).glob("*.tgz")
        data = file.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != _SHA256:
        sys.exit(f"axe-core {_VERSION} has the checksum {found}, not {_SHA256}")
    with tarfile.open(fileobj=io.BytesIO(data)) as package:
        member = package.extractfile("package/axe.min.js")
        assert member is not None
        AXE.parent.mkdir(parents=True, exist_ok=True)
        scratch = AXE.with_suffix(".new")
        scratch.write_bytes(member.read())
        scratch.replace(AXE)


if __name__ == "__main__":
    main()
