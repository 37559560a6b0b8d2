// Looks through the file of an LMDB database before LMDB does: LMDB trusts what it maps into memory, and a damaged page, or
// one that is not there any more, ends the process without a word instead of being an error. Every page of the trees is
// looked at once: that it is the page it says, and that nothing in it points outside. Not for: what is in the records.

import { closeSync, openSync, readSync } from "node:fs";

const HEADER = 24;
const BRANCH = 0x01;
const LEAF = 0x02;
const OVERFLOW = 0x04;
const META = 0x08;
const NODE_HEADER = 8;
/** A leaf's value is on pages of its own. */
const BIG_DATA = 0x01;
/** Values that are databases or lists: this server makes none in its own tree. */
const OTHER_DATA = 0x06;
const MAX_DEPTH = 40;
/** Where the parts of a meta page are, from its beginning. */
const AT = { pageSize: 48, free: 48, main: 96, last: 144, txn: 152 } as const;
const ROOT_IN_TREE = 40;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;
const RETRIES = 3;

/** A page or a file that is not as it should be; the message says what. */
class Damage extends Error {}

interface Meta {
  readonly txn: bigint;
  readonly pageSize: number;
  readonly last: number;
  readonly roots: readonly bigint[];
}

/**
 * Returns what is wrong with the database in `file`, or undefined. Blocks: it reads the trees, which is everything but the
 * values that are longer than a page. While another process writes to it, what was found is looked at again, and doubt
 * is in its favour. Throws what the file system says.
 */
export function damageOf(file: string): string | undefined {
  const handle = openSync(file, "r");
  try {
    for (let attempt = 0; attempt < RETRIES; attempt++) {
      const before = newestMeta(handle);
      const damage = lookThrough(handle, before);
      if (damage === undefined || newestMeta(handle).txn === before.txn) return damage;
    }
    return undefined;
  } catch (thrown) {
    if (thrown instanceof Damage) return thrown.message;
    throw thrown;
  } finally {
    closeSync(handle);
  }
}

function lookThrough(handle: number, meta: Meta): string | undefined {
  try {
    const walk = new Walk(handle, meta);
    for (const [index, root] of meta.roots.entries()) if (root !== NO_PAGE) walk.tree(root, index === 1);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof Damage) return thrown.message;
    throw thrown;
  }
}

/** The first two pages take turns: the one with the higher transaction counts. */
function newestMeta(handle: number): Meta {
  const first = Buffer.alloc(AT.txn + 8);
  readExactly(handle, first, 0, "the file");
  const pageSize = first.readUInt32LE(AT.pageSize);
  if (pageSize < 512 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0) {
    throw new Damage(`a page size of ${pageSize} is impossible`);
  }
  const second = Buffer.alloc(first.length);
  readExactly(handle, second, pageSize, "the second page");
  const page = first.readBigUInt64LE(AT.txn) >= second.readBigUInt64LE(AT.txn) ? first : second;
  if ((page.readUInt16LE(18) & META) === 0) throw new Damage("the page that leads to the others is none");
  return {
    txn: page.readBigUInt64LE(AT.txn),
    pageSize,
    last: Number(page.readBigUInt64LE(AT.last)),
    roots: [AT.free, AT.main].map((tree) => page.readBigUInt64LE(tree + ROOT_IN_TREE)),
  };
}

/** One way through the trees of a database. */
class Walk {
  #handle: number;
  #meta: Meta;
  #seen = new Set<number>();

  constructor(handle: number, meta: Meta) {
    this.#handle = handle;
    this.#meta = meta;
  }

  /** `isMain`: keys in the order of their bytes; those of the other tree are numbers. */
  tree(root: bigint, isMain: boolean): void {
    this.#page(root, isMain, 1);
  }

  #page(number: bigint, isMain: boolean, depth: number): void {
    const { pageSize } = this.#meta;
    const at = this.#place(number);
    if (this.#seen.has(at)) throw new Damage(`page ${at} is in two places`);
    this.#seen.add(at);
    if (depth > MAX_DEPTH) throw new Damage(`page ${at} is too deep`);
    const page = Buffer.allocUnsafe(pageSize);
    readExactly(this.#handle, page, at * pageSize, `page ${at}`);
    if (page.readBigUInt64LE(0) !== number) throw new Damage(`page ${at} says that it is another one`);
    const kind = page.readUInt16LE(18) & (BRANCH | LEAF | OVERFLOW | META);
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    if ((kind !== BRANCH && kind !== LEAF) || lower > upper || HEADER + upper > pageSize || lower % 2 !== 0) {
      throw new Damage(`page ${at} has an impossible header`);
    }
    let previous: Buffer | undefined;
    for (let index = 0; index < lower / 2; index++) {
      const node = HEADER + page.readUInt16LE(HEADER + 2 * index);
      if (node < HEADER + upper || node + NODE_HEADER > pageSize) throw new Damage(`page ${at} points outside itself`);
      const keyEnd = node + NODE_HEADER + page.readUInt16LE(node + 6);
      if (keyEnd > pageSize) throw new Damage(`page ${at} has a key that goes beyond it`);
      if (kind === BRANCH) {
        this.#page(childOf(page, node), isMain, depth + 1);
        // The first key of a branch is not used.
        if (index === 0) continue;
      } else this.#leaf(page, node, keyEnd, at, isMain);
      const key = page.subarray(node + NODE_HEADER, keyEnd);
      if (isMain && previous !== undefined && previous.compare(key) >= 0) {
        throw new Damage(`page ${at} has keys out of order`);
      }
      previous = key;
    }
  }

  #leaf(page: Buffer, node: number, keyEnd: number, at: number, isMain: boolean): void {
    const { pageSize } = this.#meta;
    const flags = page.readUInt16LE(node + 4);
    const size = page.readUInt32LE(node);
    if (isMain && (flags & OTHER_DATA) !== 0) throw new Damage(`page ${at} has a value of an unknown kind`);
    if ((flags & BIG_DATA) === 0) {
      if (keyEnd + size > pageSize) throw new Damage(`page ${at} has a value that goes beyond it`);
      return;
    }
    if (keyEnd + 8 > pageSize) throw new Damage(`page ${at} has a value that goes beyond it`);
    const number = page.readBigUInt64LE(keyEnd);
    const first = this.#place(number);
    const header = Buffer.allocUnsafe(HEADER);
    readExactly(this.#handle, header, first * pageSize, `page ${first}`);
    const pages = header.readUInt32LE(20);
    const isRight = header.readBigUInt64LE(0) === number && (header.readUInt16LE(18) & OVERFLOW) !== 0;
    if (!isRight || HEADER + size > pages * pageSize || first + pages - 1 > this.#meta.last) {
      throw new Damage(`page ${first} is not the value it should be`);
    }
    readExactly(this.#handle, Buffer.alloc(1), first * pageSize + HEADER + size - 1, `page ${first}`);
  }

  #place(number: bigint): number {
    if (number < 2n || number > BigInt(this.#meta.last)) throw new Damage(`page ${number} is beyond the end`);
    return Number(number);
  }
}

function childOf(page: Buffer, node: number): bigint {
  return BigInt(page.readUInt32LE(node)) | (BigInt(page.readUInt16LE(node + 4)) << 32n);
}

function readExactly(handle: number, into: Buffer, at: number, what: string): void {
  for (let done = 0; done < into.length; ) {
    const read = readSync(handle, into, done, into.length - done, at + done);
    if (read === 0) throw new Damage(`${what} is cut off`);
    done += read;
  }
}
