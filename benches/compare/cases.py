"""The cases: what is asked of a contestant, and what it cost."""
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import processes
from processes import MIB

HERE = os.path.dirname(os.path.abspath(__file__))
GIB = 1 << 30


@dataclass
class Case:
    """One line of the table (or more: a case may have several figures)."""
    name: str
    why: str
    run: object               # (bench, contestant) -> {figure: value}
    figures: dict             # figure -> (what it is, the aim for ours/nginx or an absolute one as text)
    also: tuple = ()          # contestants beside countersign and nginx
    routes: int = 0
    realtime: bool = False
    tls: bool = False         # clients come by TLS
    fresh: bool = False       # a new process each round: memory is measured


class Failed(Exception):
    """The run is not worth a figure: a request failed, or a connection was lost."""


def wrk(bench, contestant, path, connections, routes=0, upload=0, headers=()):
    """A closed loop of requests, kept alive unless a header says otherwise; CPU of the contestant in the same window."""
    fields = [part for field in headers for part in ("-H", field)]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{bench.seconds}s", "-s", os.path.join(HERE, "load.lua"), *fields,
               contestant.url(path), "--", str(routes), str(upload)]
    before = processes.cpu_seconds(contestant.pid)
    done = subprocess.run(command, capture_output=True, text=True, check=True,
                          preexec_fn=processes.placed(processes.LOAD_CORE, False))
    cpu = processes.cpu_seconds(contestant.pid) - before
    counted = json.loads(done.stdout.splitlines()[-1])
    if counted["errors"] or not counted["requests"]:
        raise Failed(f"{counted['errors']} errors in {counted['requests']} requests")
    return counted, cpu


def requests(path, connections, routes=0):
    def run(bench, contestant):
        counted, cpu = wrk(bench, contestant, path, connections, routes)
        return {"cpu_us_per_request": cpu / counted["requests"] * 1e6, "requests_per_s": counted["requests"] / bench.seconds}
    return run


def handshakes(connections):
    """A connection for each request: what remains of the time is the handshake. wrk resumes its sessions by tickets."""
    def run(bench, contestant):
        counted, cpu = wrk(bench, contestant, "/small", connections, headers=["Connection: close"])
        return {"cpu_us_per_handshake": cpu / counted["requests"] * 1e6, "handshakes_per_s": counted["requests"] / bench.seconds}
    return run


def multiplexed(connections, streams):
    """HTTP/2, so many streams at once on each connection."""
    def run(bench, contestant):
        command = ["h2load", f"--duration={bench.seconds}", "-t1", f"-c{connections}", f"-m{streams}", "--warm-up-time=0",
                   contestant.url("/small")]
        before = processes.cpu_seconds(contestant.pid)
        done = subprocess.run(command, capture_output=True, text=True, check=True,
                              preexec_fn=processes.placed(processes.LOAD_CORE, False))
        cpu = processes.cpu_seconds(contestant.pid) - before
        told = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout)
        if not told or "Application protocol: h2" not in done.stdout:
            raise Failed("h2load says: " + done.stdout[-300:])
        finished, succeeded = int(told[1]), int(told[2])
        if not finished or succeeded != finished:
            raise Failed(f"{succeeded} of {finished} requests succeeded")
        return {"cpu_us_per_request": cpu / finished * 1e6, "requests_per_s": finished / bench.seconds}
    return run


def uploads(size, connections):
    def run(bench, contestant):
        counted, cpu = wrk(bench, contestant, "/up", connections, upload=size)
        sent = counted["requests"] * size
        return {"cpu_s_per_gib": cpu / (sent / GIB), "gib_per_s": sent / GIB / bench.seconds}
    return run


def bodies(size, connections):
    def run(bench, contestant):
        counted, cpu = wrk(bench, contestant, f"/b/{size}", connections)
        return {"cpu_s_per_gib": cpu / (counted["bytes"] / GIB), "gib_per_s": counted["bytes"] / GIB / bench.seconds}
    return run


class Streams:
    """The client that stays, running."""

    def __init__(self, bench, mode, contestant, count, path, rate=0, realtime=False):
        self.count = count
        self.process = subprocess.Popen([bench.streams, mode, str(contestant.port), str(count), path, str(rate)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        preexec_fn=processes.placed(processes.LOAD_CORE, realtime))

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise Failed("the client of the streams ended")
        return json.loads(text)

    def opened(self):
        opened = self.line()["open"]
        if opened != self.count:
            raise Failed(f"{opened} of {self.count} connections opened")

    def end(self):
        self.process.stdin.close()
        alive = self.line()["alive"]
        if alive != self.count:
            raise Failed(f"{self.count - alive} of {self.count} connections were closed")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class TlsClients(Streams):
    """Clients that stay, over TLS."""

    def __init__(self, contestant, count):
        self.count = count
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "tls_clients.py"), str(contestant.port), str(count)],
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        preexec_fn=processes.placed(processes.LOAD_CORE, False))


