"""Runs a command on a terminal of its own, types a line when it asks, and prints what the terminal showed.

Usage: prompt.py PROMPT COMMAND...    the line comes from standard input
"""

import os
import pty
import select
import sys
import termios

prompt, command = sys.argv[1].encode(), sys.argv[2:]
line = sys.stdin.readline().strip().encode()
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
shown, typed = b"", False
while True:
    # Like a person, it types when the question is there; the terminal shows what comes before it was told not to.
    if not typed and prompt in shown and not termios.tcgetattr(terminal)[3] & termios.ECHO:
        os.write(terminal, line + b"\n")
        typed = True
    if not select.select([terminal], [], [], 0.02)[0]:
        continue
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
_, status = os.waitpid(child, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status) if typed else 99)
