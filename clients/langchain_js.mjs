// LangChain for JavaScript.
import { AIMessage, HumanMessage, SystemMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import { BASE, NO_OPTIONS, QUESTION, REF, attempt, pieces } from "./case.mjs";

const common = { model: REF, apiKey: "none", maxRetries: 0, configuration: { baseURL: BASE } };
const chat = new ChatOpenAI({ ...common, maxTokens: 20, temperature: 0 });
const longer = new ChatOpenAI({ ...common, maxTokens: 80, temperature: 0 });
const responses = new ChatOpenAI({ ...common, maxTokens: 20, useResponsesApi: true });
const person = z.object({ name: z.string(), age: z.number().int() });
const weather = tool(async () => "Sunny.", { name: "weather", description: "The weather.", schema: z.object({}) });
const talk = [
  new SystemMessage("Be brief."),
  new HumanMessage(QUESTION),
  new AIMessage("Madrid."),
  new HumanMessage("And of France?"),
];

await attempt("chat", async () => (await chat.invoke(QUESTION)).text);
await attempt("no options", async () => {
  const chat = new ChatOpenAI({ ...common, model: NO_OPTIONS, maxTokens: 20, temperature: 0 });
  return (await chat.invoke(QUESTION)).text;
});
await attempt("stream", async () => pieces(await chat.stream(QUESTION), (chunk) => chunk.text));
await attempt("history", async () => (await chat.invoke(talk)).text);
await attempt("schema", () => longer.withStructuredOutput(person, { method: "jsonSchema" }).invoke("Ana is 30"));
await attempt("tools", () => chat.bindTools([weather]).invoke(QUESTION));
await attempt("completions", () => new OpenAI({ ...common, maxTokens: 10 }).invoke("Once"));
await attempt("responses", async () => (await responses.invoke(QUESTION)).text);
await attempt("responses stream", async () => pieces(await responses.stream(QUESTION), (chunk) => chunk.text));
await attempt("responses history", async () => {
  const first = await responses.invoke([talk[1]]);
  return (await responses.invoke([talk[1], first, talk[3]])).text;
});
await attempt("embeddings", () => new OpenAIEmbeddings(common).embedQuery("Hello"));
