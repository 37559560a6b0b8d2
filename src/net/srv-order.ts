// The order in which the targets of SRV records are tried (RFC 2782, "weight").

import type { Random } from "../util/random.ts";

interface Weighted {
  readonly priority: number;
  readonly weight: number;
}

/** Returns the records by priority, and within one by chance according to weight. */
export function orderByPriority<T extends Weighted>(records: readonly T[], random: Random): T[] {
  const priorities = [...new Set(records.map((record) => record.priority))].sort((one, other) => one - other);
  return priorities.flatMap((priority) => {
    const group = records.filter((record) => record.priority === priority);
    return orderByWeight(group, random);
  });
}

function orderByWeight<T extends Weighted>(records: readonly T[], random: Random): T[] {
  // Those of weight 0 come first: they are chosen only when the number drawn is 0.
  const left = records.toSorted((one, other) => Number(one.weight > 0) - Number(other.weight > 0));
  const ordered: T[] = [];
  while (left.length > 0) {
    const total = left.reduce((sum, record) => sum + record.weight, 0);
    const drawn = random.below(total + 1);
    let sum = 0;
    const chosen = left.findIndex((record) => {
      sum += record.weight;
      return sum >= drawn;
    });
    ordered.push(...left.splice(chosen, 1));
  }
  return ordered;
}
