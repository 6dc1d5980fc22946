export type * from "./types.js";
export { parseDockerfile } from "./parse.js";
export { chompTabs, parseHeredoc } from "./heredoc.js";
export { goQuote } from "./words.js";
