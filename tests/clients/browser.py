"""Uploads a file with the form of a page in headless Chromium and prints what the page writes to its console.

Usage: browser.py CHROMIUM PAGE IMAGE

Chromium is driven over a pair of pipes in its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/): JSON
messages that end in a NUL. That needs no driver beside the browser.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile

SECONDS = 90


class Browser:
    """A running Chromium: sends commands, hands out replies and events."""

    def __init__(self, program, profile):
        command_read, self.commands = os.pipe()
        replies, reply_write = os.pipe()
        options = [
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]
        if os.geteuid() == 0:
            # Its sandbox does not start for root; the only page it opens is ours.
            options.append("--no-sandbox")
        # Chromium reads descriptor 3 and writes descriptor 4.
        place = f'exec 3<&{command_read} 4>&{reply_write}; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", place, "bash", program, *options],
            pass_fds=(command_read, reply_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(reply_write)
        self.replies = os.fdopen(replies, "rb")
        self.buffer = b""
        self.events = []
        self.number = 0
        self.session = None

    def read(self):
        """The next message."""
        while b"\0" not in self.buffer:
            piece = os.read(self.replies.fileno(), 65536)
            if not piece:
                raise SystemExit("chromium ended before it answered")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        """Sends a command and returns its result; events that arrive meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (reply := self.read()).get("id") != self.number:
            self.events.append(reply)
        if "error" in reply:
            raise SystemExit(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def event(self, name):
        """The parameters of the next event of that name."""
        while True:
            event = self.events.pop(0) if self.events else self.read()
            if event.get("method") == name:
                return event["params"]


    def open(self, page):
        """Opens a page and waits until it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Runtime.enable")
        self.call("Page.navigate", url=page)
        self.event("Page.loadEventFired")


def upload(browser, page, image):
    """Opens the page, chooses the file, submits, and prints the console until the page has said how it went."""
    browser.open(page)
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    field = browser.call("DOM.querySelector", nodeId=root, selector="#imageFile")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=field, files=[image])
    browser.call("Runtime.evaluate", expression="document.getElementById('uploadForm').requestSubmit()")
    while True:
        values = browser.event("Runtime.consoleAPICalled")["args"]
        line = " ".join(str(value.get("value", value.get("description"))) for value in values)
        print(line)
        if line.startswith(("Expires at:", "Error:")):
            return


def main():
    program, page, image = sys.argv[1:]
    signal.alarm(SECONDS)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            upload(browser, page, os.path.abspath(image))
        finally:
            browser.process.terminate()
            browser.process.wait()


if __name__ == "__main__":
    main()
