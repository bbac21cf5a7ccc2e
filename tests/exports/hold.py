"""A server that takes uploads and replies to none before the file DIRECTORY/go exists.

Usage: hold.py DIRECTORY

Writes its port to DIRECTORY/port, and the body of a request to DIRECTORY/received once it has all of it. Then it replies as the CDN
does, first with 503 and Retry-After if DIRECTORY/busy exists, or with the JSON and the status in DIRECTORY/reply.
"""

import os
import pathlib
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

directory = pathlib.Path(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        (directory / "new").write_bytes(body)
        os.replace(directory / "new", directory / "received")
        deadline = time.monotonic() + 60
        while not (directory / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        busy, odd = directory / "busy", directory / "reply"
        if odd.exists():
            status, body = odd.read_bytes().split(b"\n", 1)
            self.reply(int(status), body, {})
        elif busy.exists():
            busy.unlink()
            self.reply(503, b'{"error":"Server busy"}', {"Retry-After": "1"})
        else:
            self.reply(200, b'{"status":"success","url":"http://held/p/d/ap5/AbCdEf.png","expires_at":"2026-04-12"}', {})

    def reply(self, status, body, headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
(directory / "port.new").write_text(str(server.server_port))
os.replace(directory / "port.new", directory / "port")
server.serve_forever()
