import { describe, expect, it, vi } from "vitest";
import { digestOf, type Digest } from "../lib/index.js";
import { Solver } from "./solver.js";
import type { CacheMap, Lookup, RecordId, StoredRecord, Vertex, WritableCacheStore } from "./types.js";

/** A store in memory; the same rules as the database's. */
class MemoryStore implements WritableCacheStore<string> {
  readonly name = "local";
  /** values whose bytes are gone; found out only when they are used */
  readonly lost = new Set<string>();
  /** those of them that were found out */
  readonly found = new Set<string>();
  readonly #records = new Map<RecordId, { record: StoredRecord; results: string[] }>();

  roots(digest: Digest): readonly RecordId[] {
    return [digest];
  }

  children(
    parent: RecordId,
    input: number,
    digest: Digest,
    selector: Digest | undefined,
  ): readonly RecordId[] {
    return [...this.#records]
      .filter(
        ([, { record }]) =>
          record.digest === digest &&
          record.inputs[input]?.some((link) => link.parent === parent && link.selector === selector),
      )
      .map(([id]) => id);
  }

  record(id: RecordId): StoredRecord | undefined {
    return this.#records.get(id)?.record;
  }

  results(id: RecordId) {
    return (this.#records.get(id)?.results ?? []).map((value) => ({
      createdAt: 0,
      load: async () => (this.found.has(value) ? undefined : value),
    }));
  }

  save(record: StoredRecord, result: string | undefined): RecordId {
    if (record.inputs.length === 0) return record.digest;
    const id = String(this.#records.size + 1);
    this.#records.set(id, { record, results: result === undefined ? [] : [result] });
    return id;
  }
}

interface Step {
  readonly name: string;
  readonly inputs?: readonly string[];
  readonly key?: string;
  /** the step reads only this of its first input */
  readonly content?: (input: string) => string;
  readonly run: (inputs: readonly string[]) => string | Promise<string>;
}

function solve(steps: readonly Step[], target: string, store: MemoryStore) {
  const ran: string[] = [];
  const lookups = new Map<Digest, Lookup | undefined>();
  const idOf = (name: string): Digest => digestOf(`vertex ${name}`);
  const vertices = new Map<Digest, Vertex<string>>(
    steps.map((step) => {
      const inputs = step.inputs ?? [];
      const map: CacheMap<string> = {
        digest: step.key ?? digestOf(step.name),
        inputs: inputs.map(() =>
          step.content ? { contentDigest: async (result) => digestOf(step.content!(result)) } : {},
        ),
      };
      const vertex: Vertex<string> = {
        digest: idOf(step.name),
        name: step.name,
        inputs: inputs.map((name) => ({ vertex: idOf(name), index: 0 })),
        ignoreCache: false,
        isSource: inputs.length === 0,
        op: {
          cacheMaps: async () => [map],
          run: async (values) => {
            const gone = values.find((value) => store.lost.has(value));
            if (gone !== undefined) {
              store.found.add(gone);
              throw new Error(`${gone} is lost`);
            }
            ran.push(step.name);
            const value = await step.run(values);
            store.lost.delete(value);
            store.found.delete(value);
            return [value];
          },
        },
      };
      return [vertex.digest, vertex];
    }),
  );
  const solver = new Solver<string>({
    vertices,
    local: store,
    imports: Promise.resolve([]),
    signal: new AbortController().signal,
    warn: () => undefined,
    isAvailable: (value) => !store.found.has(value),
    events: { started: () => undefined, completed: (vertex, lookup) => lookups.set(vertex, lookup) },
  });
  return solver.solve([{ vertex: idOf(target), index: 0 }], async ([value]) => {
    if (store.lost.has(value!)) {
      store.found.add(value!);
      throw new Error(`${value} is lost`);
    }
    return { value, ran, lookups };
  });
}

const base: Step = { name: "base", run: () => "base" };

