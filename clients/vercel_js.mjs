// The Vercel AI SDK: its provider for OpenAI asks /v1/responses unless it is told otherwise.
import { createOpenAI } from "@ai-sdk/openai";
import { Output, embed, generateText, streamText, tool } from "ai";
import { z } from "zod";
import { BASE, NO_OPTIONS, QUESTION, REF, attempt, pieces } from "./case.mjs";

const openai = createOpenAI({ baseURL: BASE, apiKey: "none" });
const common = { maxOutputTokens: 20, maxRetries: 0 };
const asked = { ...common, model: openai.chat(REF), prompt: QUESTION };
const response = { ...common, model: openai(REF), prompt: QUESTION };
const person = z.object({ name: z.string(), age: z.number().int() });
const weather = tool({ description: "The weather.", inputSchema: z.object({}), execute: async () => "Sunny." });
const talk = [
  { role: "user", content: QUESTION },
  { role: "assistant", content: "Madrid." },
  { role: "user", content: "And of France?" },
];
const ana = { maxOutputTokens: 80, prompt: "Ana is 30 years old.", output: Output.object({ schema: person }) };
const quiet = { onError: () => {} };

await attempt("chat", async () => (await generateText(asked)).text);
await attempt("no options", async () => {
  const model = openai.chat(NO_OPTIONS);
  return (await generateText({ ...asked, model, temperature: 0 })).text;
});
await attempt("stream", () => pieces(streamText({ ...asked, ...quiet }).textStream, (text) => text));
await attempt("history", async () => (await generateText({ ...common, model: asked.model, messages: talk })).text);
await attempt("schema", async () => (await generateText({ ...asked, ...ana })).output);
await attempt("tools", async () => (await generateText({ ...asked, tools: { weather } })).text);
await attempt("responses", async () => (await generateText(response)).text);
await attempt("responses stream", () => pieces(streamText({ ...response, ...quiet }).textStream, (text) => text));
await attempt("responses schema", async () => (await generateText({ ...response, ...ana })).output);
await attempt("responses history", async () => {
  const first = await generateText({ ...common, model: response.model, messages: [talk[0]] });
  const messages = [talk[0], ...first.response.messages, talk[2]]; // the answer by its id alone
  return (await generateText({ ...common, model: response.model, messages })).text;
});
await attempt("embeddings", () => embed({ model: openai.embedding(REF), value: "Hello", maxRetries: 0 }));
