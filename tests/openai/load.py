"""How fast a server of the OpenAI protocol answers several callers at once.

    python load.py http://127.0.0.1:8080/v1 ACCESS_TOKEN MODEL [--tokens 64] [--callers 1 8 32]

Needs the package `openai`. Prints a JSON line for each number of callers: time to the first token and between tokens in
milliseconds (median and 95th percentile), tokens and requests per second.
"""

import argparse
import asyncio
import json
import time

import openai

parser = argparse.ArgumentParser()
parser.add_argument("address")
parser.add_argument("key")
parser.add_argument("model")
parser.add_argument("--tokens", type=int, default=64)
parser.add_argument("--callers", type=int, nargs="+", default=[1, 8, 32])
parser.add_argument("--requests", type=int, default=4, help="of each caller")
arguments = parser.parse_args()
client = openai.AsyncOpenAI(base_url=arguments.address, api_key=arguments.key, max_retries=0, timeout=300)


async def ask(number):
    start = last = time.perf_counter()
    first, gaps, tokens = None, [], 0
    stream = await client.chat.completions.create(
        model=arguments.model, max_tokens=arguments.tokens, temperature=1.0, seed=number, stream=True,
        stream_options={"include_usage": True},
        messages=[{"role": "user", "content": f"Customer {number} asks why the card was declined in a shop today."}])
    async for piece in stream:
        now = time.perf_counter()
        if piece.choices and piece.choices[0].delta.content:
            if first is None:
                first = now - start
            else:
                gaps.append(now - last)
            last = now
        if piece.usage:
            tokens = piece.usage.completion_tokens
    return first or last - start, gaps, tokens


def percentiles(values):
    ordered = sorted(values) or [0.0]
    at = lambda share: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
    return {"p50_ms": at(0.5), "p95_ms": at(0.95)}


async def measure(callers):
    async def caller(place):
        return [await ask(callers * 1000 + place * arguments.requests + turn) for turn in range(arguments.requests)]

    start = time.perf_counter()
    answers = [answer for each in await asyncio.gather(*map(caller, range(callers))) for answer in each]
    seconds = time.perf_counter() - start
    print(json.dumps({
        "callers": callers,
        "first_token": percentiles([first for first, _, _ in answers]),
        "between_tokens": percentiles([gap for _, gaps, _ in answers for gap in gaps]),
        "tokens_per_second": round(sum(tokens for _, _, tokens in answers) / seconds, 1),
        "requests_per_second": round(len(answers) / seconds, 2),
    }), flush=True)


async def main():
    await ask(0)
    for callers in arguments.callers:
        await measure(callers)


asyncio.run(main())
