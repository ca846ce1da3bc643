"""The servers that are compared, each real and started here."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
BUILD = Path(os.environ.get("WEIR_BUILD") or SOURCE / os.environ.get("BUILD", "build"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weir" / "differential"
START_SECONDS_MAX = 20

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 2048; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    client_max_body_size 64m; client_body_buffer_size 256k; large_client_header_buffers 8 32k;
    proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} backlog=512;
        location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 4000
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend f
    bind 127.0.0.1:{port} backlog 512
    option http-buffer-request
    default_backend b
backend b
    server s 127.0.0.1:{backend}
"""

ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: f
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: ""}}, route: {{cluster: b, timeout: 60s}}}}]}}
          http_filters:
          - name: envoy.filters.http.buffer
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
              max_request_bytes: 67108864
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: b
    connect_timeout: 5s
    load_assignment:
      cluster_name: b
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def program(name):
    for folder in [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/usr/local/go/bin", str(Path(sys.executable).parent)]:
        if os.access(Path(folder) / name, os.X_OK):
            return str(Path(folder) / name)
    raise SystemExit(f"{name} is missing; run tools/setup differential")


class Servers:
    """Starts what is asked for; `ports` maps their names."""

    def __init__(self, names, folder):
        self.folder, self.children, self.ports = folder, [], {}
        try:
            for name in names:
                self.ports[name] = getattr(self, f"start_{name}")()
        except BaseException:
            self.close()
            raise

    def log_tail(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def start(self, name, *command):
        log = (self.folder / f"{name}.log").open("wb")
        child = subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=log, cwd=self.folder,
        )
        self.children.append((name, child))
        return child

    def printed_port(self, name, *command):
        line = self.start(name, *command).stdout.readline()
        assert line, f"{name} did not start: {self.log_tail(name)}"
        return int(line)

    def configured(self, name, text, *command):
        """One that reads its port from a file; proxies to the plain backend."""
        if not hasattr(self, "backend"):
            self.backend = self.printed_port("backend", sys.executable, HERE / "backends.py", "plain")
        port, path = free_port(), self.folder / f"{name}.yaml"  # Envoy goes by the ending
        path.write_text(text.format(port=port, backend=self.backend, folder=self.folder))
        child = self.start(name, *command, path)
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return port
            except OSError:
                assert child.poll() is None and time.monotonic() < until, self.log_tail(name)
                time.sleep(0.05)

    def start_weir(self):
        return self.printed_port("weir", BUILD / "tests" / "differential" / "differential-echo")

    def start_h11(self):
        return self.printed_port("h11", sys.executable, HERE / "backends.py", "h11")

    def start_go(self):
        source = HERE / "go_echo.go"
        binary = CACHE / f"go-echo-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
        if not binary.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            subprocess.run([program("go"), "build", "-o", binary, source], check=True)
        return self.printed_port("go", binary)

    def start_nginx(self):
        return self.configured("nginx", NGINX, program("nginx"), "-p", self.folder, "-c")

    def start_haproxy(self):
        return self.configured("haproxy", HAPROXY, program("haproxy"), "-db", "-f")

    def start_envoy(self):
        base = os.getpid() % 30000 + 1
        return self.configured("envoy", ENVOY, program("envoy"), "--concurrency", 1, "--base-id", base, "-l", "critical", "-c")

    def dead(self):
        return [name for name, child in self.children if child.poll() is not None]

    def close(self):
        for _, child in self.children:
            child.terminate()
        for _, child in self.children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()
