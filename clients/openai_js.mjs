// OpenAI's own client for JavaScript.
import OpenAI from "openai";
import { BASE, NO_OPTIONS, QUESTION, REF, attempt, pieces } from "./case.mjs";

const client = new OpenAI({ baseURL: BASE, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: QUESTION }];
const talk = [...messages, { role: "assistant", content: "Madrid." }, { role: "user", content: "And of France?" }];
const asked = { model: REF, messages, max_tokens: 20 };
const schema = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};
const told = { type: "json_schema", json_schema: { name: "person", schema, strict: true } };
const weather = { type: "function", function: { name: "weather", parameters: { type: "object", properties: {} } } };
const response = { model: REF, input: QUESTION, max_output_tokens: 20 };
const text = async (request) => (await client.chat.completions.create(request)).choices[0].message.content;

await attempt("models", async () => (await client.models.list()).data.map((model) => model.id));
await attempt("chat", () => text(asked));
await attempt("no options", () => text({ ...asked, model: NO_OPTIONS, temperature: 0 }));
await attempt("stream", async () =>
  pieces(await client.chat.completions.create({ ...asked, stream: true }), (chunk) => chunk.choices[0]?.delta.content),
);
await attempt("history", () => text({ ...asked, messages: talk }));
await attempt("schema", async () => JSON.parse(await text({ ...asked, max_tokens: 80, response_format: told })));
await attempt("tools", () => text({ ...asked, tools: [weather] }));
await attempt("completions", async () =>
  (await client.completions.create({ model: REF, prompt: "Once", max_tokens: 10 })).choices[0].text,
);
await attempt("responses", async () => (await client.responses.create(response)).output_text);
await attempt("responses stream", async () =>
  pieces(
    await client.responses.create({ ...response, stream: true }),
    (event) => event.type === "response.output_text.delta" && event.delta,
  ),
);
await attempt("responses schema", async () => {
  const format = { type: "json_schema", name: "person", schema, strict: true };
  const found = await client.responses.create({ ...response, max_output_tokens: 80, text: { format } });
  return JSON.parse(found.output_text);
});
await attempt("responses history", async () => {
  const first = await client.responses.create(response);
  const second = { ...response, input: "And of France?", previous_response_id: first.id };
  return (await client.responses.create(second)).output_text;
});
await attempt("embeddings", () => client.embeddings.create({ model: REF, input: "Hello" }));
