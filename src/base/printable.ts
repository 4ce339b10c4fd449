/** Makes text of others fit to be shown: on a person's terminal, in a page, in the log. */
import { fromLatin1, strictText } from "./bytes.js";

/**
 * Characters that a terminal or an editor acts on instead of showing them: C0 without tab and line
 * ends, DEL, C1 (an 8-bit terminal takes U+009B for the beginning of an escape sequence),
 * separators of lines, and marks that turn the direction of the text behind them. ECMA-48; Unicode
 * 15, "Bidi_Control".
 */
const ACTED_ON = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;
const BYTES_ABOVE_ASCII = /^(?=.*[\x80-\xff])[\x00-\xff]*$/s;

/**
 * The text with "?" for each character that a terminal would act on. Names inside Git's formats are
 * latin1 text (base/bytes): where all of it is such bytes and they are UTF-8, it is decoded first,
 * so that a name reads as its author wrote it.
 */
export function printable(text: string): string {
  const decoded = BYTES_ABOVE_ASCII.test(text) ? (strictText(fromLatin1(text)) ?? text) : text;
  return decoded.replace(ACTED_ON, "?");
}

/**
 * A line of JSON with the escapes of JSON in their place: nothing is lost, and nothing is acted on.
 */
export function printableJson(line: string): string {
  return line.replace(ACTED_ON, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
