"""The program under test, reached as nginx reaches it, and the Python that has the encoders."""

import os
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target/test-tools"
CLIENT = "images"


def use_tools(script):
    """Runs `script` again with the Python that has Pillow and pypng, which are installed into target/test-tools where they are missing."""
    name = Path(script).name
    python = TOOLS / "bin/python"
    if Path(sys.prefix).resolve() == TOOLS.resolve():
        sys.exit(f"{name}: Pillow or pypng cannot be imported from {TOOLS}")
    if not (TOOLS / "encoders").exists():
        try:
            if not python.exists():
                subprocess.run([sys.executable, "-m", "venv", TOOLS], check=True)
            subprocess.run([python, "-m", "pip", "-q", "install", "pillow", "pypng"], check=True)
        except (OSError, subprocess.CalledProcessError):
            print(f"{name}: skipped: Pillow and pypng cannot be installed here")
            sys.exit(77)
        (TOOLS / "encoders").touch()
    os.execv(python, [python, script, *sys.argv[1:]])


def program(argument):
    """The program that is named, or the one that was built."""
    built = [ROOT / "target" / profile / "corenexis-cdn" for profile in ("release", "debug")]
    found = Path(argument) if argument else next((path for path in built if path.exists()), None)
    if found is None:
        sys.exit("no program: run `cargo build`, or name one")
    return found.resolve()


@contextmanager
def running(path, metadata="keep"):
    """A responder with a docroot of its own, and a plan with this `metadata`."""
    with tempfile.TemporaryDirectory() as directory:
        responder = Responder(path, Path(directory), metadata)
        try:
            yield responder
        finally:
            responder.stop()


class Responder:
    """`corenexis-cdn serve`, and a FastCGI connection to it."""

    def __init__(self, program, directory, metadata):
        self.docroot = directory / "docroot"
        self.ledger = directory / "ledger/ledger.db"
        self.socket = directory / "sock"
        config = directory / "config.toml"
        for name in ("docroot", "ledger"):
            (directory / name).mkdir()
        config.write_text(
            f'[site]\npublic_url = "http://localhost"\n'
            f'[server]\nlisten = "unix:{self.socket}"\n'
            f'[storage]\ndocroot = "{self.docroot}"\nmin_free = "1MiB"\ndurability = "relaxed"\n'
            f'[ledger]\npath = "{self.ledger}"\n'
            f'[plans.all]\ndaily_uploads = 1000000\nmax_file_size = "100MiB"\ndurations = ["LTF"]\nurl = "direct"\n'
            f'metadata = "{metadata}"\n'
        )
        added = subprocess.run(
            [program, "--config", config, "client", "add", CLIENT, "--plan", "all"],
            check=True, capture_output=True, text=True,
        )
        lines = dict(line.split("=", 1) for line in added.stdout.split() if "=" in line)
        self.token = lines["client_token"]
        self.log = open(directory / "log", "wb")
        self.process = subprocess.Popen([program, "--config", config, "serve"], stderr=self.log)
        for _ in range(1000):
            if self.socket.exists() or self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.connect(str(self.socket))
        self.file = self.stream.makefile("rb")

    def stop(self):
        if self.process.poll() is None:
            self.file.close()
            self.stream.close()
            self.process.terminate()
            self.process.wait(20)

    def sizes(self):
        """Width and height of each stored image by its path. The responder has to be stopped."""
        with sqlite3.connect(self.ledger) as ledger:
            return {path: (width, height) for path, width, height in ledger.execute("SELECT path, width, height FROM image")}

    def stored(self, reply):
        """The bytes of the image that the reply of an upload names."""
        url = reply.split(b'"url":"')[1].split(b'"')[0].decode()
        return (self.docroot / "p" / url.split("/p/", 1)[1]).read_bytes()

    def upload(self, image):
        """Status and body of the reply."""
        fields = {"client_id": CLIENT, "client_token": self.token, "store_duration": "LTF"}
        body = b"".join(
            f'--images-7d1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        )
        body += b'--images-7d1\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        body += image + b"\r\n--images-7d1--\r\n"
        params = b"".join(
            struct.pack(">BB", len(name), len(value)) + name.encode() + value.encode()
            for name, value in {
                "REQUEST_METHOD": "POST",
                "DOCUMENT_URI": "/image/v2/",
                "CONTENT_TYPE": "multipart/form-data; boundary=images-7d1",
                "CONTENT_LENGTH": str(len(body)),
            }.items()
        )
        out = record(1, struct.pack(">HB5x", 1, 1)) + record(4, params) + record(4, b"")
        out += b"".join(record(5, body[at:at + 65_528]) for at in range(0, len(body), 65_528))
        self.stream.sendall(out + record(5, b""))
        reply = b""
        while True:
            _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", self.file.read(8))
            content = self.file.read(length + padding)[:length]
            if kind == 6:
                reply += content
            elif kind == 3:
                head, _, text = reply.partition(b"\r\n\r\n")
                return int(head.split()[1]), text


def record(kind, content):
    return struct.pack(">BBHHBB", 1, kind, 1, len(content), 0, 0) + content
