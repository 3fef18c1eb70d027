"""LangChain for Python."""

from case import BASE, NO_OPTIONS, QUESTION, REF, case, pieces
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel

common = {"base_url": BASE, "api_key": "none", "model": REF, "temperature": 0, "max_retries": 0}
chat = ChatOpenAI(**common, max_tokens=20)
longer = ChatOpenAI(**common, max_tokens=80)
responses = ChatOpenAI(**common, max_tokens=20, use_responses_api=True)


class Person(BaseModel):
    name: str
    age: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}."


talk = [SystemMessage("Be brief."), HumanMessage(QUESTION), AIMessage("Madrid."), HumanMessage("And of France?")]

case("chat", lambda: chat.invoke(QUESTION).content)
case("no options", lambda: ChatOpenAI(**{**common, "model": NO_OPTIONS}).invoke(QUESTION).content)
case("stream", lambda: pieces([chunk.content for chunk in chat.stream(QUESTION)]))
case("history", lambda: chat.invoke(talk).content)
case("schema", lambda: longer.with_structured_output(Person, method="json_schema").invoke("Ana is 30 years old"))
case("tools", lambda: chat.bind_tools([weather]).invoke(QUESTION).content)
case("completions", lambda: OpenAI(**common, max_tokens=10).invoke("Once"))
case("responses", lambda: responses.invoke(QUESTION).text)
case("responses stream", lambda: pieces([chunk.text for chunk in responses.stream(QUESTION)]))
case("responses history", lambda: responses.invoke([*talk[:2], responses.invoke(talk[:2]), talk[3]]).text)
case(
    "embeddings",
    lambda: OpenAIEmbeddings(
        base_url=BASE, api_key="none", model=REF, check_embedding_ctx_length=False, max_retries=0
    ).embed_query("Hello"),
)
