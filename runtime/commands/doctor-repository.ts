/**
 * The doctor's look at a repository: what would answer for it, and what that lacks. No model is loaded.
 */
import { realpathSync } from "node:fs";
import type { Config } from "../config.ts";
import { availableCpus } from "../engine/cpu.ts";
import { chooseWorkers, workerBytesFor } from "../engine/worker-count.ts";
import { messageOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { formatBytes } from "../repository/hub-progress.ts";
import { inspectRepository, type Inspection } from "../repository/inspect.ts";
import { chooseWeights, findModelFolder, type Weights } from "../weights.ts";
import { freeBytes, memoryOf } from "./doctor-machine.ts";
import type { Finding, Level } from "./finding.ts";

export async function examineRepository(config: Config, log: Log): Promise<readonly Finding[]> {
  let repository: Inspection;
  try {
    repository = await inspectRepository(config, log, new AbortController().signal);
  } catch (error) {
    return [finding("fail", messageOf(error), "Name a folder, or a model that the Hub shows you")];
  }
  const { name, folder, commit, files } = repository;
  const where = folder ?? `${config.endpoint}/${name} at commit ${commit?.slice(0, 12)}`;
  const { HANDLER_FILES } = await import("../handler/load.ts");
  const paths = files.map(({ path }) => path);
  const handler = HANDLER_FILES.find((file) => paths.includes(file));
  return [
    finding("ok", `${name}: ${where}, ${files.length} files`),
    ...examineDownload(repository, config),
    ...(handler === undefined
      ? await examineModel(repository, config)
      : await examineHandler(repository, handler, config)),
    ...examinePython(paths, handler),
  ];
}

function examineDownload({ downloadBytes }: Inspection, { hubCache }: Config): readonly Finding[] {
  if (downloadBytes === 0) return [];
  const free = freeBytes(hubCache);
  const text = `Serving it downloads ${formatBytes(downloadBytes)} into ${hubCache}, unless they are there`;
  return free !== undefined && free < downloadBytes
    ? [
        finding(
          "fail",
          `${text}; ${formatBytes(free)} are free`,
          "Free some space, or name another folder with --hub-cache",
        ),
      ]
    : [finding("ok", text)];
}

/** A handler of the repository's own: whether it compiles, and has its packages. */
async function examineHandler(
  { folder }: Inspection,
  file: string,
  { cache }: Config,
): Promise<readonly Finding[]> {
  if (folder === undefined)
    return [
      finding(
        "ok",
        `${file} answers; whether it compiles shows once it is here: \`hubserve pull\``,
      ),
    ];
  const findings: Finding[] = [];
  const repository = realpathSync(folder);
  let dependencies: string | undefined;
  try {
    const { findInstalled } = await import("../repository/requirements.ts");
    const { wanted, folder: installed } = await findInstalled(repository, cache);
    dependencies = installed;
    if (wanted.length > 0) {
      const names = wanted.map(({ name }) => name).join(", ");
      findings.push(
        installed === undefined
          ? finding(
              "warn",
              `requirements.json asks for ${names}, not installed yet`,
              "The first start installs them and needs npm's registry then; `hubserve call` does it now",
            )
          : finding("ok", `requirements.json asks for ${names}: installed`),
      );
    }
  } catch (error) {
    findings.push(finding("fail", messageOf(error), "Mend requirements.json"));
  }
  try {
    const { bundleHandler } = await import("../handler/custom/bundle.ts");
    const bundle = await bundleHandler({
      repository,
      file,
      ...(dependencies !== undefined && { dependencies }),
    });
    const own = bundle.files.length;
    findings.push(finding("ok", `${file} compiles, ${own} file${own === 1 ? "" : "s"}`));
    for (const warning of bundle.warnings)
      findings.push(finding("warn", `${file}: ${warning}`, "Look at that line"));
  } catch (error) {
    const isMissing = findings.some(({ level }) => level !== "ok");
    findings.push(
      finding(
        isMissing ? "warn" : "fail",
        messageOf(error),
        isMissing ? "It may only lack its packages: see above" : `Mend ${file}`,
      ),
    );
  }
  return findings;
}

/** The default handler: configuration, task, weights, tokenizer, memory. */
async function examineModel(repository: Inspection, config: Config): Promise<readonly Finding[]> {
  const { files, readText, hubTask } = repository;
  const paths = files.map(({ path }) => path);
  const prefix = findModelFolder(paths) === "model" ? "model/" : "";
  const [{ chooseTask }, { ModelConfig, readCard }] = await Promise.all([
    import("../handler/model/choose-task.ts"),
    import("../handler/model/folder.ts"),
  ]);
  const findings: Finding[] = [];
  const text = await readText(`${prefix}config.json`);
  if (text === undefined) {
    return [
      finding(
        "fail",
        "It has neither a handler.ts nor a config.json",
        "`hubserve init --bare` writes a handler; a model for the default handler has a config.json beside its weights",
      ),
    ];
  }
  let task: string | undefined;
  try {
    const modelConfig = ModelConfig.parse(JSON.parse(text));
    const card = repository.folder && (await readCard(repository.folder, paths, prefix));
    const pipelineTag = card ? card.pipelineTag : hubTask;
    const choice = chooseTask(
      {
        files: paths,
        prefix,
        config: modelConfig,
        ...(pipelineTag !== undefined && { pipelineTag }),
      },
      config.task,
    );
    task = choice.task.name;
    findings.push(finding("ok", `The default handler serves ${task}, ${choice.why}`));
    if (pipelineTag === undefined && config.task === undefined) {
      findings.push(
        finding(
          "warn",
          "The model card has no pipeline_tag, so the task is guessed",
          `Put \`pipeline_tag: ${task}\` into the front matter of README.md, or say --task`,
        ),
      );
    }
  } catch (error) {
    findings.push(
      finding("fail", messageOf(error), "Name the task with --task, or mend config.json"),
    );
  }
  findings.push(...examineTokenizer(paths, prefix, task));
  const weights = chooseWeights(paths, config.dtype);
  if (weights === undefined) {
    const found = chooseWeights(paths)?.available.join(", ") ?? "no ONNX file";
    const wanted = config.dtype === undefined ? "onnx/model.onnx" : `the dtype ${config.dtype}`;
    findings.push(
      finding(
        "fail",
        `It has no weights to serve: found ${found}, wanted ${wanted}`,
        "Export them: `optimum-cli export onnx --model <name> <folder>`, or https://huggingface.co/spaces/onnx-community/convert-to-onnx",
      ),
    );
  } else findings.push(...examineWeights(weights, repository, config));
  return findings;
}

/** Tasks whose inputs are texts: without a tokenizer they cannot be read. */
const OF_TEXT =
  /text|token|question-answering|fill-mask|summar|translation|feature-extraction|sentence/;

function examineTokenizer(
  paths: readonly string[],
  prefix: string,
  task: string | undefined,
): readonly Finding[] {
  const isOfText = task !== undefined && OF_TEXT.test(task) && !/image|visual|document/.test(task);
  if (!isOfText) return [];
  return paths.includes(`${prefix}tokenizer.json`)
    ? [finding("ok", `${prefix}tokenizer.json is there`)]
    : [
        finding(
          "fail",
          `${prefix}tokenizer.json is missing`,
          "`AutoTokenizer.from_pretrained(<name>).save_pretrained(<folder>)` of Python's transformers writes it",
        ),
      ];
}

function examineWeights(
  weights: Weights,
  { files }: Inspection,
  config: Config,
): readonly Finding[] {
  const bytes = files
    .filter(({ path }) => weights.files.includes(path))
    .reduce((sum, { size }) => sum + size, 0);
  const others = weights.available.filter((dtype) => dtype !== weights.dtype);
  const more = others.length === 0 ? "" : `; ${others.join(", ")} are there too`;
  const memory = memoryOf();
  const one = workerBytesFor(bytes);
  const plan = chooseWorkers({
    cpus: availableCpus().cpus,
    memoryBytes: memory.bytes,
    weightsBytes: bytes,
    ...config,
  });
  const workers = `${plan.maxWorkers} worker${plan.maxWorkers === 1 ? "" : "s"}`;
  const need = `${workers} want about ${formatBytes(one * plan.maxWorkers)} of ${formatBytes(memory.bytes)}, by ${memory.why}`;
  return [
    finding("ok", `Weights: ${weights.dtype}, ${formatBytes(bytes)}${more}`),
    one > memory.bytes
      ? finding(
          "fail",
          `The memory does not hold one worker: ${need}`,
          "Allow more memory, or choose smaller weights with --dtype",
        )
      : one * plan.maxWorkers > memory.bytes
        ? finding(
            "warn",
            `The memory may not hold all workers: ${need}`,
            "Ask for fewer with --workers or --max-workers",
          )
        : finding("ok", `Memory: ${need}`),
  ];
}

function examinePython(paths: readonly string[], handler: string | undefined): readonly Finding[] {
  const python = paths.find((path) => path === "handler.py" || path === "pipeline.py");
  if (python === undefined || handler !== undefined) return [];
  return [
    finding(
      "warn",
      `${python} is Python and is not run`,
      "Write it in TypeScript (`hubserve init` begins one), or let the default handler serve the task",
    ),
  ];
}

function finding(level: Level, text: string, mend?: string): Finding {
  return { area: "repository", level, text, ...(mend !== undefined && { mend }) };
}
