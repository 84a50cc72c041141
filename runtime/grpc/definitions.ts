/**
 * The service's messages as `@grpc/grpc-js` wants them: parsed from the protocol buffers' text.
 *
 * A message that cannot be decoded is the client's fault, but the library would call it `INTERNAL`: so decoding never throws
 * here, and `calls.ts` refuses it as bad input.
 */
import type { ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON, type Options, type PackageDefinition } from "@grpc/proto-loader";
import protobuf from "protobufjs";

import { isRuntimeError, RuntimeError } from "../errors.ts";
import { assertModest, MOST_BYTES_WITHOUT_DATA } from "./bounds.ts";
import { INFERENCE_PROTO, INFERENCE_SERVICE } from "./inference-proto.ts";

/** What came in: a message, or why there is none. */
export type Incoming<Message> = { readonly message: Message } | { readonly refusal: RuntimeError };

/**
 * Fields keep their names; 64-bit integers are decimal text, which loses nothing; what is absent has its default, a message
 * `null`; a oneof's own name tells which of its fields is there.
 */
const LOADING: Options = {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
};

/** What bytes become; throws for those that are no message. */
type Decode = (bytes: Buffer) => unknown;

export interface InferenceDefinitions {
  /** For reflection. */
  readonly messages: PackageDefinition;
  /** Its requests arrive as `Incoming`. */
  readonly service: ServiceDefinition;
}

export function loadInferenceDefinitions(): InferenceDefinitions {
  const messages = load(INFERENCE_PROTO);
  const decodeInferRequest = inferRequestDecoder();
  const lenient = Object.entries(serviceOf(messages)).map(([name, method]) => {
    const decode: Decode =
      name === "ModelInfer" ? decodeInferRequest : withoutData(method.requestDeserialize);
    return [name, { ...method, requestDeserialize: leniently(decode, method.path) }];
  });
  return { messages, service: Object.fromEntries(lenient) };
}

function load(text: string): PackageDefinition {
  const { root } = protobuf.parse(text, { keepCase: true });
  return fromJSON(root.toJSON(), LOADING);
}

function serviceOf(messages: PackageDefinition): ServiceDefinition {
  // Proof of the cast: the text declares a service of that name, and a package has services as such.
  return messages[INFERENCE_SERVICE] as ServiceDefinition;
}

/** On the wire a message inside a message is its bytes: contents stay so until it is known what they should be. */
function inferRequestDecoder(): Decode {
  const opaque = INFERENCE_PROTO.replace(
    "InferTensorContents contents = 5;",
    "bytes contents = 5;",
  );
  const { requestDeserialize } = serviceOf(load(opaque))["ModelInfer"]!; // as the text declares
  return (bytes) => {
    assertModest(bytes);
    return requestDeserialize(bytes);
  };
}

function withoutData(decode: Decode): Decode {
  return (bytes) => {
    if (bytes.byteLength <= MOST_BYTES_WITHOUT_DATA) return decode(bytes);
    const found = `found ${bytes.byteLength} bytes, wanted at most ${MOST_BYTES_WITHOUT_DATA}`;
    throw new RuntimeError("BODY_TOO_LARGE", `Cannot read the message: ${found}`);
  };
}

function leniently(decode: Decode, path: string): (bytes: Buffer) => Incoming<unknown> {
  return (bytes) => {
    try {
      return { message: decode(bytes) };
    } catch (error) {
      if (isRuntimeError(error)) return { refusal: error };
      const text = `Cannot read the message: its bytes are not what ${path} takes`;
      return { refusal: new RuntimeError("INVALID_INPUT", text, { cause: error }) };
    }
  };
}
