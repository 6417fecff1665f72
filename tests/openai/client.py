"""The official OpenAI client against a running Candor.

    python client.py http://127.0.0.1:8080/v1 ACCESS_TOKEN [MODEL]

Needs the package `openai`. The model is asked to repeat what stands between [[ and ]], which the tests' model does to the
letter; with --any the checks on the words themselves are left out, for any other model.
"""

import sys

import openai

any_model = "--any" in sys.argv
address, key, *rest = [argument for argument in sys.argv[1:] if argument != "--any"]
model = rest[0] if rest else "parrot"
client = openai.OpenAI(base_url=address, api_key=key, max_retries=0)


def says(found, expected):
    assert any_model or found == expected, f"{found!r} is not {expected!r}"


assert model in [each.id for each in client.models.list()], "the model is not listed"

ask = dict(model=model, temperature=0, seed=1, max_tokens=60)
message = [{"role": "user", "content": "[[Grüße, 世界!]]"}]
whole = client.chat.completions.create(messages=message, logprobs=True, top_logprobs=2, **ask)
says(whole.choices[0].message.content, "Grüße, 世界!")
assert whole.choices[0].finish_reason in ("stop", "length")
assert whole.usage.completion_tokens == len(whole.choices[0].logprobs.content)
again = client.chat.completions.create(messages=message, **ask)
assert again.choices[0].message.content == whole.choices[0].message.content, "the same seed gives another text"

stream = client.chat.completions.create(messages=message, stream=True, stream_options={"include_usage": True}, **ask)
pieces = list(stream)
text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
assert text == whole.choices[0].message.content, "the stream gives another text"
assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens

tools = [{"type": "function", "function": {"name": "balance", "parameters": {
    "type": "object", "properties": {"account": {"type": "string"}}, "required": ["account"]}}}]
script = '[[<tool_call>{"name": "balance", "arguments": {"account": "7"}}</tool_call>]]'
called = client.chat.completions.create(messages=[{"role": "user", "content": script}], tools=tools, **ask | {"max_tokens": 100})
if not any_model:
    assert called.choices[0].finish_reason == "tool_calls"
    assert called.choices[0].message.tool_calls[0].function.name == "balance"

completion = client.completions.create(prompt="[[two]]assistant:", **ask)
says(completion.choices[0].text, "two")
streamed = client.completions.create(prompt="[[two]]assistant:", stream=True, **ask)
says("".join(piece.choices[0].text for piece in streamed), completion.choices[0].text)

embeddings = client.embeddings.create(model="candor-encoder", input=["I lost my card", "my card is gone"])
one, two = (each.embedding for each in embeddings.data)
assert len(one) == 384 and sum(a * b for a, b in zip(one, two)) > 0.5

for kind, change in [
    (openai.NotFoundError, {"model": "gpt-9"}),
    (openai.UnprocessableEntityError, {"n": 2}),
    (openai.BadRequestError, {"temperature": -1}),
]:
    try:
        client.chat.completions.create(**{"messages": message, **ask, **change})
        raise SystemExit(f"{change} was not refused")
    except kind as error:
        assert error.body["message"], "an error without a message"
try:
    openai.OpenAI(base_url=address, api_key="wrong", max_retries=0).models.list()
    raise SystemExit("a wrong key was not refused")
except openai.AuthenticationError:
    pass
print("the official client is served")
