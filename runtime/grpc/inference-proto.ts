/**
 * The Open Inference Protocol's gRPC service as protocol buffers: the specification's six calls, and the calls of KServe and
 * Triton for models that come and go.
 *
 * Source: `open_inference_grpc.proto` of the Open Inference Protocol (KServe, Apache-2.0); `grpc_predict_v2.proto` of KServe and
 * `grpc_service.proto` of Triton for `Repository…`. Names and numbers are the wire format: never change one. A string and
 * not a file, as the published package holds compiled TypeScript alone.
 *
 * KServe and Triton disagree on the field of a model's name in `Repository…` requests: 1 there, 2 here, where 1 is the repository's.
 * Both are strings, so one message reads both. Triton's answers are empty, so its clients pass over what KServe's want.
 */
export const INFERENCE_SERVICE = "inference.GRPCInferenceService";

export const INFERENCE_PROTO = `
syntax = "proto3";
package inference;

service GRPCInferenceService {
  // Whether the server answers at all.
  rpc ServerLive(ServerLiveRequest) returns (ServerLiveResponse) {}
  // Whether the server is ready for inference.
  rpc ServerReady(ServerReadyRequest) returns (ServerReadyResponse) {}
  // Whether a model is ready for inference.
  rpc ModelReady(ModelReadyRequest) returns (ModelReadyResponse) {}
  rpc ServerMetadata(ServerMetadataRequest) returns (ServerMetadataResponse) {}
  rpc ModelMetadata(ModelMetadataRequest) returns (ModelMetadataResponse) {}
  rpc ModelInfer(ModelInferRequest) returns (ModelInferResponse) {}
  rpc RepositoryIndex(RepositoryIndexRequest) returns (RepositoryIndexResponse) {}
  rpc RepositoryModelLoad(RepositoryModelLoadRequest) returns (RepositoryModelLoadResponse) {}
  rpc RepositoryModelUnload(RepositoryModelUnloadRequest) returns (RepositoryModelUnloadResponse) {}
}

message ServerLiveRequest {}
message ServerLiveResponse { bool live = 1; }

message ServerReadyRequest {}
message ServerReadyResponse { bool ready = 1; }

message ModelReadyRequest {
  string name = 1;
  // Without it the server chooses.
  string version = 2;
}
message ModelReadyResponse { bool ready = 1; }

message ServerMetadataRequest {}
message ServerMetadataResponse {
  string name = 1;
  string version = 2;
  repeated string extensions = 3;
}

message ModelMetadataRequest {
  string name = 1;
  // Without it the server chooses.
  string version = 2;
}
message ModelMetadataResponse {
  message TensorMetadata {
    string name = 1;
    string datatype = 2;
    // -1 is a dimension of any length.
    repeated int64 shape = 3;
  }
  string name = 1;
  repeated string versions = 2;
  string platform = 3;
  repeated TensorMetadata inputs = 4;
  repeated TensorMetadata outputs = 5;
  map<string, string> properties = 6;
}

message ModelInferRequest {
  message InferInputTensor {
    string name = 1;
    string datatype = 2;
    repeated int64 shape = 3;
    map<string, InferParameter> parameters = 4;
    // Absent where raw_input_contents is there.
    InferTensorContents contents = 5;
  }
  message InferRequestedOutputTensor {
    string name = 1;
    map<string, InferParameter> parameters = 2;
  }
  string model_name = 1;
  // Without it the server chooses.
  string model_version = 2;
  // Said again in the response.
  string id = 3;
  map<string, InferParameter> parameters = 4;
  repeated InferInputTensor inputs = 5;
  // All outputs where absent.
  repeated InferRequestedOutputTensor outputs = 6;
  // One for each input, in the same order: its elements row by row, little-endian, without padding.
  repeated bytes raw_input_contents = 7;
}

message ModelInferResponse {
  message InferOutputTensor {
    string name = 1;
    string datatype = 2;
    repeated int64 shape = 3;
    map<string, InferParameter> parameters = 4;
    InferTensorContents contents = 5;
  }
  string model_name = 1;
  string model_version = 2;
  string id = 3;
  map<string, InferParameter> parameters = 4;
  repeated InferOutputTensor outputs = 5;
  // As raw_input_contents; there where the request had it.
  repeated bytes raw_output_contents = 6;
}

message InferParameter {
  oneof parameter_choice {
    bool bool_param = 1;
    int64 int64_param = 2;
    string string_param = 3;
    double double_param = 4;
    uint64 uint64_param = 5;
  }
}

// A tensor's elements, row by row, in the list that fits the datatype. FP16 has none: it is sent raw.
message InferTensorContents {
  repeated bool bool_contents = 1;
  // INT8, INT16 and INT32.
  repeated int32 int_contents = 2;
  repeated int64 int64_contents = 3;
  // UINT8, UINT16 and UINT32.
  repeated uint32 uint_contents = 4;
  repeated uint64 uint64_contents = 5;
  repeated float fp32_contents = 6;
  repeated double fp64_contents = 7;
  repeated bytes bytes_contents = 8;
}

message ModelRepositoryParameter {
  oneof parameter_choice {
    bool bool_param = 1;
    int64 int64_param = 2;
    string string_param = 3;
    bytes bytes_param = 4;
  }
}

message RepositoryIndexRequest {
  string repository_name = 1;
  // Only models that are ready.
  bool ready = 2;
}
message RepositoryIndexResponse {
  message ModelIndex {
    string name = 1;
    string version = 2;
    // READY, LOADING or UNAVAILABLE.
    string state = 3;
    string reason = 4;
  }
  repeated ModelIndex models = 1;
}

message RepositoryModelLoadRequest {
  // Triton's repository_name where the name stands in triton_model_name.
  string model_name = 1;
  string triton_model_name = 2;
  map<string, ModelRepositoryParameter> parameters = 3;
}
message RepositoryModelLoadResponse {
  string model_name = 1;
  bool isLoaded = 2;
}

message RepositoryModelUnloadRequest {
  // Triton's repository_name where the name stands in triton_model_name.
  string model_name = 1;
  string triton_model_name = 2;
  map<string, ModelRepositoryParameter> parameters = 3;
}
message RepositoryModelUnloadResponse {
  string model_name = 1;
  bool isUnloaded = 2;
}
`;