def events(streams, micros, size):
    def run(bench, contestant):
        with Streams(bench, "sse", contestant, streams, f"/sse/{micros}/{size}", bench.seconds, realtime=True) as client:
            client.opened()
            before = processes.cpu_seconds(contestant.pid) if contestant.pid else 0
            client.process.stdin.write("go\n")
            client.process.stdin.flush()
            seen = client.line()
            cpu = processes.cpu_seconds(contestant.pid) - before if contestant.pid else 0
        expected = streams * bench.seconds * 1e6 / micros
        if seen["streams"] != streams or not 0.9 * expected < seen["events"] < 1.1 * expected:
            raise Failed(f"{seen['events']} events on {seen['streams']} streams, about {expected:.0f} on {streams} expected")
        figures = {"p50_us": seen["p50_us"], "p99_us": seen["p99_us"]}
        if contestant.pid:
            figures["cpu_us_per_event"] = cpu / seen["events"] * 1e6
        return figures
    return run


def idle(count):
    """Memory of keep-alive clients that have had an answer and say nothing; warmed up first, so that pools are filled."""
    def run(bench, contestant):
        wrk(bench, contestant, "/small", 64)
        settle()
        before = processes.pss(contestant.pid)
        with Streams(bench, "idle", contestant, count, "/small") as client:
            client.opened()
            settle()
            held = processes.pss(contestant.pid)
            client.end()
        return {"kib_per_client": max(0, held - before) / 1024 / count}
    return run


def idle_tls(count):
    """The same over TLS: the client is a Python process that holds the connections open."""
    def run(bench, contestant):
        wrk(bench, contestant, "/small", 64)
        settle()
        before = processes.pss(contestant.pid)
        with TlsClients(contestant, count) as clients:
            clients.opened()
            settle()
            held = processes.pss(contestant.pid)
            clients.end()
        return {"kib_per_client": max(0, held - before) / 1024 / count}
    return run


def slow_readers(count, size, rate):
    """The most memory held for clients that read a large body slowly."""
    def run(bench, contestant):
        wrk(bench, contestant, "/small", 64)
        settle()
        before = processes.rss(contestant.pid)
        processes.forget_peak(contestant.pid)
        with Streams(bench, "slow", contestant, count, f"/b/{size}", rate) as client:
            client.opened()
            time.sleep(bench.seconds)
            peak = processes.peak_rss(contestant.pid)
            client.end()
        return {"kib_per_reader": max(0, peak - before) / 1024 / count}
    return run


def settle():
    time.sleep(0.5)


def cpu_per_request(aim):
    return {"cpu_us_per_request": ("CPU per request, µs", aim)}


CASES = [
    Case("small", "200-byte answers, 64 keep-alive connections, closed loop", requests("/small", 64), cpu_per_request(1.6),
         also=("nginx-log",)),
    Case("body-64k", "64 KiB answers, 16 connections", bodies(64 * 1024, 16), {"cpu_s_per_gib": ("CPU per GiB, s", 0.6)}),
    Case("body-10m", "10 MiB answers, 4 connections", bodies(10 * MIB, 4), {"cpu_s_per_gib": ("CPU per GiB, s", 0.7)}),
    Case("up-10m", "10 MiB uploads, 4 connections", uploads(10 * MIB, 4), {"cpu_s_per_gib": ("CPU per GiB, s", 0.7)}),
    Case("tls-small", "as small, over TLS", requests("/small", 64), cpu_per_request(1.6), tls=True),
    Case("tls-new", "a new TLS connection for each request, 16 at once", handshakes(16),
         {"cpu_us_per_handshake": ("CPU per handshake, µs", 1.0)}, tls=True),
    Case("tls-10m", "10 MiB answers over TLS, 4 connections", bodies(10 * MIB, 4), {"cpu_s_per_gib": ("CPU per GiB, s", 1.0)}, tls=True),
    Case("tls-up-10m", "10 MiB uploads over TLS, 4 connections", uploads(10 * MIB, 4), {"cpu_s_per_gib": ("CPU per GiB, s", 1.0)},
         tls=True),
    Case("h2", "200-byte answers over HTTP/2, 8 connections with 16 streams each", multiplexed(8, 16), cpu_per_request(1.6), tls=True),
    Case("sse", "200 event streams, 100 bytes every 50 ms each", events(200, 50_000, 100),
         {"cpu_us_per_event": ("CPU per event, µs", 1.1), "p50_us": ("latency p50, µs", None),
          "p99_us": ("latency p99, µs", None)}, also=("direct",), realtime=True),
    Case("idle", "5,000 idle keep-alive clients", idle(5000), {"kib_per_client": ("memory per client, KiB", "4 KiB")}, fresh=True),
    Case("tls-idle", "5,000 idle keep-alive clients over TLS", idle_tls(5000), {"kib_per_client": ("memory per client, KiB", "16 KiB")},
         fresh=True, tls=True),
    Case("slow", "200 slow readers of a 64 MiB body", slow_readers(200, 64 * MIB, 100_000),
         {"kib_per_reader": ("memory per reader, KiB", "64 KiB")}, fresh=True),
    Case("routes-1", "one prefix route", requests("/", 64, 1), cpu_per_request(None), routes=1),
    Case("routes-10k", "10,000 prefix routes, requests spread evenly", requests("/", 64, 10_000), cpu_per_request(None), routes=10_000),
]
