"""A server that takes uploads and answers none of them before the file DIRECTORY/go is there.

Usage: hold.py DIRECTORY

Writes its port to DIRECTORY/port, and the body of a request to DIRECTORY/received once it is there as a whole. Then it answers as the
CDN does, first with 503 and Retry-After where DIRECTORY/busy is.
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
        busy = directory / "busy"
        if busy.exists():
            busy.unlink()
            self.reply(503, '{"error":"Server busy"}', {"Retry-After": "1"})
        else:
            self.reply(200, '{"status":"success","url":"http://held/p/d/ap5/AbCdEf.png","expires_at":"2025-05-12"}', {})

    def reply(self, status, body, headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
(directory / "port.new").write_text(str(server.server_port))
os.replace(directory / "port.new", directory / "port")
server.serve_forever()
