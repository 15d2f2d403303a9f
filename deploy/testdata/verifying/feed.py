"""Asks the follower of the page whether sessions have ended.

Standard input has one JSON object in a line: {"claims": {...}, "kid": "..."}. The
answer is "ended", "good" or "unavailable".
"""

import json
import sys

import revocations

for line in sys.stdin:
    asked = json.loads(line)
    try:
        ended = revocations.REVOCATIONS.has_ended(asked["claims"], asked["kid"])
        print("ended" if ended else "good", flush=True)
    except revocations.RevocationsUnavailable:
        print("unavailable", flush=True)
