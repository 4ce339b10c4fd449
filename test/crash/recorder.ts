/**
 * Loaded before lakepack (`node --import`), in its main thread and in its pool's: writes every
 * change it makes below a folder into a journal, with the bytes, in the order in which the changes
 * came to be, and what it answered to clients between them. The product knows nothing of it.
 *
 * In the environment:
 *   CRASH_JOURNAL   the journal; records are appended
 *   CRASH_ROOT      what is recorded
 *   CRASH_ORDERS    a file with one order (journal.ts), looked at before each change
 *
 * A change of a kind it does not know is refused, so that nothing goes unrecorded.
 */
import fs from "node:fs";
import http from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { basename, relative, resolve } from "node:path";
import { threadId } from "node:worker_threads";
import { encodeRecord, type Head, type Order } from "./journal.js";

const root = process.env["CRASH_ROOT"] ?? "";
const orders = process.env["CRASH_ORDERS"] ?? "";
const { writeSync, readFileSync, unlinkSync, openSync, closeSync: closeFile, fstatSync } = fs;
const journal = openSync(process.env["CRASH_JOURNAL"] ?? "", "a");
Error.stackTraceLimit = 40;

let counter = 0;
const nextId = (): string => `${process.pid}.${threadId}.${++counter}`;

function record(head: Head, bytes: Uint8Array = new Uint8Array(0)): void {
  writeSync(journal, encodeRecord(head, bytes)); // one append, so records of several threads do not mix
}

/** Below the root, relative to it; undefined: elsewhere. */
function placeOf(path: unknown): string | undefined {
  if (typeof path !== "string") return undefined;
  const place = relative(root, resolve(path));
  return place === ".." || place.startsWith("../") ? undefined : place;
}

/** Functions of the product that only pass a call on. */
const PASSING = new Set([
  "syncPath",
  "syncFile",
  "writeExactly",
  "writeAll",
  "DiskStore.#writing",
  "#syncFolderOf",
  "#orForget",
]);

