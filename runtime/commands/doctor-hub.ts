/**
 * The doctor's look at the Hub: whether it can be reached, and whom it takes the token for. The token is never shown.
 */
import type { Config } from "../config.ts";
import { askAccount } from "../repository/hub-account.ts";
import type { Finding, Level } from "./finding.ts";

export async function examineHub(config: Config): Promise<readonly Finding[]> {
  const { endpoint, token, origins, offline } = config;
  const source = origins.token === "default" ? "what `hf auth login` stored" : origins.token;
  if (offline) return [finding("ok", `The Hub is not asked: ${origins.offline} says offline`)];
  const account = await askAccount(endpoint, token);
  const reached = finding("ok", `The Hub answers at ${endpoint}`);
  switch (account.state) {
    case "unreachable":
      return [
        finding(
          "warn",
          `The Hub at ${endpoint} cannot be reached: ${account.reason}`,
          "Check the network, a proxy and HF_ENDPOINT; folders, archives and what is in the cache are served without it",
        ),
        ...(token === undefined
          ? []
          : [finding("ok", `There is a token, from ${source}; nobody could be asked about it`)]),
      ];
    case "anonymous":
      return [
        reached,
        finding(
          "ok",
          "There is no token: public models only; HF_TOKEN or `hf auth login` sets one",
        ),
      ];
    case "refused":
      return [
        reached,
        finding(
          "fail",
          `The Hub refuses the token from ${source} (${account.status})`,
          `Make a new one at ${endpoint}/settings/tokens, or unset it where the model is public`,
        ),
      ];
    case "known": {
      const role = account.role === undefined ? "" : `, role ${account.role}`;
      return [reached, finding("ok", `The token from ${source} is ${account.name}'s${role}`)];
    }
  }
}

function finding(level: Level, text: string, mend?: string): Finding {
  return { area: "hub", level, text, ...(mend !== undefined && { mend }) };
}
