"""OpenAI's own client for Python."""

import json

from case import BASE, NO_OPTIONS, QUESTION, REF, SCHEMA, WEATHER, case, pieces
from openai import OpenAI

client = OpenAI(base_url=BASE, api_key="none", max_retries=0)
asked = {"model": REF, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 20}
told = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
form = {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA, "strict": True}}
tool = {"type": "function", "function": WEATHER}
talk = [*asked["messages"], {"role": "assistant", "content": "Madrid."}, {"role": "user", "content": "And of France?"}]

case("models", lambda: [model.id for model in client.models.list()])
case("chat", lambda: client.chat.completions.create(**asked).choices[0].message.content)
case(
    "no options",
    lambda: client.chat.completions.create(**{**asked, "model": NO_OPTIONS}, temperature=0).choices[0].message.content,
)
case(
    "stream",
    lambda: pieces(
        [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True)]
    ),
)
case("history", lambda: client.chat.completions.create(**{**asked, "messages": talk}).choices[0].message.content)
case(
    "schema",
    lambda: json.loads(
        client.chat.completions.create(**{**asked, "max_tokens": 80}, response_format=told).choices[0].message.content
    ),
)
case("tools", lambda: client.chat.completions.create(**asked, tools=[tool]))
case("completions", lambda: client.completions.create(model=REF, prompt="Once", max_tokens=10).choices[0].text)
case("responses", lambda: client.responses.create(model=REF, input=QUESTION, max_output_tokens=20).output_text)
case(
    "responses stream",
    lambda: pieces(
        [
            event.delta
            for event in client.responses.create(model=REF, input=QUESTION, max_output_tokens=20, stream=True)
            if event.type == "response.output_text.delta"
        ]
    ),
)
case(
    "responses schema",
    lambda: json.loads(
        client.responses.create(model=REF, input="Ana is 30.", text=form, max_output_tokens=80).output_text
    ),
)


def go_on() -> str:
    first = client.responses.create(model=REF, input=QUESTION, max_output_tokens=20)
    second = client.responses.create(
        model=REF, input="And of France?", previous_response_id=first.id, max_output_tokens=20
    )
    assert second.usage.input_tokens > first.usage.input_tokens, "it did not read the first"
    return second.output_text


case("responses history", go_on)
case("embeddings", lambda: client.embeddings.create(model=REF, input="Hello"))
