/**
 * Real models behind the real program: two of them stand for all here, as each takes a server.
 */
import { testTargets } from "./brief.ts";
import { REAL_TARGETS } from "./real.ts";

const NAMES = ["real text-classification", "real custom"];

testTargets(REAL_TARGETS.filter(({ name }) => NAMES.includes(name)));
