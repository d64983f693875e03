"""Takes the power of nodes away, all at once: power.py PID:MOUNT_POINT...

The processes die first. A sync that they have under way when an ext4 file system is shut down may
report success for what is lost, and they must not pass that on. Then each file system drops what is not
on its disk, uncommitted transactions of its journal included. It is an error if one can still be written.
"""

import errno
import fcntl
import os
import signal
import struct
import sys

# EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH of Linux' fs/ext4/ext4.h.
SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)

nodes = [argument.split(":", 1) for argument in sys.argv[1:]]
disks = [os.open(mount_point, os.O_RDONLY) for _, mount_point in nodes]
for pid, _ in nodes:
    os.kill(int(pid), signal.SIGKILL)
for disk in disks:
    fcntl.ioctl(disk, SHUTDOWN, NO_LOG_FLUSH)
for _, mount_point in nodes:
    try:
        os.open(os.path.join(mount_point, "probe"), os.O_CREAT | os.O_WRONLY)
    except OSError as error:
        if error.errno == errno.EIO:
            continue
        raise
    sys.exit(f"{mount_point} can still be written after it was shut down")
