// RUN --device=NAME[,required]: a device by its CDI name ("vendor.com/class=name"), or a class of them.
import { messageOf, parseBool, parseCsv } from "../../../lib/index.js";

export interface DeviceFlag {
  readonly name: string;
  /** the step fails without it */
  readonly required: boolean;
}

/** @throws Error in BuildKit's words */
export function parseDevice(value: string, expand: (word: string) => string): DeviceFlag {
  let fields: string[];
  try {
    fields = parseCsv(value);
  } catch (error) {
    throw new Error(`failed to parse csv devices: ${messageOf(error)}`, { cause: error });
  }
  let name = "";
  let required = false;
  for (const field of fields) {
    const at = field.indexOf("=");
    const key = (at < 0 ? field : field.slice(0, at)).toLowerCase();
    const text = expand(at < 0 ? "" : field.slice(at + 1));
    if (key === "required" && at < 0) required = true;
    else if (key === "required") {
      const value = parseBool(text);
      if (value === undefined) throw new Error(`invalid value for required: ${text}`);
      required = value;
    } else if (name !== "") throw new Error(`device name already set to ${name}`);
    else name = key === "name" && at >= 0 ? text : expand(field);
  }
  return { name, required };
}
