"""Shows tokens to the program of the page and says what it made of them.

Standard input has one JSON object in a line. {"advance": 60} moves the clock
that the age of keys is measured with, not the one of tokens; {"token": "..."}
asks for a verdict: "accepted", "refused" or "unavailable".
"""

import json
import sys
import time

import verify

clock = time.monotonic
offset = 0
time.monotonic = lambda: clock() + offset

for line in sys.stdin:
    command = json.loads(line)
    if "advance" in command:
        offset += command["advance"]
        continue
    try:
        claims = verify.verify(command["token"])
        whose = filter(None, (claims.get(name) for name in ("sub", "member_id", "role")))
        # One line, whatever they hold.
        print("accepted", *" ".join(map(str, whose)).split(), flush=True)
    except verify.KeysUnavailable:
        print("unavailable", flush=True)
    except Exception:
        print("refused", flush=True)
