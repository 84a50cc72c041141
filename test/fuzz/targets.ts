/**
 * Everything that is fuzzed.
 */
import { ARCHIVE_TARGET } from "./archives.ts";
import { FILE_TARGETS } from "./files.ts";
import { GRPC_TARGET } from "./grpc.ts";
import { HTTP_TARGETS } from "./http.ts";
import { MEDIA_TARGETS } from "./media.ts";
import { ONNX_TARGETS } from "./onnx.ts";
import { REAL_TARGETS } from "./real.ts";
import { SOCKET_TARGET } from "./socket.ts";
import type { Target } from "./target.ts";

export const TARGETS: readonly Target[] = [
  ...HTTP_TARGETS,
  SOCKET_TARGET,
  GRPC_TARGET,
  ...REAL_TARGETS,
  ...FILE_TARGETS,
  ARCHIVE_TARGET,
  ...ONNX_TARGETS,
  ...MEDIA_TARGETS,
];
