/**
 * Says what failed in a report of vitest's (JSON): a line "FAILED: file > test: message" each, last how many passed
 * and failed, "N N".
 */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { stripVTControlCharacters } from "node:util";

const MESSAGE_LENGTH = 500;

function failed(name, message = "") {
  const plain = stripVTControlCharacters(message).replaceAll(/\s+/g, " ").slice(0, MESSAGE_LENGTH);
  console.log(`FAILED: ${name}: ${plain}`);
}

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    failed("the tests", `left no report: ${error.message}`);
    return { numPassedTests: 0, numFailedTests: 1, testResults: [] };
  }
}

const report = readReport(process.argv[2]);
let broken = 0;
for (const { name, status, message, assertionResults } of report.testResults) {
  const file = relative(process.cwd(), name);
  const tests = assertionResults.filter((test) => test.status === "failed");
  for (const test of tests) failed(`${file} > ${test.fullName}`, test.failureMessages.join(" "));
  // one that fails before its tests fails none of them
  if (status === "failed" && tests.length === 0) {
    failed(file, message);
    broken += 1;
  }
}
console.log(report.numPassedTests, report.numFailedTests + broken);
