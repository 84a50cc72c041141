/**
 * Every protocol on every port, with models that check what reaches them.
 */
import { testTargets } from "./brief.ts";
import { GRPC_TARGET } from "./grpc.ts";
import { HTTP_TARGETS } from "./http.ts";
import { SOCKET_TARGET } from "./socket.ts";

testTargets([...HTTP_TARGETS, SOCKET_TARGET, GRPC_TARGET]);
