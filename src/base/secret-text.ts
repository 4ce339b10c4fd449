/**
 * What a secret looks like, wherever it stands. Nothing tells a secret to the log; this is for those that come in a place meant for something else, such as a
 * token in a URL's path.
 */

/** A token of ours (auth/token). */
const TOKEN = "lpk_[a-z2-7]{32}";
/** What an address is signed with: a block store's, and that of our links to LFS objects (lfs/proof). */
const SIGNATURE = "(X-Amz-(?:Signature|Credential|Security-Token)=)[^\"&\\s\\\\]+|([?&]proof=)[0-9a-f-]+";

export const WHOLE_TOKEN = new RegExp(`^${TOKEN}$`);
const SECRETS = new RegExp(`${TOKEN}|${SIGNATURE}`, "g");

/** The text with an ellipsis in place of each secret. Costs a log line a microsecond or two: by groups, since looking behind would cost ten times as much. */
export function withoutSecrets(text: string): string {
  return text.replace(SECRETS, "$1$2…");
}
