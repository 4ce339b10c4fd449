/**
 * Recognises secrets in a text, wherever they stand and however they are spelt. Nothing tells a
 * secret to the log; this is for those that come in a place meant for something else, such as a
 * token in a URL's path.
 */

/**
 * One character of a set, as it is or percent-encoded any number of times ("_", "%5F", "%255f").
 */
function spelled(set: string, codes: string): string {
  return `(?:${set}|%(?:25)*${codes})`;
}

const ENCODED = "[2-7][0-9a-f]";
const TOKEN_CHARACTER = spelled("[a-z2-7]", ENCODED);
const PREFIX = [..."lpk_"].map((char) => spelled(char, char.charCodeAt(0).toString(16))).join("");
/** A token of ours (auth/token). */
const TOKEN = `${PREFIX}${TOKEN_CHARACTER}{32}`;
/**
 * The same in base64, as Basic credentials carry it: what "lpk_" becomes at each of the three
 * places.
 */
const BASE64_TOKEN = /bHBrX|[GWm2]xwa1[89]|scGtf/g;
const BASE64 = /[A-Za-z0-9+/_=-]/;
/** Credentials with their scheme, whatever they are. RFC 9110, 11.4. */
const CREDENTIALS = "\\b(basic|bearer|remoteauth)(?:\\s|%20|\\+)+[A-Za-z0-9+/._~-]{6,}(?:=|%3d)*";
/** User and password before a host. RFC 3986, 3.2.1. */
const USER_INFO = '((?::|%3a)(?:/|%2f){2})[^\\s/?#"\\\\@]+(?=@|%40)';
const EQUALS = spelled("=", "3d");
/** Signature of an address: a block store's, and that of our links to LFS objects (lfs/proof). */
const SIGNATURE = `(x-amz-(?:signature|credential|security-token)${EQUALS})[^"&\\s\\\\]+|((?:[?&;]|%(?:25)*(?:3f|26))proof${EQUALS})(?:[0-9a-z.-]|%[0-9a-f]{2})+`;

export const WHOLE_TOKEN = /^lpk_[a-z2-7]{32}$/;
const SECRETS = new RegExp(`${TOKEN}|${CREDENTIALS}|${USER_INFO}|${SIGNATURE}`, "gi");

/**
 * The text with an ellipsis in place of each secret. Costs a log line some microseconds: by groups,
 * since looking behind would cost ten times as much.
 */
export function withoutSecrets(text: string): string {
  const cut = text.replace(
    SECRETS,
    (_whole, scheme?: string, info?: string, amazon?: string, proof?: string) =>
      scheme === undefined ? `${info ?? amazon ?? proof ?? ""}…` : `${scheme} …`,
  );
  return withoutEncodedTokens(
    cut.includes("%25") ? cut.replace(ENCODED_TWICE, withoutHidden) : cut,
  );
}

/**
 * Runs that were percent-encoded more than once, which may hide their own digits: a run that reads
 * as a secret once it is decoded goes as a whole.
 */
const ENCODED_TWICE = /[^\s"]*%25[^\s"]*/g;
const DECODED_TIMES = 4;

function withoutHidden(run: string): string {
  let text = run;
  for (let times = 0; times < DECODED_TIMES && text.includes("%"); times++) {
    text = text.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
      String.fromCharCode(Number.parseInt(digits, 16)),
    );
    if (text.search(SECRETS) >= 0 || text.search(BASE64_TOKEN) >= 0) return "…";
  }
  return run;
}

/**
 * Cuts the whole run of base64 around each: by hand, since an expression would look at a long run
 * again from each of its characters.
 */
function withoutEncodedTokens(text: string): string {
  let rest = 0;
  let cut = "";
  for (const { index } of text.matchAll(BASE64_TOKEN)) {
    if (index < rest) continue;
    let start = index;
    while (start > rest && BASE64.test(text[start - 1] as string)) start--;
    let end = index;
    while (end < text.length && BASE64.test(text[end] as string)) end++;
    cut += `${text.slice(rest, start)}…`;
    rest = end;
  }
  return cut + text.slice(rest);
}
