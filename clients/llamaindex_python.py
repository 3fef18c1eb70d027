"""LlamaIndex, by its OpenAILike (and OpenAIResponses)."""

from case import BASE, NO_OPTIONS, QUESTION, REF, case, pieces
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAIResponses
from llama_index.llms.openai_like import OpenAILike

common = {"model": REF, "api_base": BASE, "api_key": "none", "max_retries": 0, "temperature": 0.0}
chat = OpenAILike(**common, is_chat_model=True, context_window=8192, max_tokens=20)
responses = OpenAIResponses(**common, context_window=8192, max_output_tokens=20)
question = [ChatMessage(role="user", content=QUESTION)]
talk = [
    *question,
    ChatMessage(role="assistant", content="Madrid."),
    ChatMessage(role="user", content="And of France?"),
]

case("chat", lambda: chat.chat(question).message.content)
case(
    "no options",
    lambda: (
        OpenAILike(**{**common, "model": NO_OPTIONS}, is_chat_model=True, max_tokens=20).chat(question).message.content
    ),
)
case("stream", lambda: pieces([chunk.delta or "" for chunk in chat.stream_chat(question)]))
case("history", lambda: chat.chat(talk).message.content)
case("completions", lambda: OpenAILike(**common, is_chat_model=False, max_tokens=10).complete("Once").text)
case("responses", lambda: responses.chat(question).message.content)
case("responses stream", lambda: pieces([chunk.delta or "" for chunk in responses.stream_chat(question)]))
case("responses history", lambda: responses.chat(talk).message.content)
