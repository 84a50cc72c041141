/**
 * ONNX's protobuf messages: the part of `onnx.proto3` (onnx 1.19, IR version 12) that a model file can hold, as a
 * descriptor for protobufjs and as TypeScript types.
 *
 * protobufjs drops fields that its descriptor does not name, so every field of the messages is named here, also those
 * that nobody in this folder reads. Left out is `TrainingInfoProto`: a graph with it is refused by `onnx-model.ts`.
 * Presence is kept: a field that the file does not set is `undefined` or, for lists, empty, and is not written.
 */
import protobuf from "protobufjs/light.js";

/** A 64-bit integer as protobufjs reads it: a `Long`. A plain number is accepted when writing. */
export type Int64 = ReturnType<protobuf.Reader["int64"]> | number;

/** `TensorProto.DataType`, of which only names that this folder uses. */
export const ELEMENT = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
} as const;

/** `AttributeProto.AttributeType`. */
export const ATTRIBUTE = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;

export interface Entry {
  key?: string;
  value?: string;
}

export interface Tensor {
  name?: string;
  /** Absent where the file names none: a scalar. */
  dims?: Int64[];
  /** One of `ELEMENT`. */
  dataType?: number;
  /** Little endian, row-major. A view into the file's bytes when it was read from one. */
  rawData?: Uint8Array;
  floatData?: number[];
  /** Also holds bool, the 8- and 16-bit integers, and the bits of float16. */
  int32Data?: number[];
  int64Data?: Int64[];
  doubleData?: number[];
  stringData?: Uint8Array[];
  uint64Data?: Int64[];
  dataLocation?: number;
  externalData?: Entry[];
  segment?: { begin?: Int64; end?: Int64 };
  docString?: string;
  metadataProps?: Entry[];
}

export interface Attribute {
  name: string;
  /** One of `ATTRIBUTE`; very old files leave it out. */
  type?: number;
  f?: number;
  i?: Int64;
  s?: Uint8Array;
  t?: Tensor;
  g?: Graph;
  floats?: number[];
  ints?: Int64[];
  strings?: Uint8Array[];
  tensors?: Tensor[];
  graphs?: Graph[];
  refAttrName?: string;
}

export interface Node {
  /** Names of values; an empty name leaves an optional input out. */
  input: string[];
  output: string[];
  name?: string;
  opType: string;
  /** Empty or absent: ONNX's own operators. */
  domain?: string;
  attribute?: Attribute[];
  docString?: string;
}

export interface Dimension {
  dimValue?: Int64;
  dimParam?: string;
}

export interface ValueInfo {
  name: string;
  type?: { tensorType?: { elemType?: number; shape?: { dim?: Dimension[] } } };
}

export interface Graph {
  name?: string;
  node: Node[];
  initializer: Tensor[];
  input: ValueInfo[];
  output: ValueInfo[];
  valueInfo: ValueInfo[];
  sparseInitializer?: unknown[];
  quantizationAnnotation?: { tensorName?: string }[];
  docString?: string;
  metadataProps?: Entry[];
}

export interface OperatorSet {
  /** Empty or absent: ONNX's own operators. */
  domain?: string;
  version?: Int64;
}

/** A function that nodes call like an operator. */
export interface Function {
  name?: string;
  domain?: string;
}

export interface ModelProto {
  irVersion?: Int64;
  opsetImport: OperatorSet[];
  producerName?: string;
  producerVersion?: string;
  domain?: string;
  modelVersion?: Int64;
  docString?: string;
  graph: Graph;
  metadataProps?: Entry[];
  trainingInfo?: unknown[];
  functions?: Function[];
}

/** `"repeated int64 8"` → a field of the descriptor. Lists of numbers are packed where `onnx.proto` says so. */
function field(text: string): protobuf.IField {
  const [id, type, rule] = text.split(" ").toReversed();
  const isPacked = rule === "packed";
  return {
    id: Number(id),
    type: type ?? "",
    ...(rule !== undefined && { rule: "repeated", options: { packed: isPacked } }),
  };
}

function fields(lines: Readonly<Record<string, string>>): protobuf.IType {
  const entries = Object.entries(lines).map(([name, text]) => [name, field(text)] as const);
  return { fields: Object.fromEntries(entries) };
}

