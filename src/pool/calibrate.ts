/** The task every new thread is given first: it times its kernels and says which it took. */
import { task, type TaskControl } from "./task.js";

export const calibrateTask = task<TaskControl, { readonly picks: string }>("hash/calibrate");
