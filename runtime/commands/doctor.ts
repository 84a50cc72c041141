/**
 * `hubserve doctor`: what would keep this machine, or a repository on it, from serving, and how to mend it.
 */
import type { Surroundings } from "../config.ts";
import { createLog, printResult } from "../observe/log.ts";
import { createPaint, type Paint } from "../observe/terminal.ts";
import { VERSION } from "../version.ts";
import { readArguments } from "./arguments.ts";
import { examineHub } from "./doctor-hub.ts";
import { examineMachine } from "./doctor-machine.ts";
import { examineRepository } from "./doctor-repository.ts";
import type { Finding } from "./finding.ts";
import { DOCTOR } from "./manual.ts";

const AREAS = [
  ["machine", "This machine"],
  ["hub", "The Hub"],
  ["repository", "The repository"],
] as const satisfies readonly (readonly [Finding["area"], string])[];

/** @returns The exit code: 1 where something would fail. */
export async function runDoctor(surroundings: Surroundings): Promise<number> {
  const { words, config: read, has } = readArguments("doctor", DOCTOR, surroundings, 1);
  const config = { ...read, reference: words[0] };
  // What goes wrong is a finding: the log would only say it a second time.
  const log = createLog({
    level: "error",
    secrets: config.token === undefined ? [] : [config.token],
  });
  const isNamed = words.length > 0 || config.modelId !== undefined || config.modelDir !== undefined;
  const findings: readonly Finding[] = [
    ...(await examineMachine({ config })),
    ...(await examineHub(config)),
    ...(isNamed ? await examineRepository(config, log) : []),
  ];
  const isWell = findings.every(({ level }) => level !== "fail");
  if (has("json")) printResult(JSON.stringify({ ok: isWell, version: VERSION, findings }));
  else printResult(toText(findings, createPaint({ env: surroundings.env })));
  return isWell ? 0 : 1;
}

function toText(findings: readonly Finding[], paint: Paint): string {
  const marks = { ok: paint.green("ok  "), warn: paint.yellow("warn"), fail: paint.red("fail") };
  const parts = AREAS.flatMap(([area, title]) => {
    const lines = findings
      .filter((finding) => finding.area === area)
      .flatMap(({ level, text, mend }) => [
        `  ${marks[level]}  ${text}`,
        ...(mend === undefined ? [] : [`        ${mend}`]),
      ]);
    return lines.length === 0 ? [] : [`${paint.bold(title)}\n${lines.join("\n")}`];
  });
  const count = (level: Finding["level"]): number =>
    findings.filter((finding) => finding.level === level).length;
  const [warnings, failures] = [count("warn"), count("fail")];
  const verdict =
    failures > 0
      ? paint.red(`${failures} would fail`)
      : paint.green(warnings > 0 ? "It can serve" : "All is well");
  return [...parts, `${verdict}${warnings > 0 ? `, ${warnings} to know about` : ""}.`].join("\n\n");
}
