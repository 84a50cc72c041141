/**
 * `hubserve serve --dev`: a handler that is edited while requests come.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeRepository } from "../support/handler-repository.ts";
import { startHubserve } from "../support/hubserve.ts";

/** A handler that answers with a word of its own, after a moment in which edits can happen. */
function handlerSaying(word: string): string {
  return (
    `import { tail } from "./parts/tail.ts";\n` +
    `export class EndpointHandler {\n` +
    `  async call() { await new Promise((done) => setTimeout(done, 5)); return ${JSON.stringify(word)} + tail; }\n` +
    `}\n`
  );
}

test("no request fails while handler.ts is edited, broken and mended", async () => {
  await using repository = await makeRepository({
    "handler.ts": handlerSaying("first"),
    "parts/tail.ts": 'export const tail = "!";\n',
  });
  await using server = await startHubserve({ args: [repository.path, "--dev"] });
  await server.line(/Ready after/);

  const answers: string[] = [];
  let isAsking = true;
  let wake = (): void => undefined;
  const askOn = async (): Promise<void> => {
    while (isAsking) {
      const response = await server.post("anything");
      const text = await response.text();
      assert.equal(response.status, 200, text);
      answers.push(JSON.parse(text) as string);
      wake();
    }
  };
  const clients = Promise.all([askOn(), askOn(), askOn()]);
  const until = async (word: string): Promise<void> => {
    while (answers.at(-1) !== word)
      await Promise.race([clients, new Promise<void>((resolve) => (wake = resolve))]);
  };

  await until("first!");
  await repository.write("handler.ts", handlerSaying("second"));
  await until("second!");

  await repository.write("handler.ts", "export class EndpointHandler { call( }\n");
  const refused = await server.line(/ERROR .*what was loaded before goes on answering/);
  assert.match(refused, /handler\.ts:1/);
  const answered = answers.length;
  while (answers.length < answered + 5) await new Promise<void>((resolve) => (wake = resolve));
  assert.equal(answers.at(-1), "second!");

  await repository.write("handler.ts", handlerSaying("third"));
  await until("third!");
  await repository.write("parts/tail.ts", 'export const tail = "?";\n');
  await until("third?");

  isAsking = false;
  await clients;
  assert.deepEqual([...new Set(answers)], ["first!", "second!", "third!", "third?"]);
  server.kill("SIGTERM");
  assert.equal(await server.exited, 0);
});

test("a handler that ends its process while it loads leaves the old one in place", async () => {
  await using repository = await makeRepository({ "handler.ts": plain('"calm"') });
  await using server = await startHubserve({ args: [repository.path, "--dev"] });
  await server.line(/Ready after/);
  await repository.write("handler.ts", `process.exit(7);\n${plain('"never"')}`);
  await server.line(/ERROR Cannot load the model: .*what was loaded before goes on answering/);
  assert.equal(await (await server.post(1)).json(), "calm");

  await repository.write("handler.ts", plain('"mended"'));
  await server.line(/Reloaded: requests go to the new workers/);
  assert.equal(await (await server.post(1)).json(), "mended");
});

test("a stream that has begun is written to its end by the code that began it", async () => {
  const streaming = (word: string): string =>
    `export class EndpointHandler {\n  async *call({ inputs }) {\n` +
    `    yield ${JSON.stringify(word)};\n` +
    `    const { existsSync } = await import("node:fs");\n` +
    `    while (inputs !== null && !existsSync(inputs)) await new Promise((done) => setTimeout(done, 10));\n` +
    `    yield ${JSON.stringify(`${word} ends`)};\n  }\n}\n`;
  await using repository = await makeRepository({ "handler.ts": streaming("old") });
  await using server = await startHubserve({ args: [repository.path, "--dev"] });
  await server.line(/Ready after/);
  const response = await server.post(`${repository.path}/go.flag`);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  assert.match((await reader.read()).value ?? "", /old/);

  await repository.write("handler.ts", streaming("new"));
  await server.line(/Reloaded/);
  assert.match(await (await server.post(null)).text(), /new ends/);
  await repository.write("go.flag", "");
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    rest += value;
  }
  assert.match(rest, /old ends/);
});

function plain(answer: string): string {
  return `export class EndpointHandler { call() { return ${answer}; } }\n`;
}
