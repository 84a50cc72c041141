/**
 * What must not be read in a log, told by its form, by the name it goes by, or because it is a secret of this server.
 *
 * Cutting a secret out leaves the rest of the sentence. What has neither form nor name cannot be told from other text.
 */

export const REDACTED = "[redacted]";

/** User access tokens and OAuth tokens of the Hub: `hf_` or `hf_oauth_`, then letters and digits. */
const HUB_TOKEN = /\bhf_(?:oauth_)?[A-Za-z0-9._-]{6,}/g;
/** Schemes of `Authorization`: RFC 6750, RFC 7617. "Basic configuration" is none. */
const CREDENTIALS = /\b((?:Bearer\s+|Basic\s+(?=\S*[\d+/=])))[A-Za-z0-9._~+/=-]{8,}/gi;
/** `https://user:password@host`: RFC 3986, 3.2.1. */
const USER_INFO = /(\b[a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#@"'\\]+@/gi;
/**
 * Of a query: what signs a URL (Amazon S3, CloudFront, Google, Azure), and what is called a key or a token. Only behind `?`
 * or `&`, so that "token=5" in a sentence stays.
 */
const QUERY_VALUE =
  /([?&](?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|key-pair-id|awsaccesskeyid|policy|(?:access_|auth_|api_|id_|refresh_)?token|api[_-]?key|key|password|secret|client_secret)=)[^&\s"'\\#]+/gi;
/** JSON Web Tokens: two JSON objects in base64url, and a signature. */
const JSON_WEB_TOKEN = /\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*/g;

/** Replaces tokens, credentials, signatures and the given secrets in `text`. */
export function redact(text: string, secrets: readonly string[] = []): string {
  let clean = text;
  for (const secret of secrets) {
    if (secret.length > 0) clean = clean.replaceAll(secret, REDACTED);
  }
  return clean
    .replace(HUB_TOKEN, REDACTED)
    .replace(JSON_WEB_TOKEN, REDACTED)
    .replace(CREDENTIALS, `$1${REDACTED}`)
    .replace(USER_INFO, `$1${REDACTED}@`)
    .replace(QUERY_VALUE, `$1${REDACTED}`);
}

const SECRET_NAME =
  /^(?:(?:proxy-)?authorization|(?:set-)?cookie|password|passwd|secret|client[_-]?secret|(?:x-)?api[_-]?key|(?:access|auth|refresh|id|bearer)[_-]?token|token|private[_-]?key)$/i;

/** Whether what goes by that name is a secret, whatever it looks like. `tokens` is a number of them, and none. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}
