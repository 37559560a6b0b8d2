// A module's own part of the store: a collection under its name, whose refusals name it.

import type { Store } from "../store/store.ts";
import { codeOf } from "../util/errors.ts";
import type { ModuleStorage } from "./module-api.ts";
import type { Faults } from "./module-faults.ts";

/** Returns the storage of the module `name`. */
export function moduleStorage(store: Store, name: string, faults: Faults): ModuleStorage {
  const collection = `module:${name}`;
  const named =
    (what: string) =>
    (thrown: unknown): never => {
      if (codeOf(thrown) !== "MORENDO_STORE_CLOSED") throw thrown;
      throw faults.refuse("MORENDO_STORE_CLOSED", `storage.${what}`, "the store is closed", thrown);
    };
  return {
    get: (key) => store.get(collection, key).catch(named("get")),
    put: (key, value) => store.put(collection, key, value).catch(named("put")),
    delete: (key) => store.delete(collection, key).catch(named("delete")),
    batch: (writes) =>
      store
        .batch(
          writes.map(([key, value]) =>
            value === undefined ? { op: "delete", collection, key } : { op: "put", collection, key, value },
          ),
        )
        .catch(named("batch")),
    range: (prefix, limit, after) => store.range(collection, prefix, limit, after).catch(named("range")),
    append: (key, value) => store.append(collection, key, value).catch(named("append")),
    flushed: () => store.flushed(),
  };
}
