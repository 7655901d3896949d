"""A helper process without the training stack: `python stub_helper.py WORKSPACE`, for tests of the inspector.

It keeps to the protocol of studio.tasks.inspect: `fail` fails, `die` ends the process, `hang` sleeps for ever, `count`
reports progress until it is cancelled, `noise` prints what is no answer; anything else is answered with its own body.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from typing import Any

requests: queue.Queue[dict[str, Any]] = queue.Queue()
cancelled: set[int] = set()


def say(**reply: Any) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def read() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "cancel" in request:
            cancelled.add(request["cancel"])
        else:
            requests.put(request)
    os._exit(0)


def count(ticket: int) -> None:
    done = 0
    while ticket not in cancelled:
        done += 1
        say(id=ticket, progress=[done, 0])
        time.sleep(0.01)
    say(id=ticket, error="It was cancelled.", kind="cancelled")


threading.Thread(target=read, daemon=True).start()
while True:
    asked = requests.get()
    ticket, question = asked["id"], asked["question"]
    if question == "die":
        print("I was told to", file=sys.stderr, flush=True)
        os._exit(3)
    elif question == "hang":
        time.sleep(3600)
    elif question == "count":
        count(ticket)
    elif question == "fail":
        say(id=ticket, error="No such thing. Choose another.", kind="model")
    elif question == "noise":
        sys.stdout.write("a library speaks\n")
        say(id=ticket, answer={})
    else:
        say(id=ticket, answer={"pid": os.getpid(), **asked["body"]})
