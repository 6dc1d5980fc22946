// One line of comma separated values as Go's encoding/csv reads it: fields may be quoted, "" in a quoted field is a
// quote. Used for flags and mount options, whose values are written this way.

/** @throws Error in the words of encoding/csv */
export function parseCsv(line: string): string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    if (line[at] === '"') {
      let field = "";
      at++;
      for (;;) {
        const end = line.indexOf('"', at);
        if (end < 0)
          throw new Error(
            `parse error on line 1, column ${line.length + 1}: extraneous or missing " in quoted-field`,
          );
        field += line.slice(at, end);
        at = end + 1;
        if (line[at] !== '"') break;
        field += '"';
        at++;
      }
      if (at < line.length && line[at] !== ",") {
        throw new Error(`parse error on line 1, column ${at + 1}: extraneous or missing " in quoted-field`);
      }
      fields.push(field);
    } else {
      const comma = line.indexOf(",", at);
      const field = line.slice(at, comma < 0 ? line.length : comma);
      const quote = field.indexOf('"');
      if (quote >= 0)
        throw new Error(`parse error on line 1, column ${at + quote + 1}: bare " in non-quoted-field`);
      fields.push(field);
      at += field.length;
    }
    if (at >= line.length) return fields;
    at++;
  }
}
