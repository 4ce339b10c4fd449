/** object-info: sizes of objects a reader may see. gitprotocol-v2(5). */
import type { ByteSink } from "../../base/flow.js";
import type { Oid } from "../../git/oid.js";
import { objectInfoAnswer, type ObjectInfoRequest } from "../../wire/object-info.js";
import type { FetchContext } from "./context.js";
import { visibleOf } from "./wants.js";
import { sizesTask } from "../../odb/pack-objects/tasks.js";

export async function answerObjectInfo(
  context: FetchContext,
  output: ByteSink,
  request: ObjectInfoRequest,
): Promise<void> {
  const sizes = new Map<Oid, number | undefined>();
  if (request.size && request.oids.length > 0) {
    const oids = [...(await visibleOf(context, request.oids))];
    const { deps, handles: packs, signal } = context;
    const found = await deps.pool.run(sizesTask, { packs, oids }, { signal });
    for (const [at, oid] of oids.entries()) sizes.set(oid, found[at]);
  }
  await output.write(objectInfoAnswer(request, (oid) => sizes.get(oid)));
}
