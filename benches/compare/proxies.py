"""The contestants: what each is configured with, and how it starts. One worker each, keep-alive on both sides, no buffering."""
import http.client
import os
import ssl
import subprocess
import time

import processes


class Contestant:
    """A running proxy in front of the origin."""

    def __init__(self, name, directory, origin_port, case, binary, certificate):
        self.name, self.directory, self.routes, self.binary = name, directory, case.routes, binary
        self.tls, (self.cert, self.key) = case.tls, certificate
        self.origin, self.port, self.admin = f"127.0.0.1:{origin_port}", processes.free_port(), processes.free_port()
        os.makedirs(directory)
        log_path = os.path.join(directory, "output")
        with open(log_path, "w") as log:
            self.process = processes.start(self.command(), processes.PROXY_CORE, log, case.realtime)
        self.pid = self.process.pid
        self._await(log_path)

    def command(self):
        raise NotImplementedError

    def url(self, path):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def _await(self, log_path):
        """Ready when it passes on what the origin answers."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                connection = self._connection()
                connection.request("GET", "/ready")
                answer = connection.getresponse()
                if answer.status == 200 and len(answer.read()) == 200:
                    connection.close()
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
        with open(log_path) as log:
            raise SystemExit(f"{self.name} did not start:\n{log.read()[-3000:]}")

    def _connection(self):
        if not self.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        context = ssl.create_default_context(cafile=self.cert)
        return http.client.HTTPSConnection("localhost", self.port, timeout=1, context=context)

    def stop(self):
        processes.stop(self.process)


class Countersign(Contestant):
    """As an operator runs it: access log on, metrics on (they always are)."""

    def command(self):
        routes = "".join(
            f'          - {{ prefix: /r{i}, upstream: "http://{self.origin}/r{i}", auth: none }}\n' for i in range(self.routes))
        tls = f', tls: {{ certificates: [{{ cert: "{self.cert}", key: "{self.key}" }}] }}' if self.tls else ""
        path = self.write("countersign.yaml", f"""
server: {{ threads: 1, drain_timeout: 1s, max_connections: 20000 }}
logging: {{ level: error, access: {{ format: json, file: access.log }} }}
listeners: {{ plain: {{ address: "127.0.0.1:{self.port}", idle_timeout: 10m{tls} }} }}
admin: {{ address: "127.0.0.1:{self.admin}", state_dir: state }}
tokens_dir: tokens
projects:
  compare:
    upstream_policy: open
    environments:
      production:
        routes:
{routes}          - {{ prefix: /, upstream: "http://{self.origin}", auth: none }}
""")
        return [self.binary, "run", "-c", path]


class Nginx(Contestant):
    """Tuned for the same work, access log off: the anchor."""
    access_log = "off"

    def command(self):
        here = self.directory
        routes = "".join(f"    location /r{i}/ {{ proxy_pass http://origin; }}\n" for i in range(self.routes))
        temporary = "".join(f"  {kind}_temp_path {here}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        listen, tls = ("ssl http2", f"ssl_certificate {self.cert}; ssl_certificate_key {self.key};") if self.tls else ("", "")
        path = self.write("nginx.conf", f"""
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {here}/nginx.pid;
error_log {here}/error.log warn;
events {{ worker_connections 16384; }}
http {{
{temporary}  access_log {self.access_log.format(here=here)};
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_buffering off;
  proxy_request_buffering off;
  upstream origin {{ server {self.origin}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096 {listen};
    {tls}
    client_max_body_size 0;
{routes}    location / {{ proxy_pass http://origin; }}
  }}
}}
""")
        return ["nginx", "-p", here, "-c", path, "-e", f"{here}/error.log"]


class NginxLog(Nginx):
    """The anchor with an access log, written at each request as by default."""
    access_log = "{here}/access.log combined"


def certificate(directory):
    """A certificate for localhost and its key, made on the spot: ECDSA on P-256, as most have today."""
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    return cert, key


class Direct:
    """No proxy: the origin itself, for what the machine adds to a latency."""
    name, pid = "direct", None

    def __init__(self, port):
        self.port = port

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def stop(self):
        pass


KINDS = {"countersign": Countersign, "nginx": Nginx, "nginx-log": NginxLog}


def version(name, binary):
    if name == "countersign":
        command = [binary, "--version"]
    else:
        command = ["nginx", "-v"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()
