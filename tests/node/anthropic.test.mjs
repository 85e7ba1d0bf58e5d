// The official Anthropic client for Node against the server at BASE_URL.

import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic, { BadRequestError, NotFoundError } from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

const client = new Anthropic({ baseURL: process.env.BASE_URL, apiKey: "any", maxRetries: 0 });
const plain = { model: "power-tiny", max_tokens: 96, temperature: 0, thinking: { type: "disabled" } };
const sum = [{ role: "user", content: "What is 3 + 4?" }];
const input_schema = {
  type: "object",
  properties: { city: { type: "string", description: "The name of the city" } },
  required: ["city"],
};
const tools = [{ name: "get_weather", description: "Get the weather for a city", input_schema }];
const City = z.strictObject({ city: z.string() });
const Country = z.strictObject({ name: z.string(), capital: z.string(), languages: z.array(z.string()) });

test("a message is answered", async () => {
  const { data, response, request_id } = await client.messages.create({ ...plain, messages: sum }).withResponse();
  assert.deepEqual(data.content, [{ type: "text", text: "7" }]);
  assert.equal(data.stop_reason, "end_turn");
  assert.ok(data.usage.output_tokens > 0);
  assert.equal(response.headers.get("request-id"), request_id);
  assert.match(request_id, /^req_/);
});

test("a message is streamed event by event", async () => {
  const types = [];
  for await (const event of await client.messages.create({ ...plain, messages: sum, stream: true })) types.push(event.type);
  assert.equal(types[0], "message_start");
  assert.deepEqual(types.slice(-3), ["content_block_stop", "message_delta", "message_stop"]);
});

test("the helper puts a stream together", async () => {
  const stream = client.messages.stream({ ...plain, messages: sum });
  const pieces = [];
  stream.on("text", (delta) => pieces.push(delta));
  const final = await stream.finalMessage();
  assert.equal(pieces.join(""), "7");
  assert.equal(await stream.finalText(), "7");
  assert.equal(final.stop_reason, "end_turn");
  assert.ok(final.usage.output_tokens > 0);
});

test("calls come whole from a stream", async () => {
  const messages = [{ role: "user", content: "What is the weather in Paris and London?" }];
  const whole = await client.messages.create({ ...plain, tools, messages });
  const streamed = await client.messages.stream({ ...plain, tools, messages }).finalMessage();
  for (const { content, stop_reason } of [whole, streamed]) {
    assert.equal(stop_reason, "tool_use");
    assert.deepEqual(content.map((block) => City.parse(block.input)), [{ city: "Paris" }, { city: "London" }]);
  }
});

test("tools are run until there is an answer", async () => {
  const run = (asked) => City.parse(asked) && '{"temperature": 7, "condition": "rainy"}';
  const { name, description } = tools[0];
  const tool = betaTool({ name, description, inputSchema: input_schema, run });
  const messages = [{ role: "user", content: "What is the weather in Oslo?" }];
  const final = await client.beta.messages.toolRunner({ ...plain, tools: [tool], messages });
  assert.equal(final.content.at(-1).text, "It is rainy and 7 degrees in Oslo.");
});

test("a thought is a block of its own", async () => {
  const thinking = { type: "enabled", budget_tokens: 1024 };
  const messages = [{ role: "user", content: "What is 27+48?" }];
  const final = await client.messages.stream({ ...plain, max_tokens: 2048, thinking, messages }).finalMessage();
  assert.deepEqual(final.content.map((block) => block.type), ["thinking", "text"]);
  assert.match(final.content[0].thinking, /carry 1/);
  assert.equal(final.content[1].text, "75");
});

test("an answer is parsed by its schema", async () => {
  const messages = [{ role: "user", content: "Tell me about Canada. Respond in JSON." }];
  const answer = await client.messages.parse({ ...plain, messages, output_config: { format: zodOutputFormat(Country) } });
  assert.equal(answer.parsed_output.capital, "Ottawa");
});

test("tokens are counted as they are read", async () => {
  const { model, thinking } = plain;
  const counted = await client.messages.countTokens({ model, thinking, messages: sum, system: "You are a pirate.", tools });
  const { usage } = await client.messages.create({ ...plain, messages: sum, system: "You are a pirate.", tools });
  assert.equal(counted.input_tokens, usage.input_tokens + usage.cache_read_input_tokens);
});

test("models are listed and shown", async () => {
  const names = [];
  for await (const each of client.models.list()) names.push(each.id);
  assert.ok(names.some((name) => name.startsWith("power-tiny")), names.join());
  assert.equal((await client.models.retrieve("power-tiny")).type, "model");
});

test("errors are of their classes", async () => {
  await assert.rejects(client.messages.create({ ...plain, model: "nobody", messages: sum }), (error) => {
    assert.ok(error instanceof NotFoundError);
    assert.equal(error.error.error.type, "not_found_error");
    assert.match(error.requestID, /^req_/);
    return true;
  });
  await assert.rejects(client.messages.create({ ...plain, messages: [] }), BadRequestError);
  await assert.rejects(client.messages.stream({ ...plain, messages: [] }).finalMessage(), BadRequestError);
});

test("a stream can be left", async () => {
  const messages = [{ role: "user", content: "Repeat la forever." }];
  const stream = client.messages.stream({ ...plain, max_tokens: 100000, messages });
  for await (const event of stream) if (event.type === "content_block_delta") break;
  assert.equal((await client.messages.create({ ...plain, messages: sum })).content[0].text, "7");
});
