"""Be somebody without rights for a while, whoever runs the tests."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def other_user() -> Iterator[None]:
    """Give up root's rights inside; a user who is not root has none to give up."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def public_folder() -> Iterator[Path]:
    """Yield a folder that every user may enter and none but its owner write into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def umask(value: int) -> Iterator[None]:
    """Set the umask inside."""
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)
