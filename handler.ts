/**
 * Hugging Face's own custom-handler tutorial in TypeScript: classify a text's emotion, unless the date is a public
 * holiday in the United States, when everybody is happy.
 */
import { resolve } from "node:path";
import { pipeline, type TextClassificationPipeline } from "@huggingface/transformers";
import Holidays from "date-holidays";
import type { HandlerData } from "hubserve";

export class EndpointHandler {
  private readonly holidays = new Holidays("US");
  private readonly classifier: Promise<TextClassificationPipeline>;

  constructor(path: string) {
    // An absolute path: transformers.js would look for a relative one among its own models.
    this.classifier = pipeline("text-classification", resolve(path), { dtype: "q8" });
  }

  async load(): Promise<void> {
    await this.classifier;
  }

  async call({ inputs, date }: HandlerData): Promise<unknown> {
    if (typeof date === "string" && this.isHoliday(date)) return [{ label: "happy", score: 1 }];
    const classify = await this.classifier;
    return classify(inputs as string | string[]);
  }

  /** @param date As `YYYY-MM-DD`. */
  private isHoliday(date: string): boolean {
    return this.holidays
      .getHolidays(Number(date.slice(0, 4)))
      .some((holiday) => holiday.type === "public" && holiday.date.slice(0, 10) === date);
  }
}
