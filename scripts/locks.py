"""A lock on a folder that goes with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import TracebackType

BUSY = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK)


class FolderLock:
    """Holds a folder for this process alone, until `release`, the end of a ``with`` or of the process.

    On POSIX systems the folder itself is locked, so that no file is left behind; on Windows a file in it.

    Raises:
        BlockingIOError: another process holds the folder.
        OSError: it is missing, or its file system knows no locks.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = -1
        if sys.platform == "win32":
            descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_TEMPORARY)
        else:
            descriptor = os.open(folder, os.O_RDONLY)
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                    raise FileNotFoundError(errno.ENOENT, "the folder was replaced", str(folder))
        except OSError as error:
            os.close(descriptor)
            if error.errno in BUSY:
                raise BlockingIOError(error.errno, "another process holds the folder", str(folder)) from error
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go of the folder."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()
