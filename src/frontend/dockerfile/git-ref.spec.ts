import { describe, expect, it } from "vitest";
import { parseGitRef } from "./git-ref.js";

describe("parseGitRef", () => {
  it.each([
    ["https://host/a/b.git", { remote: "https://host/a/b.git", id: "host/a/b.git", ref: "", subdir: "" }],
    ["http://host:8080/a.git#main", { id: "host:8080/a.git", ref: "main" }],
    ["https://host/a.git#v1:docs/x/", { ref: "v1", subdir: "docs/x" }],
    ["https://host/a.git#:../../etc", { ref: "", subdir: "etc" }],
    ["https://user:secret@host/a.git", { remote: "https://user:secret@host/a.git", id: "host/a.git" }],
    ["https://host/a.git?tag=v1&subdir=docs", { ref: "refs/tags/v1", subdir: "docs" }],
    ["https://host/a.git?branch=refs/heads/x", { ref: "refs/heads/x" }],
    ["https://host/a.git?checksum=abc&keep-git-dir=1", { checksum: "abc", keepGitDir: true }],
    ["git@host:a/b.git#x", { remote: "git@host:a/b.git", id: "host/a/b.git", ref: "x", isSsh: true }],
    ["ssh://git@host/a/b", { id: "host/a/b", isSsh: true }],
    ["github.com/a/b#x", { remote: "https://github.com/a/b", ref: "x", looksLocal: true }],
  ])("takes %s apart", (text, parts) => {
    expect(parseGitRef(text)).toMatchObject(parts);
  });

  it.each([
    "https://host/a",
    "https://host/a.git.tar",
    "./git@host:x",
    "folder",
    "a:b",
    "docker-image://x",
    "",
  ])("sees no repository in %s", (text) => expect(parseGitRef(text)).toBeUndefined());

  it.each([
    ["https://host/a.git?x=1", 'unexpected query "x"'],
    ["https://host/a.git?ref=", 'query "ref" has no value'],
    ["https://host/a.git?ref=a&ref=b", 'query "ref" has multiple values'],
    ["https://host/a.git?ref=a#b", 'ref conflicts: "b" vs "a"'],
    ["https://host/a.git?keep-git-dir=perhaps", "invalid keep-git-dir value"],
  ])("refuses %s", (text, message) => {
    expect(() => parseGitRef(text)).toThrow(message);
  });
});
