#!/usr/bin/env node
// The daemon by a name of its own: takes buildkitd's flags, and can stand in its place.
process.argv.splice(2, 0, "daemon");
await import("../dist/bin/bluekiln.js");
