"""Streams one message through the edge with the anthropic SDK: `anthropic_stream.py BASE_URL KEY`."""

import sys

from anthropic import Anthropic

base_url, key = sys.argv[1:3]
client = Anthropic(base_url=base_url, api_key=key, max_retries=0, timeout=20)
pieces = []
with client.messages.stream(model="m", max_tokens=16, messages=[{"role": "user", "content": "hi"}]) as stream:
    for piece in stream.text_stream:
        if not pieces:
            print(f"first: {piece}", flush=True)
        pieces.append(piece)
print("all: " + "".join(pieces), flush=True)