const root = protobuf.Root.fromJSON({
  nested: {
    Entry: fields({ key: "string 1", value: "string 2" }),
    OperatorSet: fields({ domain: "string 1", version: "int64 2" }),
    Segment: fields({ begin: "int64 1", end: "int64 2" }),
    Tensor: fields({
      dims: "repeated int64 1",
      dataType: "int32 2",
      segment: "Segment 3",
      floatData: "packed float 4",
      int32Data: "packed int32 5",
      stringData: "repeated bytes 6",
      int64Data: "packed int64 7",
      name: "string 8",
      rawData: "bytes 9",
      doubleData: "packed double 10",
      uint64Data: "packed uint64 11",
      docString: "string 12",
      externalData: "repeated Entry 13",
      dataLocation: "int32 14",
      metadataProps: "repeated Entry 16",
    }),
    SparseTensor: fields({ values: "Tensor 1", indices: "Tensor 2", dims: "repeated int64 3" }),
    Dimension: fields({ dimValue: "int64 1", dimParam: "string 2", denotation: "string 3" }),
    Shape: fields({ dim: "repeated Dimension 1" }),
    TensorType: fields({ elemType: "int32 1", shape: "Shape 2" }),
    SequenceType: fields({ elemType: "Type 1" }),
    MapType: fields({ keyType: "int32 1", valueType: "Type 2" }),
    Opaque: fields({ domain: "string 1", name: "string 2" }),
    Type: fields({
      tensorType: "TensorType 1",
      sequenceType: "SequenceType 4",
      mapType: "MapType 5",
      denotation: "string 6",
      opaqueType: "Opaque 7",
      sparseTensorType: "TensorType 8",
      optionalType: "SequenceType 9", // the same one field, `elem_type`
    }),
    ValueInfo: fields({
      name: "string 1",
      type: "Type 2",
      docString: "string 3",
      metadataProps: "repeated Entry 4",
    }),
    Attribute: fields({
      name: "string 1",
      f: "float 2",
      i: "int64 3",
      s: "bytes 4",
      t: "Tensor 5",
      g: "Graph 6",
      floats: "repeated float 7",
      ints: "repeated int64 8",
      strings: "repeated bytes 9",
      tensors: "repeated Tensor 10",
      graphs: "repeated Graph 11",
      docString: "string 13",
      tp: "Type 14",
      typeProtos: "repeated Type 15",
      type: "int32 20",
      refAttrName: "string 21",
      sparseTensor: "SparseTensor 22",
      sparseTensors: "repeated SparseTensor 23",
    }),
    IntIntList: fields({ key: "int64 1", value: "repeated int64 2" }),
    SimpleShardedDim: fields({ dimValue: "int64 1", dimParam: "string 2", numShards: "int64 3" }),
    ShardedDim: fields({ axis: "int64 1", simpleSharding: "repeated SimpleShardedDim 2" }),
    Sharding: fields({
      tensorName: "string 1",
      device: "repeated int64 2",
      indexToDeviceGroupMap: "repeated IntIntList 3",
      shardedDim: "repeated ShardedDim 4",
    }),
    NodeDevices: fields({
      configurationId: "string 1",
      shardingSpec: "repeated Sharding 2",
      pipelineStage: "int32 3",
    }),
    Node: fields({
      input: "repeated string 1",
      output: "repeated string 2",
      name: "string 3",
      opType: "string 4",
      attribute: "repeated Attribute 5",
      docString: "string 6",
      domain: "string 7",
      overload: "string 8",
      metadataProps: "repeated Entry 9",
      deviceConfigurations: "repeated NodeDevices 10",
    }),
    Annotation: fields({ tensorName: "string 1", quantParameterTensorNames: "repeated Entry 2" }),
    Graph: fields({
      node: "repeated Node 1",
      name: "string 2",
      initializer: "repeated Tensor 5",
      docString: "string 10",
      input: "repeated ValueInfo 11",
      output: "repeated ValueInfo 12",
      valueInfo: "repeated ValueInfo 13",
      quantizationAnnotation: "repeated Annotation 14",
      sparseInitializer: "repeated SparseTensor 15",
      metadataProps: "repeated Entry 16",
    }),
    Function: fields({
      name: "string 1",
      input: "repeated string 4",
      output: "repeated string 5",
      attribute: "repeated string 6",
      node: "repeated Node 7",
      docString: "string 8",
      opsetImport: "repeated OperatorSet 9",
      domain: "string 10",
      attributeProto: "repeated Attribute 11",
      valueInfo: "repeated ValueInfo 12",
      overload: "string 13",
      metadataProps: "repeated Entry 14",
    }),
    Training: { fields: {} }, // only to notice that it is there
    DeviceConfiguration: fields({
      name: "string 1",
      numDevices: "int32 2",
      device: "repeated string 3",
    }),
    Model: fields({
      irVersion: "int64 1",
      producerName: "string 2",
      producerVersion: "string 3",
      domain: "string 4",
      modelVersion: "int64 5",
      docString: "string 6",
      graph: "Graph 7",
      opsetImport: "repeated OperatorSet 8",
      metadataProps: "repeated Entry 14",
      trainingInfo: "repeated Training 20",
      functions: "repeated Function 25",
      configuration: "repeated DeviceConfiguration 26",
    }),
  },
});

const Model = root.resolveAll().lookupType("Model");

// protobufjs gives every message the defaults of its fields by its prototype, which hides whether a field was set.
for (const type of root.nestedArray.filter((entry) => entry instanceof protobuf.Type))
  for (const { name } of type.fieldsArray) Reflect.deleteProperty(type.ctor.prototype, name);

/**
 * The model in `bytes`, whose tensors' raw data are views into it.
 *
 * @throws Errors of protobufjs when the bytes are no such message.
 */
export function decodeModel(bytes: Uint8Array): Partial<ModelProto> {
  // protobufjs reads `Buffer`s without copying, and plain arrays by copying every field of bytes.
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Model.decode(buffer) as unknown as Partial<ModelProto>; // the descriptor above says the same as the types
}

export function encodeModel(model: ModelProto): Uint8Array {
  return Model.encode(model).finish();
}
