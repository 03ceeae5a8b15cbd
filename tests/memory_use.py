"""What a process's memory grows by."""

import gc


def anonymous() -> int:
    """Bytes of this process that lie in memory and belong to no file: those of a library come and go."""
    with open("/proc/self/statm") as file:
        pages = [int(word) for word in file.read().split()]
    return (pages[1] - pages[2]) * 4096


def grown(cycle, *, before, cycles):
    """Bytes that the process grows by in ``cycles`` of something, after some to warm up."""
    for _ in range(before):
        cycle()
    gc.collect()
    start = anonymous()
    for _ in range(cycles):
        cycle()
    gc.collect()
    return anonymous() - start
