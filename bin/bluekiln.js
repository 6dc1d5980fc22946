#!/usr/bin/env node
import "../dist/bin/bluekiln.js";
