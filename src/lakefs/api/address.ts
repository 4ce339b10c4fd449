/**
 * One spelling for each physical address. lakeFS shows the same object's address differently: raw
 * ranges without the namespace ("data/x"), pages whole ("s3://bucket/ns/data/x"), and on local
 * blocks as a path on its disk, in which the namespace is a part.
 */

const LOCAL = "local://";

/** "<namespace>/data/…" for the repository's own data; anything else as it is. */
export function fullAddress(address: string, namespace: string): string {
  const root = namespace.replace(/\/+$/, "");
  if (!address.includes("://")) return `${root}/${address}`;
  const own = `${root}/data/`;
  if (address.startsWith(own)) return address;
  const at = localDataAt(address, own);
  return at === undefined ? address : own + address.slice(at);
}

/**
 * The address as lakeFS takes it for `stageObject`. On local blocks it shows what was staged by its
 * address with its disk's path twice ("local:///disk/disk/ns/data/x"), under which it finds
 * nothing.
 */
export function stageableAddress(address: string, namespace: string): string {
  const own = `${namespace.replace(/\/+$/, "")}/data/`;
  const at = localDataAt(address, own);
  if (at === undefined) return address;
  const path = address.slice(LOCAL.length);
  const folder = path.slice(0, at - LOCAL.length - partOf(own).length);
  const half = folder.length / 2;
  const isTwice =
    Number.isInteger(half) && half > 0 && folder.slice(0, half) === folder.slice(half);
  return isTwice ? LOCAL + path.slice(half) : address;
}

/**
 * Returns where the part behind "<namespace>/data/" begins in an address of local blocks. Known
 * limit, of local blocks alone: which folder of lakeFS's disk comes before is not compared, because
 * nothing tells it; in a folder outside (allowed_external_prefixes) a path that ends alike would
 * count the same.
 */
function localDataAt(address: string, own: string): number | undefined {
  if (!own.startsWith(LOCAL) || !address.startsWith(LOCAL)) return undefined;
  const part = partOf(own);
  const at = address.lastIndexOf(part);
  return at < 0 ? undefined : at + part.length;
}

function partOf(own: string): string {
  return `/${own.slice(LOCAL.length).replace(/^\/+/, "")}`;
}