describe("Solver", () => {
  it("runs nothing twice for an unchanged graph, and not even the inputs of a hit", async () => {
    const store = new MemoryStore();
    const steps: Step[] = [
      base,
      { name: "a", inputs: ["base"], run: ([x]) => `${x}+a` },
      { name: "b", inputs: ["a"], run: ([x]) => `${x}+b` },
    ];
    expect((await solve(steps, "b", store)).value).toBe("base+a+b");
    const again = await solve(steps, "b", store);
    expect(again.value).toBe("base+a+b");
    expect(again.ran).toEqual([]);
    expect([...again.lookups.values()].every((lookup) => lookup?.kind === "hit")).toBe(true);
  });

  it("hits by content where an input changed in what the step does not read", async () => {
    const store = new MemoryStore();
    const copy: Step = {
      name: "copy",
      inputs: ["files"],
      content: (x) => x.split("|")[0]!,
      run: ([x]) => `copied ${x!.split("|")[0]}`,
    };
    const files = (text: string): Step => ({ name: "files", key: "random:1", run: () => text });
    await solve([files("used|unused"), copy], "copy", store);
    expect((await solve([files("used|other"), copy], "copy", store)).ran).toEqual(["files"]);
    const changed = await solve([files("changed|unused"), copy], "copy", store);
    expect(changed.ran).toEqual(["files", "copy"]);
    expect(changed.value).toBe("copied changed");
  });

  it("runs the steps whose cached results turn out to be lost, and no others", async () => {
    const store = new MemoryStore();
    const steps = (last: string): Step[] => [
      base,
      { name: "a", inputs: ["base"], run: ([x]) => `${x}+a` },
      { name: "b", inputs: ["a"], run: ([x]) => `${x}+b` },
      { name: last, inputs: ["b"], run: ([x]) => `${x}+${last}` },
    ];
    await solve(steps("c"), "c", store);
    store.lost.add("base+a+b");
    const changed = await solve(steps("d"), "d", store);
    expect(changed.value).toBe("base+a+b+d");
    expect(changed.ran).toEqual(["b", "d"]);

    store.lost.add("base+a").add("base+a+b");
    expect((await solve(steps("e"), "e", store)).ran).toEqual(["base", "a", "b", "e"]);
  });

  it("makes a result anew that is lost when it is exported", async () => {
    const store = new MemoryStore();
    const steps: Step[] = [base, { name: "a", inputs: ["base"], run: ([x]) => `${x}+a` }];
    await solve(steps, "a", store);
    store.lost.add("base+a");
    const again = await solve(steps, "a", store);
    expect(again.value).toBe("base+a");
    expect(again.ran).toEqual(["base", "a"]);
  });

  it("runs equal steps of one build once", async () => {
    const same = { key: digestOf("same"), inputs: ["base"], run: () => "same" };
    const steps: Step[] = [
      base,
      { name: "x", ...same },
      { name: "y", ...same },
      { name: "z", inputs: ["x", "y"], run: (v) => v.join() },
    ];
    const { value, ran } = await solve(steps, "z", new MemoryStore());
    expect(value).toBe("same,same");
    expect(ran).toHaveLength(3);
  });

  it("solves side by side what several steps read of others", async () => {
    const started: string[] = [];
    const side = (name: string): Step => ({
      name,
      inputs: ["base"],
      run: async () => {
        started.push(name);
        // a second that never starts would never end the first
        await vi.waitFor(() => expect(started).toHaveLength(2));
        return name;
      },
    });
    const copy = (name: string, inputs: string[]): Step => ({
      name,
      inputs,
      content: (x) => x,
      run: (values) => values.join("+"),
    });
    const steps = [base, side("left"), side("right"), copy("one", ["left"]), copy("two", ["one", "right"])];
    expect((await solve(steps, "two", new MemoryStore())).value).toBe("left+right");
  });

  it("fails as soon as one of several steps does", async () => {
    const never = new Promise<string>(() => undefined);
    const steps: Step[] = [
      base,
      { name: "slow", inputs: ["base"], run: () => never },
      { name: "bad", inputs: ["base"], run: () => Promise.reject(new Error("exit code: 1")) },
      { name: "one", inputs: ["slow"], content: (x) => x, run: () => "one" },
      { name: "two", inputs: ["one", "bad"], content: (x) => x, run: () => "two" },
    ];
    await expect(solve(steps, "two", new MemoryStore())).rejects.toThrow("exit code: 1");
  });

  it("fails with the step's own error, once", async () => {
    const steps: Step[] = [
      base,
      {
        name: "bad",
        inputs: ["base"],
        run: () => {
          throw new Error("exit code: 42");
        },
      },
    ];
    await expect(solve(steps, "bad", new MemoryStore())).rejects.toThrow("exit code: 42");
  });

  it("solves a chain of thousands of steps", async () => {
    const steps: Step[] = [
      base,
      ...Array.from({ length: 2000 }, (_, i): Step => ({
        name: `s${i}`,
        inputs: [i === 0 ? "base" : `s${i - 1}`],
        run: () => String(i),
      })),
    ];
    expect((await solve(steps, "s1999", new MemoryStore())).value).toBe("1999");
  });
});
