"""Calls every kind of method through the edge; one line for each that is as it should be, an exception for the first that is not."""
import sys
import threading
import time

import grpc

channel = grpc.insecure_channel(sys.argv[1])


def method(kind, name):
    return getattr(channel, kind)("/test.Echo/" + name, _registered_method=False)


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r} instead of {wanted!r}")
    print(what, flush=True)


answer, call = method("unary_unary", "Unary").with_call(b"hello", metadata=(("x-sent", "yes"),), timeout=10)
expect("unary", answer, b"unary:hello")
trailers = dict(call.trailing_metadata())
expect("trailers", (trailers.get("x-seen"), trailers.get("x-bin-bin")), ("yes", b"\x00\xff"))

expect("empty", method("unary_unary", "Unary")(b"", timeout=10), b"unary:")
large = b"x" * 3_000_000
expect("large", method("unary_unary", "Unary")(large, timeout=20), b"unary:" + large)
expect("server stream", list(method("unary_stream", "ServerStream")(b"s", timeout=10)), [b"s0", b"s1", b"s2", b"s3", b"s4"])
expect("client stream", method("stream_unary", "ClientStream")((b"x" * 1000 for _ in range(200)), timeout=10), b"200:200000")

turn = threading.Semaphore(0)


def questions():
    for index in range(5):
        yield str(index).encode()
        turn.acquire()


answers = []
for answer in method("stream_stream", "Bidi")(questions(), timeout=10):
    answers.append(answer)
    turn.release()
expect("bidi", answers, [b"echo:%d" % index for index in range(5)])


def failing(run):
    try:
        run()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return None


expect("trailers only", failing(lambda: method("unary_unary", "Fail")(b"", timeout=10)),
       (grpc.StatusCode.FAILED_PRECONDITION, "not today: ümlaut"))
seen = []
expect("error after a message", failing(lambda: seen.extend(method("unary_stream", "Half")(b"", timeout=10))),
       (grpc.StatusCode.DATA_LOSS, "lost on the way"))
expect("unimplemented", failing(lambda: method("unary_unary", "Nothing")(b"", timeout=10))[0], grpc.StatusCode.UNIMPLEMENTED)
began = time.monotonic()
code, _ = failing(lambda: method("unary_unary", "Slow")(b"", timeout=1))
expect("deadline", (code, time.monotonic() - began < 5), (grpc.StatusCode.DEADLINE_EXCEEDED, True))
future = method("unary_unary", "Slow").future(b"")
time.sleep(0.2)
future.cancel()
expect("cancel", future.cancelled(), True)
expect("afterwards", method("unary_unary", "Unary")(b"again", timeout=10), b"unary:again")
print("done", flush=True)
