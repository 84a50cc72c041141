import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { RuntimeError } from "../../../runtime/errors.ts";
import { isPublic } from "../../../runtime/guarded-request.ts";
import { fetchRemote, type RemoteOptions } from "../../../runtime/handler/media/remote.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A server of files, and the requests it got. */
async function startServer(
  answer: Answer,
): Promise<AsyncDisposable & { readonly port: number; readonly requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port, // it listens on TCP
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const PNG = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
const sendPng: Answer = (_request, response) => {
  response.setHeader("content-type", "image/png");
  response.end(PNG);
};

function get(url: string, hosts: readonly string[], more: Partial<RemoteOptions> = {}) {
  const { signal } = new AbortController();
  return fetchRemote(url, { action: "classify the image", name: "inputs", hosts, signal, ...more });
}

/** The sentence of the refusal. */
async function refusal(
  url: string,
  hosts: readonly string[],
  more: Partial<RemoteOptions> = {},
): Promise<string> {
  let sentence = "";
  await assert.rejects(get(url, hosts, more), (error: unknown) => {
    assert.ok(error instanceof RuntimeError, String(error));
    assert.equal(error.code, "INVALID_INPUT");
    sentence = error.message;
    return true;
  });
  return sentence;
}

test("a file of a named host arrives with its type, and no credentials go there", async () => {
  await using server = await startServer(sendPng);
  const host = `http://127.0.0.1:${server.port}`;
  const { bytes, contentType } = await get(`${host}/a.png?x=1`, [host]);
  assert.deepEqual(Buffer.from(bytes), PNG);
  assert.equal(contentType, "image/png");
  const [request] = server.requests;
  assert.equal(request?.url, "/a.png?x=1");
  assert.deepEqual(Object.keys(request?.headers ?? {}).sort(), [
    "accept",
    "accept-encoding",
    "connection",
    "host",
    "user-agent",
  ]);
});

test("a name is looked up once: the address that was checked is the one that is connected to", async () => {
  await using server = await startServer(sendPng);
  let lookups = 0;
  const resolve = async (hostname: string) => {
    assert.equal(hostname, "files.test");
    lookups++;
    return [{ address: "127.0.0.1", family: 4 }];
  };
  const host = `http://files.test:${server.port}`;
  assert.equal((await get(`${host}/a.png`, [host], { resolve })).contentType, "image/png");
  assert.equal(lookups, 1);
});

test("a host that is not named is not asked", async () => {
  await using server = await startServer(sendPng);
  const wanted = /^Cannot classify the image: "inputs" is a URL of a host from which this server/;
  assert.match(
    await refusal(`http://127.0.0.1:${server.port}/`, ["http://localhost:9", "a.org"]),
    wanted,
  );
  assert.equal(server.requests.length, 0);
});

test("a wildcard does not reach a private address, a full name does", async () => {
  await using server = await startServer(sendPng);
  const url = `http://files.test:${server.port}/`;
  for (const address of ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"]) {
    const resolve = async () => [{ address, family: address.includes(":") ? 6 : 4 }];
    assert.match(
      await refusal(url, [`http://*.test:${server.port}`], { resolve }),
      /"inputs" is a URL of a private address/,
    );
  }
  assert.equal(server.requests.length, 0);
});

test("a redirect is followed to a named host and to no other", async () => {
  await using other = await startServer(sendPng);
  const to: Record<string, string> = {
    "/relative": "/b.png",
    "/elsewhere": `http://127.0.0.1:${other.port}/secret`,
    "/file": "file:///etc/passwd",
    "/broken": "http://[",
    "/loop": "/loop",
  };
  await using server = await startServer((request, response) => {
    const location = to[request.url ?? ""];
    if (location === undefined) return sendPng(request, response);
    response.writeHead(302, { location }).end();
  });
  const host = `http://127.0.0.1:${server.port}`;
  assert.equal((await get(`${host}/relative`, [host])).contentType, "image/png");
  assert.match(await refusal(`${host}/elsewhere`, [host]), /leads to a URL of a host from which/);
  assert.match(await refusal(`${host}/file`, [host]), /leads to a URL of a host from which/);
  assert.match(await refusal(`${host}/broken`, [host]), /leads to no valid URL$/);
  assert.match(await refusal(`${host}/loop`, [host]), /more than 5 times$/);
  assert.equal(other.requests.length, 0);
  const both = [host, `http://127.0.0.1:${other.port}`];
  assert.equal((await get(`${host}/elsewhere`, both)).contentType, "image/png");
});

test("a URL with credentials is refused", async () => {
  await using server = await startServer(sendPng);
  const sentence = await refusal(`http://me:secret@127.0.0.1:${server.port}/`, [
    `http://127.0.0.1:${server.port}`,
  ]);
  assert.match(sentence, /with credentials, which this server does not send$/);
  assert.ok(!sentence.includes("secret"));
});

test("a file is bounded while it is read, announced or not", async () => {
  await using server = await startServer((request, response) => {
    if (request.url === "/announced") response.setHeader("content-length", 5000);
    for (let part = 0; part < 5; part++) response.write(Buffer.alloc(1000));
    response.end();
  });
  const host = `http://127.0.0.1:${server.port}`;
  for (const path of ["/announced", "/chunked"])
    assert.match(
      await refusal(`${host}${path}`, [host], { limitBytes: 3000 }),
      /"inputs" is larger than 3000 bytes$/,
    );
  assert.equal((await get(`${host}/chunked`, [host], { limitBytes: 5000 })).bytes.length, 5000);
});

test("a host that fails, compresses or cannot be reached is the client's affair", async () => {
  const answers: Record<string, Answer> = {
    "/404": (_request, response) => void response.writeHead(404).end(),
    "/gzip": (_request, response) =>
      void response.writeHead(200, { "content-encoding": "gzip" }).end("x"),
    "/cut": (_request, response) => {
      response.writeHead(200, { "content-length": 100 }).write("x");
      setImmediate(() => response.destroy());
    },
  };
  const server = await startServer((request, response) =>
    answers[request.url ?? ""]?.(request, response),
  );
  const host = `http://127.0.0.1:${server.port}`;
  assert.match(await refusal(`${host}/404`, [host]), /cannot be fetched: its host answers 404$/);
  assert.match(await refusal(`${host}/gzip`, [host]), /its host compresses what it sends$/);
  assert.match(await refusal(`${host}/cut`, [host]), /its host cannot be reached$/);
  await server[Symbol.asyncDispose]();
  assert.match(await refusal(`${host}/`, [host]), /its host cannot be reached$/);
  const resolve = async (): Promise<never> => {
    throw new Error("getaddrinfo ENOTFOUND");
  };
  assert.match(await refusal("https://a.org/", ["a.org"], { resolve }), /cannot be reached$/);
});

test("a host that keeps silent is given up, also while its name is looked up", async () => {
  await using server = await startServer(() => undefined);
  const host = `http://127.0.0.1:${server.port}`;
  assert.match(
    await refusal(host, [host], { timeoutMs: 20 }),
    /its host did not send it within 0.02 s$/,
  );
  const resolve = () => new Promise<never>(() => undefined);
  assert.match(
    await refusal("https://a.org/", ["a.org"], { resolve, timeoutMs: 20 }),
    /did not send it within/,
  );
});

test("the fetch ends with the request that wanted it", async () => {
  const client = new AbortController();
  const gone = new DOMException("The client has left", "AbortError");
  await using server = await startServer(() => client.abort(gone));
  const host = `http://127.0.0.1:${server.port}`;
  await assert.rejects(get(host, [host], { signal: client.signal }), gone);
  await assert.rejects(get(host, [host], { signal: client.signal }), gone, "nor does it begin");
  assert.equal(server.requests.length, 1);
});

test("only addresses that anybody could reach are public", () => {
  for (const address of ["1.1.1.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "2606:4700::1111"])
    assert.ok(isPublic(address), address);
  for (const address of [
    "0.0.0.0",
    "10.1.2.3",
    "100.100.100.200",
    "127.8.9.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:8.8.8.8",
    "64:ff9b::a00:1",
    "fc00::1",
    "fe80::1",
    "fd00:ec2::254",
    "2002:7f00:1::",
    "2001:db8::1",
    "ff02::1",
    "nonsense",
  ])
    assert.ok(!isPublic(address), address);
});
