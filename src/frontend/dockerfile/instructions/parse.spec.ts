// Texts and corners that no recording shows; each was seen with the real BuildKit (0.12's frontend).
import { describe, expect, it } from "vitest";
import { parseDockerfile } from "../parser/index.js";
import { parseStages } from "./parse.js";

const parse = (line: string) => parseStages(parseDockerfile(Buffer.from(`FROM scratch\n${line}\n`)).nodes);

describe("parseStages", () => {
  it.each([
    [
      "COPY",
      "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
    ],
    ["COPY <<EOF", "unterminated heredoc"],
    ["COPY x <<EOF\nEOF", "COPY cannot accept a heredoc as a destination"],
    ["RUN --network=foo true", 'invalid network mode "foo"'],
    ["RUN --mount= true", "failed to parse csv mounts: EOF"],
    [
      "RUN --mount=from=$A,target=/x true",
      "'from' doesn't support variable expansion, define alias stage instead",
    ],
    ["ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ["ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'],
    ["LABEL =x", "LABEL names can not be blank"],
    ["HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"],
    ["SHELL bash", "SHELL requires the arguments to be in JSON form"],
    ['RUN ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only"],
    ["RUN\u00a0echo a", "unknown instruction: RUN\u00a0echo"],
  ])("refuses %j", (line, message) => expect(() => parse(line)).toThrow(message));

  it.each(["RUN", "CMD", "ENTRYPOINT", "RUN -- echo a", "RUN echo '<<E'", "ENV A=1 A=2", "STOPSIGNAL 99"])(
    "takes %j",
    (line) => expect(parse(line).stages[0]!.commands).toHaveLength(1),
  );

  it("gives an array with text after it to the shell", () => {
    const [command] = parse('RUN ["echo", "a"] and more').stages[0]!.commands;
    expect(command).toMatchObject({ command: { exec: false, args: ['["echo", "a"] and more'] } });
  });
});
