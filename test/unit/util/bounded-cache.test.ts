import { equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { BoundedCache } from "../../../src/util/bounded-cache.ts";

describe("a bounded cache", () => {
  it("returns what was set last, and nothing after it was deleted", () => {
    const cache = new BoundedCache<string, number>(10);
    cache.set("a", 1);
    cache.set("a", 2);
    equal(cache.get("a"), 2);
    cache.delete("a");
    equal(cache.get("a"), undefined);
    cache.set("b", 1);
    cache.clear();
    equal(cache.size, 0);
  });

  it("never has more entries than its limit", () => {
    const cache = new BoundedCache<number, number>(10);
    for (let number = 0; number < 1_000; number++) {
      cache.set(number, number);
      ok(cache.size <= 10);
      equal(cache.get(number), number);
    }
  });

  it("keeps what is asked for while it forgets the rest", () => {
    const cache = new BoundedCache<string, number>(10);
    cache.set("kept", 1);
    for (let number = 0; number < 1_000; number++) {
      cache.set(`other ${number}`, number);
      equal(cache.get("kept"), 1);
    }
    equal(cache.get("other 0"), undefined);
  });

  it("never returns a value that was not the last one set", () => {
    const step = fc.tuple(fc.constantFrom("set", "get", "delete"), fc.integer({ min: 0, max: 8 }), fc.integer());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const cache = new BoundedCache<number, number>(4);
        const model = new Map<number, number>();
        for (const [what, name, value] of steps) {
          if (what === "set") {
            cache.set(name, value);
            model.set(name, value);
          } else if (what === "delete") {
            cache.delete(name);
            model.delete(name);
          } else {
            const found = cache.get(name);
            if (found !== undefined) equal(found, model.get(name));
          }
          ok(cache.size <= 4);
        }
      }),
    );
  });
});
