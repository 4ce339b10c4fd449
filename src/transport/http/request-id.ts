/** Names requests: unique across restarts by a random part, cheap by a counter. */
import { randomBytes } from "node:crypto";

const START = randomBytes(5).toString("hex");
let count = 0;

export function requestId(): string {
  count += 1;
  return `${START}-${count.toString(36)}`;
}
