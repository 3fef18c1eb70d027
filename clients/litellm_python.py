"""LiteLLM, as a library."""

import json

import litellm
from case import BASE, NO_OPTIONS, QUESTION, REF, SCHEMA, WEATHER, case, pieces

asked = {"model": f"openai/{REF}", "api_base": BASE, "api_key": "none", "max_tokens": 20, "num_retries": 0}
messages = [{"role": "user", "content": QUESTION}]
talk = [*messages, {"role": "assistant", "content": "Madrid."}, {"role": "user", "content": "And of France?"}]
told = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
tool = {"type": "function", "function": WEATHER}
responses = {"model": f"openai/{REF}", "api_base": BASE, "api_key": "none", "input": QUESTION, "max_output_tokens": 20}


def text(answer: object) -> str:
    return answer.choices[0].message.content


case("chat", lambda: text(litellm.completion(**asked, messages=messages)))
case(
    "no options",
    lambda: text(litellm.completion(**{**asked, "model": f"openai/{NO_OPTIONS}"}, temperature=0, messages=messages)),
)
case(
    "stream",
    lambda: pieces(
        [
            chunk.choices[0].delta.content or ""
            for chunk in litellm.completion(**asked, messages=messages, stream=True)
            if chunk.choices
        ]
    ),
)
case("history", lambda: text(litellm.completion(**asked, messages=talk)))
case(
    "schema",
    lambda: json.loads(
        text(litellm.completion(**{**asked, "max_tokens": 80}, messages=messages, response_format=told))
    ),
)
case("tools", lambda: litellm.completion(**asked, messages=messages, tools=[tool]))
case("responses", lambda: litellm.responses(**responses).output[0].content[0].text)
case(
    "responses stream",
    lambda: pieces(
        [
            event.delta
            for event in litellm.responses(**responses, stream=True)
            if event.type == "response.output_text.delta"
        ]
    ),
)
case("embeddings", lambda: litellm.embedding(model=f"openai/{REF}", api_base=BASE, api_key="none", input=["Hello"]))
