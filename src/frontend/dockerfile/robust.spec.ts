// Whatever a Dockerfile says: an answer or a SourceError, and soon.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseStages } from "./instructions/index.js";
import { parseGitRef } from "./git-ref.js";
import { readIgnoreFile } from "./ignore.js";
import { parseDockerfile } from "./parser/index.js";
import { ExpansionError, expandWord } from "./shell/index.js";
import { SourceError } from "./source-error.js";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 3000);
const PIECES = [
  ..."\n\n\n\\`'\"$ \t#=-<>[]{},:;|&!*?@~^%\r\0".split(""),
  ...[
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "LABEL",
    "ONBUILD",
    "HEALTHCHECK",
    "SHELL",
    "EXPOSE",
    "CMD",
  ],
  ...[
    "AS",
    "scratch",
    "--from=",
    "--mount=type=",
    "--flag",
    "<<EOF",
    "<<-'X'",
    "EOF",
    "X",
    "${",
    "}",
    ":-",
    "##",
  ],
  ...["# escape=`", "# check=", "# syntax=", '["a"]', "é", "\u{1f600}", "\uFEFF", "\u2028", "x", "1"],
];
const text = fc.array(fc.constantFrom(...PIECES), { maxLength: 60 }).map((parts) => parts.join(""));

describe("any text", () => {
  it("is parsed or refused with a place", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          text,
          fc.string({ unit: "binary" }),
          text.map((t) => `FROM scratch\n${t}`),
        ),
        (content) => {
          try {
            parseStages(parseDockerfile(Buffer.from(content)).nodes);
          } catch (error) {
            expect(error).toBeInstanceOf(SourceError);
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  it("is parsed from any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          parseDockerfile(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(SourceError);
        }
        readIgnoreFile(bytes);
      }),
      { numRuns: RUNS },
    );
  });

  it("is expanded or refused as a word", () => {
    const values = fc.dictionary(fc.constantFrom("x", "X", "1", "FROM"), fc.string());
    const options = fc.record({
      escape: fc.constantFrom("\\", "`"),
      rawQuotes: fc.boolean(),
      rawEscapes: fc.boolean(),
      skipUnset: fc.boolean(),
    });
    fc.assert(
      fc.property(text, values, options, (word, env, chosen) => {
        try {
          expandWord(word, (name) => (Object.hasOwn(env, name) ? env[name] : undefined), chosen);
        } catch (error) {
          expect(error).toBeInstanceOf(ExpansionError);
        }
      }),
      { numRuns: RUNS },
    );
  });

  it("is no git reference, or one, or refused", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.webUrl({ withQueryParameters: true, withFragments: true }), fc.string()),
        (url) => {
          for (const one of [url, `${url}.git`, `git@host:${url}`, `https://h/a.git#${url}`]) {
            try {
              parseGitRef(one);
            } catch (error) {
              expect(error).toBeInstanceOf(Error);
            }
          }
        },
      ),
      { numRuns: RUNS },
    );
  });
});

describe("large input", () => {
  it("of deep nesting and endless words is refused or done soon", () => {
    const cases = [
      "${a:-".repeat(20_000),
      `${"${a:-".repeat(2000)}${"}".repeat(2000)}`,
      "'".repeat(100_000),
      '"$'.repeat(50_000),
      "\\".repeat(100_001),
    ];
    const start = performance.now();
    for (const word of cases) {
      try {
        expandWord(word, () => undefined, { escape: "\\" });
      } catch (error) {
        expect(error).toBeInstanceOf(ExpansionError);
      }
    }
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
