// The official Ollama client for Node against the server at BASE_URL.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";
import { z } from "zod";

const client = new Ollama({ host: process.env.BASE_URL });
const options = { temperature: 0 };
const plain = { model: "power-tiny", think: false, options };
const sum = "What is 3 + 4?";
const messages = [{ role: "user", content: sum }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [
  { type: "function", function: { name: "get_weather", description: "Get the weather for a city", parameters } },
];
const Country = z.strictObject({ name: z.string(), capital: z.string(), languages: z.array(z.string()) });

async function gathered(stream) {
  const found = [];
  for await (const each of stream) found.push(each);
  return found;
}

test("a chat is answered, in one piece and as a stream", async () => {
  const whole = await client.chat({ ...plain, messages });
  assert.equal(whole.message.content, "7");
  assert.equal(whole.done_reason, "stop");
  const parts = await gathered(await client.chat({ ...plain, messages, stream: true }));
  assert.equal(parts.map((part) => part.message.content).join(""), "7");
  assert.equal(parts.at(-1).eval_count, whole.eval_count);
});

test("a prompt is answered, in one piece and as a stream", async () => {
  const whole = await client.generate({ ...plain, prompt: sum });
  assert.equal(whole.response, "7");
  assert.ok(whole.context.length > 0);
  const parts = await gathered(await client.generate({ ...plain, prompt: sum, stream: true }));
  assert.equal(parts.map((part) => part.response).join(""), "7");
});

test("a thought is told apart", async () => {
  const { message } = await client.chat({ ...plain, think: true, messages: [{ role: "user", content: "What is 27+48?" }] });
  assert.equal(message.content, "75");
  assert.match(message.thinking, /carry 1/);
});

test("tools are called", async () => {
  const { message } = await client.chat({ ...plain, tools, messages: [{ role: "user", content: "What is the weather in Paris?" }] });
  assert.deepEqual(message.tool_calls.map((call) => call.function.arguments), [{ city: "Paris" }]);
});

test("an answer follows its schema", async () => {
  const asked = [{ role: "user", content: "Tell me about Canada. Respond in JSON." }];
  const { message } = await client.chat({ ...plain, messages: asked, format: z.toJSONSchema(Country) });
  assert.equal(Country.parse(JSON.parse(message.content)).capital, "Ottawa");
});

test("texts become vectors", async () => {
  const { embeddings } = await client.embed({ model: "embedder", input: ["hello", "world"] });
  assert.equal(embeddings.length, 2);
  assert.equal((await client.embeddings({ model: "embedder", prompt: "hello" })).embedding.length, embeddings[0].length);
});

test("models are listed, shown, copied and deleted", async () => {
  await client.copy({ source: "power-tiny", destination: "a-copy" });
  const names = (await client.list()).models.map((each) => each.name);
  assert.ok(names.includes("a-copy:latest"), names.join());
  assert.ok((await client.show({ model: "a-copy" })).capabilities.includes("completion"));
  await client.delete({ model: "a-copy" });
  assert.ok(Array.isArray((await client.ps()).models));
});

test("errors say what is wrong", async () => {
  await assert.rejects(client.chat({ ...plain, model: "nobody", messages }), /model 'nobody' not found/);
  await assert.rejects(client.chat({ ...plain, model: "nobody", messages, stream: true }), /model 'nobody' not found/);
});

test("a stream can be left", async () => {
  const endless = [{ role: "user", content: "Repeat la forever." }];
  const stream = await client.chat({ ...plain, messages: endless, stream: true, options: { ...options, num_predict: -1 } });
  for await (const part of stream) if (part.message.content) break;
  stream.abort();
  assert.equal((await client.chat({ ...plain, messages })).message.content, "7");
});
