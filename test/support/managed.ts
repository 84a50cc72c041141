/**
 * The real program with a model store, its management port and its metrics port, as a test asks for it.
 */
import type { ModelStore } from "./model-store.ts";
import { startHubserve, type Hubserve } from "./hubserve.ts";

/** What the tests read of the management port's answers. */
export interface ManagementAnswer {
  readonly status: string;
  readonly type: string;
  readonly message: string;
  readonly models: readonly { readonly modelName: string; readonly modelUrl: string }[];
}

export interface DescribedModel {
  readonly modelVersion: string;
  readonly minWorkers: number;
  readonly workers: readonly { readonly pid: number }[];
}

export interface Managed extends AsyncDisposable {
  readonly server: Hubserve;
  readonly managementUrl: string;
  readonly manage: (
    method: string,
    path: string,
    body?: unknown,
  ) => Promise<{ status: number; body: ManagementAnswer }>;
  readonly describe: (path: string) => Promise<readonly DescribedModel[]>;
}

/** One worker each, and the model that `--models` names to begin with. */
const OPTIONS =
  "--models echo-1.0 --no-config-snapshots --enable-model-api --workers 1 --management-port 0 --metrics-port 0".split(
    " ",
  );

/** A server with a small model of its own, whose management port is open to the test. */
export async function startManaged(
  store: ModelStore,
  args: readonly string[] = ["--disable-token-auth"],
): Promise<Managed> {
  const server = await startHubserve({
    args: [...OPTIONS, "--model-store", store.path, ...args],
    cwd: store.path,
  });
  const managementUrl = /http:\/\/[^\s,;]+/.exec(await server.line(/Management on /))?.[0] ?? "";
  await server.line(/Ready after/);
  return {
    server,
    managementUrl,
    async manage(method, path, body) {
      const response = await fetch(`${managementUrl}${path}`, {
        method,
        ...(body !== undefined && {
          body: JSON.stringify(body),
          headers: { "content-type": "application/json" },
        }),
      });
      return { status: response.status, body: (await response.json()) as ManagementAnswer };
    },
    describe: async (path) =>
      (await (await fetch(`${managementUrl}/models/${path}`)).json()) as readonly DescribedModel[],
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Where a model answers. */
export const predictions = ({ server }: Managed, path = "echo"): string =>
  `${server.url}/predictions/${path}`;
