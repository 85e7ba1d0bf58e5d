// The official OpenAI client for Node against the server at BASE_URL.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { BadRequestError, NotFoundError } from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: `${process.env.BASE_URL}/v1`, apiKey: "any", maxRetries: 0 });
const model = "power-tiny";
const plain = { model, temperature: 0, reasoning_effort: "none" };
const sum = [{ role: "user", content: "What is 3 + 4?" }];
const canada = "Tell me about Canada. Respond in JSON.";
const Country = z.strictObject({ name: z.string(), capital: z.string(), languages: z.array(z.string()) });
const City = z.strictObject({ city: z.string() });
const parameters = {
  type: "object",
  properties: { city: { type: "string", description: "The name of the city" } },
  required: ["city"],
};
const weather = zodFunction({ name: "get_weather", description: "Get the weather for a city", parameters: City });

async function gathered(stream) {
  const found = [];
  for await (const each of stream) found.push(each);
  return found;
}

test("a chat is answered", async () => {
  const { data, response } = await client.chat.completions.create({ ...plain, messages: sum }).withResponse();
  assert.equal(data.choices[0].message.content, "7");
  assert.equal(data.choices[0].finish_reason, "stop");
  assert.equal(data.usage.total_tokens, data.usage.prompt_tokens + data.usage.completion_tokens);
  assert.ok(response.headers.get("x-request-id"));
});

test("a chat is streamed", async () => {
  const stream_options = { include_usage: true };
  const chunks = await gathered(
    await client.chat.completions.create({ ...plain, messages: sum, stream: true, stream_options }),
  );
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), "7");
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 2);
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
});

test("the helper puts a stream together", async () => {
  const stream = client.chat.completions.stream({ ...plain, messages: sum });
  const pieces = [];
  stream.on("content", (delta) => pieces.push(delta));
  const final = await stream.finalChatCompletion();
  assert.equal(pieces.join(""), final.choices[0].message.content);
  assert.equal(final.choices[0].finish_reason, "stop");
});

test("an answer is parsed by its schema", async () => {
  const answer = await client.chat.completions.parse({
    ...plain,
    messages: [{ role: "user", content: canada }],
    response_format: zodResponseFormat(Country, "country"),
  });
  assert.deepEqual(answer.choices[0].message.parsed, {
    name: "Canada",
    capital: "Ottawa",
    languages: ["English", "French"],
  });
});

test("calls are parsed by their schema, streamed and not", async () => {
  const messages = [{ role: "user", content: "What is the weather in Paris?" }];
  const asked = { ...plain, tools: [weather], tool_choice: "required", parallel_tool_calls: false, messages };
  const whole = (await client.chat.completions.parse(asked)).choices[0];
  assert.equal(whole.finish_reason, "tool_calls");
  const streamed = (await client.chat.completions.stream(asked).finalChatCompletion()).choices[0];
  for (const { message } of [whole, streamed]) {
    assert.deepEqual(message.tool_calls.map((call) => call.function.parsed_arguments), [{ city: "Paris" }]);
    assert.ok(message.tool_calls[0].id);
  }
});

test("tools are run until there is an answer", async () => {
  const runner = client.chat.completions.runTools({
    ...plain,
    messages: [{ role: "user", content: "What is the weather in Oslo?" }],
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          description: "Get the weather for a city",
          parameters,
          parse: JSON.parse,
          function: (asked) => City.parse(asked) && '{"temperature": 7, "condition": "rainy"}',
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), "It is rainy and 7 degrees in Oslo.");
});

test("a thought is told apart", async () => {
  const asked = { model, temperature: 0, reasoning_effort: "high", messages: [{ role: "user", content: "What is 27+48?" }] };
  const { message } = (await client.chat.completions.create(asked)).choices[0];
  assert.equal(message.content, "75");
  assert.match(message.reasoning, /carry 1/);
});

test("vectors are as long as they are asked to be", async () => {
  const whole = await client.embeddings.create({ model: "embedder", input: ["hello", "world"] });
  assert.deepEqual(whole.data.map((each) => each.index), [0, 1]);
  const floats = await client.embeddings.create({ model: "embedder", input: "hello", encoding_format: "float", dimensions: 8 });
  assert.equal(floats.data[0].embedding.length, 8);
  const length = Math.hypot(...whole.data[0].embedding);
  assert.ok(Math.abs(length - 1) < 1e-3, `length ${length}`);
});

test("models are listed and shown", async () => {
  const names = (await gathered(client.models.list())).map((each) => each.id);
  assert.ok(names.some((name) => name.startsWith(model)), names.join());
  assert.equal((await client.models.retrieve(model)).object, "model");
  await assert.rejects(client.models.retrieve("not/there:at-all"), NotFoundError);
});

test("a text is completed", async () => {
  const asked = { model, prompt: "Once upon a time, there was a little", temperature: 0, max_tokens: 5 };
  const whole = await client.completions.create(asked);
  const streamed = await gathered(await client.completions.create({ ...asked, stream: true }));
  assert.equal(streamed.map((chunk) => chunk.choices[0]?.text ?? "").join(""), whole.choices[0].text);
  assert.equal(whole.choices[0].finish_reason, "length");
});

test("a response is made, streamed and parsed", async () => {
  const asked = { model, temperature: 0, reasoning: { effort: "none" }, input: "What is 3 + 4?" };
  const whole = await client.responses.create(asked);
  assert.equal(whole.output_text, "7");
  const final = await client.responses.stream(asked).finalResponse();
  assert.equal(final.output_text, "7");
  assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
  const parsed = await client.responses.parse({ ...asked, input: canada, text: { format: zodTextFormat(Country, "country") } });
  assert.equal(parsed.output_parsed.capital, "Ottawa");
});

test("errors are of their classes", async () => {
  await assert.rejects(client.chat.completions.create({ ...plain, model: "nobody", messages: sum }), (error) => {
    assert.ok(error instanceof NotFoundError);
    assert.equal(error.type, "not_found_error");
    assert.ok(error.requestID);
    return true;
  });
  await assert.rejects(client.chat.completions.create({ ...plain, messages: [] }), BadRequestError);
  await assert.rejects(client.responses.create({ model, input: [{ type: "nothing" }] }), BadRequestError);
});

test("a stream can be left", async () => {
  const stream = await client.chat.completions.create({
    ...plain,
    messages: [{ role: "user", content: "Repeat la forever." }],
    stream: true,
  });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
  assert.equal((await client.chat.completions.create({ ...plain, messages: sum })).choices[0].message.content, "7");
});
