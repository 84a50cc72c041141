/**
 * What the doctor has found.
 */
export interface Finding {
  readonly area: "machine" | "hub" | "repository";
  /** `warn`: it works, but not as well as it could. `fail`: a start would fail. */
  readonly level: "ok" | "warn" | "fail";
  /** One sentence. */
  readonly text: string;
  /** What to do about it. */
  readonly mend?: string;
}

export type Level = Finding["level"];
