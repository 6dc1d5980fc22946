export { makeDisplay, type Display } from "./display.js";
