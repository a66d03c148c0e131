"""A proxy in front of an emulator, which stops, refuses or changes chosen calls."""

import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# S3 names no action: its calls are told apart by method and path.
S3 = {"GET0": "ListBuckets", "HEAD1": "HeadBucket", "HEAD2": "HeadObject", "PUT1": "CreateBucket", "PUT2": "PutObject"}
# Of a bucket, by what its query names.
PARTS = {"tagging": "BucketTagging", "publicAccessBlock": "BucketPublicAccessBlock"}


class Proxy:
    """Forwards to `upstream`. Give it, by action: what to call before, what after, and how to change the answer."""

    def __init__(self, upstream: str):
        self.upstream = upstream.rstrip("/")
        self.seen: list[str] = []
        self.before: dict = {}
        self.after: dict = {}
        self.refused: set[str] = set()
        self.change: dict = {}
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                proxy.forward(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def forward(self, handler: BaseHTTPRequestHandler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        action = action_of(handler, body)
        self.seen.append(action)
        if hook := self.before.get(action):
            hook()
        if action in self.refused:
            service = "s3" if "Bucket" in action or "Object" in action else "cloudformation"
            text = f"User: arn:aws:iam::1:user/u is not authorized to perform: {service}:{action} on resource: it"
            answer = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{text}</Message></Error></ErrorResponse>"
            self.answer(handler, 403, {}, answer.encode())
            return
        request = urllib.request.Request(self.upstream + handler.path, data=body or None, method=handler.command)
        for name, value in handler.headers.items():
            if name.lower() not in ("connection", "expect"):
                request.add_header(name, value)
        try:
            with self._opener.open(request, timeout=120) as reply:
                status, headers, content = reply.status, dict(reply.headers), reply.read()
        except urllib.error.HTTPError as error:
            status, headers, content = error.code, dict(error.headers), error.read()
        if hook := self.after.get(action):
            hook()
        if change := self.change.get(action):
            content = change(content)
        self.answer(handler, status, headers, content)

    def answer(self, handler, status: int, headers: dict, content: bytes):
        try:
            handler.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    handler.send_header(name, value)
            length = headers.get("Content-Length", "0") if handler.command == "HEAD" else str(len(content))
            handler.send_header("Content-Length", length)
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(content)
        except OSError:
            pass  # The client was killed, as it was meant to be.


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # A client that was killed says no goodbye.


def action_of(handler, body: bytes) -> str:
    """Which call it is."""
    if target := handler.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    if found := re.search(rb"(?:^|&)Action=(\w+)", body):
        return found.group(1).decode()
    path = urllib.parse.urlparse(handler.path)
    parts = len([part for part in path.path.split("/") if part])
    if parts == 1 and path.query in PARTS:
        return handler.command.capitalize() + PARTS[path.query]
    if parts == 0 and handler.command == "GET":
        return S3["GET0"]
    return path.query or S3.get(f"{handler.command}{min(parts, 2)}", handler.command)