/** The function of the product that makes this call. */
function siteOf(): string {
  for (const line of new Error().stack?.split("\n") ?? []) {
    const [, name, file] =
      /at (?:async )?(\S+) \((?:file:\/\/)?\S*\/dist\/(?:src|workers)\/(\S+?)\.js:/.exec(line) ??
      [];
    if (name !== undefined && !PASSING.has(name)) return `${file}: ${name}`;
  }
  return "unknown";
}

/** One call syncs the files of a pack: each is a site of its own. */
function ofSeveral(site: string, path = ""): string {
  return site.endsWith(": syncFiles")
    ? `${site} ${/\b(idx|rev)\b/.exec(basename(path))?.[1] ?? "pack"}`
    : site;
}

/**
 * Obeys the order for this site in place of the change: an error, the end of the process, or
 * nothing.
 */
function obey(kind: string, site: string, place: string | undefined): void {
  let order: Order;
  try {
    order = JSON.parse(readFileSync(orders, "utf8")) as Order;
  } catch {
    return; // none is given
  }
  if (order.kinds !== undefined && !order.kinds.includes(kind)) return;
  if (order.site !== undefined && !site.includes(order.site)) return;
  if (order.place !== undefined && place?.includes(order.place) !== true) return;
  if (order.skip !== undefined && counted() !== order.skip + 1) return;
  if (order.once) {
    try {
      unlinkSync(orders);
    } catch {
      return; // another thread was first
    }
  }
  if (order.act === "die") process.kill(process.pid, "SIGKILL");
  throw Object.assign(new Error(`${order.act}: ordered by the test`), { code: order.act });
}

/** Counts the changes since the order was given, this one with them, in all threads. */
function counted(): number {
  const counter = openSync(`${orders}.count`, "a");
  try {
    writeSync(counter, ".");
    return fstatSync(counter).size;
  } finally {
    closeFile(counter);
  }
}

type Call = (...args: never[]) => unknown;
type Change = (result: unknown, args: readonly unknown[]) => void;

/**
 * `change` is called once the call has succeeded. `places`: arguments that are paths; a call with
 * none of them below the root is let through.
 */
function watched(kind: string, places: number, call: Call, change: Change): Call {
  return function (this: unknown, ...args: never[]) {
    const inside = args
      .slice(0, places)
      .map(placeOf)
      .find((place) => place !== undefined);
    if (inside === undefined) return call.apply(this, args);
    const told = (result: unknown) => {
      change(result, args);
      return result;
    };
    const failing = attempt(() => obey(kind, siteOf(), inside));
    const result = failing === undefined ? call.apply(this, args) : undefined;
    if (failing !== undefined) {
      if (isPromising(call)) return Promise.reject(failing);
      throw failing;
    }
    return result instanceof Promise ? result.then(told) : told(result);
  };
}

const promising = new Set<unknown>(Object.values(fs.promises));
const isPromising = (call: Call): boolean => promising.has(call);

function attempt(work: () => void): unknown {
  try {
    work();
    return undefined;
  } catch (error) {
    return error;
  }
}

// Names -------------------------------------------------------------------------------------------
const CHANGES: Readonly<Record<string, { readonly places: number; readonly change: Change }>> = {
  mkdir: { places: 1, change: (_, [path]) => record({ op: "mkdir", path: placeOf(path) ?? "" }) },
  rename: {
    places: 2,
    change: (_, [from, to]) =>
      record({ op: "rename", path: placeOf(from) ?? "", to: placeOf(to) ?? "" }),
  },
  link: {
    places: 2,
    change: (_, [from, to]) =>
      record({ op: "link", path: placeOf(from) ?? "", to: placeOf(to) ?? "" }),
  },
  copyFile: {
    places: 2,
    change: (_, [from, to]) =>
      record({ op: "copy", path: placeOf(from) ?? "", to: placeOf(to) ?? "" }),
  },
  unlink: { places: 1, change: (_, [path]) => record({ op: "remove", path: placeOf(path) ?? "" }) },
  rmdir: { places: 1, change: (_, [path]) => record({ op: "remove", path: placeOf(path) ?? "" }) },
  rm: { places: 1, change: (_, [path]) => record({ op: "remove", path: placeOf(path) ?? "" }) },
};
const REFUSED = ["writeFile", "appendFile", "truncate", "symlink", "cp", "mkdtemp"];

const plain = fs as unknown as Record<string, Call>;
const later = fs.promises as unknown as Record<string, Call>;
for (const [name, { places, change }] of Object.entries(CHANGES)) {
  const kind =
    name === "unlink" || name === "rm" || name === "rmdir"
      ? "remove"
      : name === "copyFile"
        ? "copy"
        : name;
  later[name] = watched(kind, places, later[name] as Call, change);
  plain[`${name}Sync`] = watched(kind, places, plain[`${name}Sync`] as Call, change);
}
for (const name of REFUSED) {
  const refuse = () => {
    throw new Error(`the recorder does not know ${name}`);
  };
  later[name] = watched(name, 1, later[name] as Call, refuse);
  plain[`${name}Sync`] = watched(name, 1, plain[`${name}Sync`] as Call, refuse);
}

// Looks: nothing of them is recorded, but they may be made to fail.
const LOOKS: Readonly<Record<string, string>> = {
  readFile: "read",
  stat: "look",
  lstat: "look",
  readdir: "look",
};
for (const [name, kind] of Object.entries(LOOKS)) {
  later[name] = watched(kind, 1, later[name] as Call, () => undefined);
  plain[`${name}Sync`] = watched(kind, 1, plain[`${name}Sync`] as Call, () => undefined);
}

// Open files --------------------------------------------------------------------------------------
/** Recorded ones of this thread, by descriptor. */
const files = new Map<number, string>();
/** Paths of open files. */
const paths = new Map<string, string>();

function opened(file: number, path: unknown, flags: unknown): void {
  const id = nextId();
  files.set(file, id);
  paths.set(id, placeOf(path) ?? "");
  record({
    op: "open",
    id,
    path: placeOf(path) ?? "",
    flags: typeof flags === "string" ? flags : "r",
  });
}

later["open"] = watched("open", 1, later["open"] as Call, (handle, [path, flags]) =>
  opened((handle as { fd: number }).fd, path, flags),
);
plain["openSync"] = watched("open", 1, plain["openSync"] as Call, (file, [path, flags]) =>
  opened(file as number, path, flags),
);

/** The piece of `bytes` that was written. */
function piece(
  args: readonly unknown[],
  written: number,
): { readonly bytes: Uint8Array; readonly at: number } {
  const [data, offset, , position] = args;
  const bytes = typeof data === "string" ? Buffer.from(data) : (data as Uint8Array);
  const start = typeof offset === "number" ? offset : 0;
  return {
    bytes: bytes.subarray(start, start + written),
    at: typeof position === "number" ? position : -1,
  };
}

function wrote(id: string, { bytes, at }: ReturnType<typeof piece>): void {
  record({ op: "write", id, at }, bytes);
}

/** Wraps a call on an open file of this thread. */
function onFile(
  kind: string,
  idOf: (self: unknown, args: readonly unknown[]) => string | undefined,
  call: Call,
  change: (id: string, result: unknown, args: readonly unknown[]) => void,
): Call {
  return function (this: unknown, ...args: never[]) {
    const id = idOf(this, args);
    if (id === undefined) return call.apply(this, args);
    const site = ofSeveral(siteOf(), paths.get(id));
    try {
      obey(kind, site, paths.get(id));
    } catch (error) {
      if (kind === "sync") record({ op: "unsynced", id });
      throw error;
    }
    const number = nextId();
    if (kind === "sync") record({ op: "sync", id, number, site });
    const told = (result: unknown) => {
      if (kind === "sync") record({ op: "synced", number });
      change(id, result, args);
      return result;
    };
    const result = call.apply(this, args);
    return result instanceof Promise ? result.then(told) : told(result);
  };
}

const byDescriptor = (_: unknown, args: readonly unknown[]) => files.get(args[0] as number);
const ofHandle = (self: unknown) => files.get((self as { fd: number }).fd);
const nothing = () => undefined;

plain["writeSync"] = onFile(
  "write",
  byDescriptor,
  plain["writeSync"] as Call,
  (id, written, [, ...args]) => wrote(id, piece(args, written as number)),
);
plain["writevSync"] = onFile(
  "write",
  byDescriptor,
  plain["writevSync"] as Call,
  (id, _, [, pieces, position]) =>
    wrote(id, {
      bytes: Buffer.concat(pieces as Uint8Array[]),
      at: typeof position === "number" ? position : -1,
    }),
);
for (const name of ["fsyncSync", "fdatasyncSync"])
  plain[name] = onFile("sync", byDescriptor, plain[name] as Call, nothing);
for (const name of ["readSync", "readvSync"])
  plain[name] = onFile("read", byDescriptor, plain[name] as Call, nothing);
const closeSync = plain["closeSync"] as Call;
plain["closeSync"] = ((file: number) => {
  files.delete(file);
  return (closeSync as (file: number) => unknown)(file);
}) as Call;

const sample = await fs.promises.open("/dev/null", "r");
const handles = Object.getPrototypeOf(sample) as Record<string, Call>;
await sample.close();
const asynchronous = (call: Call): Call =>
  async function (this: unknown, ...args: never[]) {
    return call.apply(this, args);
  };
handles["write"] = asynchronous(
  onFile("write", ofHandle, handles["write"] as Call, (id, result, args) =>
    wrote(id, piece(args, (result as { bytesWritten: number }).bytesWritten)),
  ),
);
handles["writeFile"] = asynchronous(
  onFile("write", ofHandle, handles["writeFile"] as Call, (id, _, [data]) =>
    wrote(id, {
      bytes: typeof data === "string" ? Buffer.from(data) : (data as Uint8Array),
      at: -1,
    }),
  ),
);
for (const name of ["read", "readv"])
  handles[name] = asynchronous(onFile("read", ofHandle, handles[name] as Call, nothing));
for (const name of ["sync", "datasync"])
  handles[name] = asynchronous(onFile("sync", ofHandle, handles[name] as Call, nothing));
const closeHandle = handles["close"] as Call;
handles["close"] = function (this: unknown) {
  files.delete((this as { fd: number }).fd);
  return closeHandle.apply(this);
};
for (const name of ["writev", "truncate", "appendFile"]) {
  handles[name] = onFile("write", ofHandle, handles[name] as Call, () => {
    throw new Error(`the recorder does not know FileHandle.${name}`);
  });
}

/** Streams into files: used for what is copied on, never for what is published. */
const createWriteStream = plain["createWriteStream"] as Call;
plain["createWriteStream"] = (...args: never[]) => {
  if (placeOf(args[0])?.endsWith("/pack") === true)
    throw new Error("the recorder does not know packs written by streams");
  return createWriteStream(...args);
};

// Answers -----------------------------------------------------------------------------------------
const ANSWER_BYTES_MAX = 1024 * 1024;
const answers = http.ServerResponse.prototype as unknown as Record<string, Call>;
for (const name of ["write", "end"]) {
  const call = answers[name] as Call;
  answers[name] = function (this: http.ServerResponse, ...args: never[]) {
    const { method = "", url = "" } = this.req;
    const body: unknown = args[0];
    const bytes =
      typeof body === "string"
        ? Buffer.from(body)
        : body instanceof Uint8Array
          ? body
          : new Uint8Array(0);
    if (method !== "GET" && bytes.length < ANSWER_BYTES_MAX)
      record({ op: "answer", method, url, status: this.statusCode, last: name === "end" }, bytes);
    return call.apply(this, args);
  };
}

syncBuiltinESMExports();
