/**
 * Standard Schema (https://standardschema.dev, version 1.1.0): what zod, valibot, ArkType and others have in common.
 *
 * The specification asks to copy these types rather than to depend on them. Of Standard JSON Schema, its sister, only what makes
 * the schema of inputs is here.
 */

/** A schema that reads `Input` and makes `Output` of it. */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    /** The library's name. */
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** There for the compiler only. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
    /** There where the library also speaks Standard JSON Schema; throws for what JSON Schema has no words for. */
    readonly jsonSchema?:
      | { readonly input: (options: { readonly target: string }) => Record<string, unknown> }
      | undefined;
  };
}

/** A value without `issues` is what the schema made of the input. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}
