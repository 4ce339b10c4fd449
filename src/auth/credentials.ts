/**
 * Reads an Authorization header: a token, as Bearer, or in Basic as the password or as the user
 * name (`https://user:token@host`, `https://token@host`). RFC 7617 and RFC 6750.
 */
import { Fault } from "../base/fault.js";
import { LIMITS } from "../base/limits.js";
import { isToken } from "./token.js";

/**
 * Several headers are joined by commas, which no Basic or Bearer credentials have. RFC 9110, 5.3.
 */
const SECOND = /,\s*(basic|bearer)\s/i;

/** Undefined: what was shown holds no token. Throws "auth/several". */
export function readCredentials(header: string): string | undefined {
  if (SECOND.test(header)) throw new Fault("auth/several");
  const [, scheme = "", value = ""] =
    /^([A-Za-z]+) +([A-Za-z0-9._~+/=-]+)$/.exec(
      header.length > LIMITS.authorizationBytesMax ? "" : header,
    ) ?? [];
  const shown =
    scheme.toLowerCase() === "bearer"
      ? [value]
      : scheme.toLowerCase() === "basic"
        ? readBasic(value)
        : [];
  return shown.find(isToken);
}

/** The password first: beside one a user name is only a name. */
function readBasic(value: string): string[] {
  const text = Buffer.from(value, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? [text] : [text.slice(colon + 1), text.slice(0, colon)];
}
