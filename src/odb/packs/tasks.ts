/** Tasks on stored packs. */
import { task, type TaskControl } from "../../pool/task.js";

/** Checks that a file is a whole pack: its trailer is the SHA-1 of all before. */
export const checkPackTask = task<TaskControl & { readonly path: string }, boolean>(
  "pack-objects/check",
);
