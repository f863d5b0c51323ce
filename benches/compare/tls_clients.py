"""Clients that stay, over TLS: opens COUNT connections, one request on each, then holds them until its input ends.

Says {"open":N} when all have had their answer, and {"alive":N} at the end, as `streams idle` does. Usage: tls_clients.py PORT COUNT
"""
import json
import resource
import select
import socket
import ssl
import sys


def connect(context, port):
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    client = context.wrap_socket(plain, server_hostname="localhost")
    client.sendall(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
    got = b""
    while b"\r\n\r\n" not in got or len(got) < got.index(b"\r\n\r\n") + 4 + 200:
        piece = client.recv(4096)
        if not piece:
            raise OSError("closed before its answer was whole")
        got += piece
    return client


def is_alive(client):
    """An idle connection has nothing to read; one that was closed has its end."""
    poll = select.poll()
    poll.register(client, select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 100), hard))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    clients = [connect(context, port) for _ in range(count)]
    print(json.dumps({"open": len(clients)}), flush=True)
    sys.stdin.read()
    print(json.dumps({"alive": sum(map(is_alive, clients))}), flush=True)


if __name__ == "__main__":
    main()
