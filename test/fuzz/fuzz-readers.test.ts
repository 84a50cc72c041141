/**
 * Every reader of files, and decoders of what clients send.
 */
import { ARCHIVE_TARGET } from "./archives.ts";
import { testTargets } from "./brief.ts";
import { FILE_TARGETS } from "./files.ts";
import { MEDIA_TARGETS } from "./media.ts";
import { ONNX_TARGETS } from "./onnx.ts";

testTargets([...FILE_TARGETS, ARCHIVE_TARGET, ...ONNX_TARGETS, ...MEDIA_TARGETS]);
