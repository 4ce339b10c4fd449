/** ls-refs: the refs a reader may see. gitprotocol-v2(5). */
import { type LsRefsRequest, lsRefsAnswer } from "../wire/ls-refs.js";
import type { Exchange } from "./conversation.js";

export async function listRefs({ repository, output, signal }: Exchange, request: LsRefsRequest): Promise<void> {
  for (const bytes of lsRefsAnswer(request, await repository.refs.read(signal))) await output.write(bytes);
}
