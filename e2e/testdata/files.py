"""What an ordinary program does with pins: open, read, write, poll.

files.py read FILE            prints the value, or the name of the error
files.py write FILE VALUE     prints ok, or the name of the error
files.py watch FILE N         polls: prints "waits", then the value after each of N wake-ups
files.py select FILE          the same once, by select(2)
files.py epoll FILE           the same once, by an edge-triggered epoll(7)
files.py hold FILE            opens it, prints "open", reads again at each line of its input
"""
import errno
import os
import select
import sys


def name(e):
    return errno.errorcode.get(e.errno, str(e.errno))


def value(fd):
    return os.pread(fd, 256, 0).decode().strip()


def read(file):
    fd = os.open(file, os.O_RDONLY)
    try:
        print(value(fd))
    finally:
        os.close(fd)


def write(file, text):
    fd = os.open(file, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(fd, (text + "\n").encode())
    finally:
        os.close(fd)
    print("ok")


def watch(file, n):
    fd = os.open(file, os.O_RDONLY)
    value(fd)  # what is there already does not count
    p = select.poll()
    p.register(fd, select.POLLPRI | select.POLLERR)
    print("waits", flush=True)
    for _ in range(int(n)):
        events = p.poll()
        assert events[0][1] & select.POLLPRI, events
        print("woke", value(fd), flush=True)


def by_select(file):
    fd = os.open(file, os.O_RDONLY)
    value(fd)
    print("waits", flush=True)
    _, _, urgent = select.select([], [], [fd])
    print("woke", value(urgent[0]), flush=True)


def by_epoll(file):
    fd = os.open(file, os.O_RDONLY)
    value(fd)
    e = select.epoll()
    e.register(fd, select.EPOLLPRI | select.EPOLLET)
    print("waits", flush=True)
    e.poll()
    print("woke", value(fd), flush=True)


def hold(file):
    fd = os.open(file, os.O_RDONLY)
    print("open", flush=True)
    for _ in sys.stdin:
        try:
            print(value(fd), flush=True)
        except OSError as e:
            print(name(e), flush=True)


if __name__ == "__main__":
    do = {"read": read, "write": write, "watch": watch, "select": by_select, "epoll": by_epoll, "hold": hold}
    try:
        do[sys.argv[1]](*sys.argv[2:])
    except OSError as e:
        print(name(e))
