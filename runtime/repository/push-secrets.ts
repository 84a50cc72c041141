/**
 * What looks like a secret in files that are about to be published.
 *
 * By a file's name, or by a line of it. A finding names the place and the kind, never the secret. It is a net, not a
 * wall: what it lets pass need not be harmless.
 */
import { open } from "node:fs/promises";
import { basename } from "node:path";

export interface Secret {
  /** Relative to the repository, with `/`. */
  readonly path: string;
  /** 1 for the first; absent where the name says it all. */
  readonly line?: number;
  /** `a token of the Hugging Face Hub`. */
  readonly kind: string;
}

const NAMES: readonly (readonly [name: RegExp, kind: string])[] = [
  [/^\.env(?:\.(?!example$|sample$|template$).*)?$/i, "a file of environment variables"],
  [/\.(?:pem|key|p12|pfx|jks|keystore|ppk)$/i, "a key"],
  [/^id_(?:rsa|dsa|ecdsa|ed25519)$/i, "a private SSH key"],
  [/^\.?(?:netrc|pgpass|npmrc|pypirc|git-credentials)$/i, "a file of credentials"],
  [/^(?:credentials|service[-_]account.*|client_secret.*)\.json$/i, "a file of credentials"],
  [/^key_file\.json$/i, "the keys of a server"],
];

const CONTENTS: readonly (readonly [content: RegExp, kind: string])[] = [
  [/\bhf_(?:oauth_)?[A-Za-z0-9]{20,}\b/, "a token of the Hugging Face Hub"],
  [/-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----/, "a private key"],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/, "a key of AWS"],
  [/\bgh[pousr]_[A-Za-z0-9]{30,}\b|\bgithub_pat_\w{40,}\b/, "a token of GitHub"],
  [/\bglpat-[\w-]{20,}/, "a token of GitLab"],
  [/\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}/, "a key of OpenAI's or Anthropic's kind"],
  [/\bxox[abpors]-[A-Za-z0-9-]{20,}/, "a token of Slack"],
  [/\bAIza[\w-]{35}\b/, "a key of Google"],
  [/\bnpm_[A-Za-z0-9]{36}\b/, "a token of npm"],
];

/** What lies further back is not read: handlers and their settings are shorter, weights have no lines. */
const READ_BYTES = 1024 * 1024;

/** @param file Absolute. @param path Relative to the repository. */
export async function findSecret(file: string, path: string): Promise<Secret | undefined> {
  const named = NAMES.find(([name]) => name.test(basename(path)));
  if (named !== undefined) return { path, kind: named[1] };
  await using handle = await open(file, "r");
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, 0);
  const bytes = buffer.subarray(0, bytesRead);
  if (bytes.includes(0)) return undefined; // not a text
  for (const [index, text] of bytes.toString("utf8").split("\n").entries()) {
    const found = CONTENTS.find(([content]) => content.test(text));
    if (found !== undefined) return { path, line: index + 1, kind: found[1] };
  }
  return undefined;
}
