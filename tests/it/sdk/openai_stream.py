"""Streams one chat completion through the edge with the openai SDK: `openai_stream.py BASE_URL KEY`."""

import sys

from openai import OpenAI

base_url, key = sys.argv[1:3]
client = OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=20)
stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
pieces = []
for chunk in stream:
    piece = chunk.choices[0].delta.content
    if piece:
        if not pieces:
            print(f"first: {piece}", flush=True)
        pieces.append(piece)
print("all: " + "".join(pieces), flush=True)
