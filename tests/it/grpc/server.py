"""A gRPC service without generated code: messages are octets. Prints its port, then what it notices."""
import threading
from concurrent import futures

import grpc


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-seen", metadata.get("x-sent", "-")), ("x-bin-bin", b"\x00\xff")))
    return b"unary:" + request


def server_stream(request, context):
    for index in range(5):
        yield request + str(index).encode()


def client_stream(requests, context):
    count = size = 0
    for request in requests:
        count += 1
        size += len(request)
    return f"{count}:{size}".encode()


def bidi(requests, context):
    for request in requests:
        yield b"echo:" + request


def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ümlaut")


def half(request, context):
    yield b"first"
    context.abort(grpc.StatusCode.DATA_LOSS, "lost on the way")


def slow(request, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    print("slow began", flush=True)
    if gone.wait(20):
        print("slow cancelled", flush=True)
    return b"late"


rpc = grpc
handlers = {
    "Unary": rpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": rpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": rpc.stream_unary_rpc_method_handler(client_stream),
    "Bidi": rpc.stream_stream_rpc_method_handler(bidi),
    "Fail": rpc.unary_unary_rpc_method_handler(fail),
    "Half": rpc.unary_stream_rpc_method_handler(half),
    "Slow": rpc.unary_unary_rpc_method_handler(slow),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
