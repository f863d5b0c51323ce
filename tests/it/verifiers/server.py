"""An upstream that verifies with verifiers/python: `python3 server.py TOKEN…`. The first segment of the path says the scheme.

Says `listening PORT`, then answers 200 with who calls as JSON, or 401. WSGI, over the server of the standard library, which
is told to pass the request's target on as gunicorn does.
"""

import json
import pathlib
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "verifiers" / "python"))
from countersign import SCHEMES, Verifier, Wsgi  # noqa: E402

VERIFIERS = {scheme: Verifier(scheme, tokens=sys.argv[1:], project="demo", app_id="1001") for scheme in SCHEMES}


class Handler(WSGIRequestHandler):
    def get_environ(self):
        return dict(super().get_environ(), RAW_URI=self.path)

    def log_message(self, *_):
        pass


def inner(environ, start_response):
    identity = environ["countersign"]
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps({"user": identity.user, "name": identity.name}).encode("ascii")]


def app(environ, start_response):
    scheme = environ["RAW_URI"].split("/")[1].split("?")[0]
    return Wsgi(inner, VERIFIERS[scheme])(environ, start_response)


server = make_server("127.0.0.1", 0, app, handler_class=Handler)
print("listening", server.server_port, flush=True)
server.serve_forever()
