# What a program does with the tree, as a test says it line by line: a process
# must never use a mount that it serves itself.
import errno, os, select, sys

files, polls = {}, {}

def names(events):
    all = ((select.POLLIN, "IN"), (select.POLLPRI, "PRI"), (select.POLLOUT, "OUT"), (select.POLLERR, "ERR"), (select.POLLHUP, "HUP"))
    return "+".join(n for bit, n in all if events & bit) or "nothing"

def do(verb, name, *args):
    if verb == "open":  # NAME PATH FLAGS
        files[name] = os.open(args[0], getattr(os, args[1]))
    elif verb == "open-many":  # PATH COUNT
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(args[0]) + 100,) * 2)
        files[name] = [os.open(name, os.O_RDONLY) for _ in range(int(args[0]))]
    elif verb == "read-many":
        return ",".join(sorted({os.pread(f, 100, 0).decode().strip() for f in files[name]}))
    elif verb == "poll-many":
        e = select.epoll()
        for f in files[name]:
            e.register(f, select.EPOLLPRI)
        files["epoll"] = e
        return str(len(e.poll(0, len(files[name]) + 1)))
    elif verb == "wait-many":
        left, e = set(files[name]), files["epoll"]
        while left:
            for f, _ in e.poll(30, 1000):
                os.pread(f, 100, 0)
                left.discard(f)
    elif verb == "close-many":
        for f in files.pop(name):
            os.close(f)
    elif verb == "read":
        return os.pread(files[name], 4096, 0).decode().strip()
    elif verb == "rest":  # NAME OFFSET
        return os.pread(files[name], 4096, int(args[0])).decode().strip()
    elif verb == "write":
        return str(os.write(files[name], " ".join(args).encode()))
    elif verb == "close":
        os.close(files.pop(name))
    elif verb == "poll":  # NAME MILLISECONDS
        p = select.poll()
        p.register(files[name], select.POLLPRI | select.POLLIN | select.POLLOUT if args[1:] == ("OUT",) else select.POLLPRI | select.POLLIN)
        got = p.poll(int(args[0]))
        return names(got[0][1]) if got else "nothing"
    elif verb == "pri":  # NAME MILLISECONDS: as programs for sysfs GPIO do
        p = select.poll()
        p.register(files[name], select.POLLPRI | select.POLLERR)
        got = p.poll(int(args[0]))
        return names(got[0][1]) if got else "nothing"
    elif verb == "select":  # NAME SECONDS
        r, w, x = select.select([files[name]], [], [files[name]], float(args[0]))
        return "".join(("r" if r else "", "x" if x else "")) or "nothing"
    elif verb == "epoll":  # NAME SECONDS: edge-triggered
        if name not in polls:
            polls[name] = select.epoll()
            polls[name].register(files[name], select.EPOLLPRI | select.EPOLLET)
        got = polls[name].poll(float(args[0]))
        return names(got[0][1]) if got else "nothing"
    elif verb == "list":
        return " ".join(sorted(os.listdir(name)))
    elif verb == "link":
        return os.readlink(name)
    elif verb == "mode":
        s = os.stat(name)
        return "%o %d %d" % (s.st_mode & 0o777, s.st_uid, s.st_gid)
    elif verb == "uid":
        os.setegid(int(name)), os.seteuid(int(name))
    elif verb == "create":
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    elif verb == "remove":
        os.unlink(name)
    elif verb == "mkdir":
        os.mkdir(name)
    else:
        return "no such verb"
    return "ok"

for line in sys.stdin:
    try:
        print(do(*line.split()), flush=True)
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)
