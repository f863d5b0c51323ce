"""Processes: starting them on a core, their CPU clocks and memory, ending them by their id."""
import atexit
import os
import random
import signal
import socket
import subprocess
import time

MIB = 1 << 20
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, LOAD_CORE = CORES[0], CORES[1 % len(CORES)]
_started = []


def free_port():
    """A port below the ephemeral range, so that no outgoing connection takes it before its listener does."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def placed(core, realtime):
    """For a new process: its core; real-time where latency is measured, so that neighbours do not show in it."""
    def place():
        os.sched_setaffinity(0, {core})
        if realtime and os.geteuid() == 0:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return place


def start(command, core, log, realtime=False):
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               preexec_fn=placed(core, realtime), start_new_session=True)
    _started.append(process)
    return process


def stop(process):
    """Ends a process and what it started, asking first."""
    family = tree(process.pid)
    for number, patience in ((signal.SIGINT, 3.0), (signal.SIGKILL, 3.0)):
        for pid in family:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if process.poll() is not None:
                return
            time.sleep(0.01)


@atexit.register
def stop_all():
    while _started:
        process = _started.pop()
        if process.poll() is None:
            stop(process)


def tree(pid):
    """The process and everything below it."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as children:
                    found += [int(child) for child in children.read().split()]
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    """CPU time of the tree, from the kernel's process clocks: nanoseconds, ended threads included."""
    total = 0.0
    for member in tree(pid):
        try:
            total += time.clock_gettime((~member << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
        except OSError:
            pass
    return total


def pss(pid):
    """Bytes of memory that the tree holds; a page that several share is counted once."""
    return sum(_field(member, "smaps_rollup", "Pss:") for member in tree(pid))


def forget_peak(pid):
    for member in tree(pid):
        with open(f"/proc/{member}/clear_refs", "w") as refs:
            refs.write("5")


def peak_rss(pid):
    """The most resident memory since `forget_peak`, in bytes."""
    return sum(_field(member, "status", "VmHWM:") for member in tree(pid))


def rss(pid):
    return sum(_field(member, "status", "VmRSS:") for member in tree(pid))


def _field(pid, file, name):
    try:
        with open(f"/proc/{pid}/{file}") as lines:
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
    except OSError:
        return 0


def machine():
    """What the figures belong to."""
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as info:
        memory = int(info.readline().split()[1]) * 1024
    system = os.uname()
    return {"cpu": model, "cores": len(CORES), "memory_gib": round(memory / 2**30, 1), "kernel": system.release,
            "load_average": os.getloadavg()[0], "proxy_core": PROXY_CORE, "load_core": LOAD_CORE}
