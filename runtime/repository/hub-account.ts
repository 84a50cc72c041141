/**
 * Whether the Hub can be reached, and whom it takes a token for.
 */
import { z } from "zod";
import { describeNetworkFailure } from "./hub-errors.ts";
import { USER_AGENT } from "./hub-fetch.ts";

export type HubAccount =
  | { readonly state: "unreachable"; readonly reason: string }
  /** It answers, and there was no token to ask about. */
  | { readonly state: "anonymous" }
  | { readonly state: "refused"; readonly status: number }
  | { readonly state: "known"; readonly name: string; readonly role: string | undefined };

const WhoAmI = z.object({
  name: z.string(),
  auth: z.object({ accessToken: z.object({ role: z.string() }).nullish() }).nullish(),
});

const TIMEOUT_MS = 10_000;

/** Asks once. The token is shown to nobody else: a redirect to another origin loses it (Fetch Standard). */
export async function askAccount(
  endpoint: string,
  token: string | undefined,
  ask: typeof fetch = fetch,
): Promise<HubAccount> {
  try {
    const response = await ask(`${endpoint}/api/whoami-v2`, {
      headers: {
        "user-agent": USER_AGENT,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    if (response.status >= 500)
      return { state: "unreachable", reason: `it answers ${response.status}` };
    if (token === undefined) return { state: "anonymous" };
    if (!response.ok) return { state: "refused", status: response.status };
    const { name, auth } = WhoAmI.parse(JSON.parse(text));
    return { state: "known", name, role: auth?.accessToken?.role };
  } catch (error) {
    const isOther = error instanceof z.ZodError || error instanceof SyntaxError;
    const reason = isOther ? "what answers there is no Hub" : describeNetworkFailure(error);
    return { state: "unreachable", reason };
  }
}
