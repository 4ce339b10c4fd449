/**
 * lakeFS's S3 gateway, as an S3 client sees a repository: a bucket whose keys are "<ref>/<path>".
 */
import { createHash, createHmac } from "node:crypto";
import type { LakefsAccess } from "../../src/lakefs/api/http.js";

const REGION = "us-east-1";

/** GET of an object. */
export async function gatewayObject(
  access: LakefsAccess,
  repository: string,
  ref: string,
  path: string,
): Promise<Buffer> {
  return get(access, `/${repository}/${ref}/${path}`, {});
}

/** Keys below a ref, without it, as ListObjectsV2 gives them. */
export async function gatewayPaths(
  access: LakefsAccess,
  repository: string,
  ref: string,
): Promise<string[]> {
  const xml = (
    await get(access, `/${repository}`, { "list-type": "2", prefix: `${ref}/` })
  ).toString();
  return [...xml.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) =>
    unescapeXml(key as string).slice(ref.length + 1),
  );
}

async function get(
  { endpoint, accessKeyId, secretAccessKey }: LakefsAccess,
  path: string,
  query: Readonly<Record<string, string>>,
): Promise<Buffer> {
  const { host } = new URL(endpoint);
  const uri = path.split("/").map(encode).join("/");
  const parameters = Object.entries(query)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join("&");
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const scope = `${time.slice(0, 8)}/${REGION}/s3/aws4_request`;
  const empty = sha256("");
  const names = "host;x-amz-content-sha256;x-amz-date";
  const canonical = `GET\n${uri}\n${parameters}\nhost:${host}\nx-amz-content-sha256:${empty}\nx-amz-date:${time}\n\n${names}\n${empty}`;
  const key = ["AWS4" + secretAccessKey, time.slice(0, 8), REGION, "s3", "aws4_request"].reduce<
    string | Buffer
  >(
    (secret, part, at) => (at === 0 ? part : createHmac("sha256", secret).update(part).digest()),
    "",
  );
  const signature = createHmac("sha256", key)
    .update(`AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`)
    .digest("hex");
  const headers = {
    "x-amz-date": time,
    "x-amz-content-sha256": empty,
    Authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
  const response = await fetch(`${endpoint}${uri}${parameters === "" ? "" : `?${parameters}`}`, {
    headers,
  });
  if (response.status !== 200)
    throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
  return Buffer.from(await response.arrayBuffer());
}

/** RFC 3986's unreserved characters stay. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function unescapeXml(text: string): string {
  return text
    .replace(/&#(?:x([0-9A-Fa-f]+)|(\d+));/g, (_, hex: string | undefined, decimal: string) =>
      String.fromCodePoint(Number.parseInt(hex ?? decimal, hex === undefined ? 10 : 16)),
    )
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
