// What BuildKit's frontend said in the recordings, read and written again.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { goJson } from "../../lib/index.js";
import type { Call } from "../types.js";
import { descriptionJson, descriptionOf } from "./describe-json.js";

const CASES = resolve(import.meta.dirname, "../../../test/golden/corpus/cases");

it.each<Call>(["check", "outline", "targets"])("%s comes out as it went in", (call) => {
  let count = 0;
  for (const name of readdirSync(CASES)) {
    const file = join(CASES, name, "expected", `${call}.json`);
    if (!existsSync(file)) continue;
    const { result } = JSON.parse(readFileSync(file, "utf8")) as { result?: object };
    if (!result) continue;
    const sources = [Buffer.from("FROM x").toString("base64")];
    const given = call === "check" ? result : { ...result, sources };
    const again: unknown = JSON.parse(
      goJson(descriptionJson(descriptionOf(call, JSON.stringify(given), "Dockerfile"))),
    );
    expect({ name, ...(again as object) }).toMatchObject({ name, ...result });
    count++;
  }
  expect(count).toBeGreaterThan(50);
});
