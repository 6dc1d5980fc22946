export {
  ExpansionError,
  expandWord,
  splitWords,
  type Expansion,
  type ExpandOptions,
  type Lookup,
} from "./expand.js";
